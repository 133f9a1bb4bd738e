"""Rotation as operators see it: every data key wrapped anew, while events come in, and however it is broken off."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from millrace import audit, sealing
from millrace.sealing import Place, Subject
from operations import keys as commands
from tests.integration.ingest.operators import ACCOUNT, Operator, operator

__all__ = ["operator"]

HERE = Place("event", "data.object.email", f"{ACCOUNT}/evt_1")
CUSTOMERS = [f"cus_{number}" for number in range(12)]
Sealed = dict[str, bytes]

WAITS = """
select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""
SIXTH = """
select from sealing.subject_key
 where id = (select id from sealing.subject_key order by id offset 5 limit 1)
   for update
"""


async def sealed_for(operator: Operator, customers: list[str]) -> Sealed:
    """A value of each customer, sealed under a key of their own."""
    async with operator.keys() as keys:
        made = await asyncio.gather(*(keys.of(Subject(ACCOUNT, customer)) for customer in customers))
    return {key.subject.customer: key.seal(HERE, key.subject.customer.encode()) for key in made}


async def opens(operator: Operator, sealed: Sealed) -> bool:
    """Whether every value opens, for a process that has just started."""
    async with operator.keys() as keys:
        found = await keys.by_id(map(sealing.key_id, sealed.values()))
        return all(
            found[sealing.key_id(value)].open(HERE, value) == customer.encode()
            for customer, value in sealed.items()
        )


def file(operator: Operator, version: str) -> Path:
    return operator.folder / "keys" / f"{version}.key"


async def versions(operator: Operator) -> list[str]:
    return [row["kek"] for row in await operator.rows("select kek from sealing.subject_key order by id")]


async def audited(operator: Operator) -> list[tuple[str, str, str]]:
    rows = await operator.rows("select action, subject, reason from sealing.audit order by seq")
    return [tuple(row) for row in rows]


async def test_a_statement_of_the_commands_is_understood_by_the_migrated_schema(operator: Operator) -> None:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        await connection.prepare(commands.SAMPLES)
    finally:
        await connection.close()


async def test_a_rotation_from_the_new_file_to_the_day_the_old_one_goes(operator: Operator) -> None:
    sealed = await sealed_for(operator, CUSTOMERS)
    async with operator.keys() as keys:
        await keys.index(ACCOUNT)
    await operator.erase("cus_3")
    del sealed["cus_3"]
    version = {"kek": "0001", "keys": 12, "current": True, "wrong": ""}
    assert await operator.json("keys", "status") == {"versions": [version], "destroyed": 1, "waiting": 0}

    await operator.run("keys", "new", operator.folder / "keys")
    told = await operator.json("keys", "status", code=3)
    assert [(v["kek"], v["keys"], v["current"]) for v in told["versions"]] == [
        ("0001", 12, False),
        ("0002", 0, True),
    ]
    assert told["waiting"] == 12
    assert "waits" in (await operator.run("keys", "status", code=3)).output

    rotated = await operator.json("keys", "rotate", "--at-once", "5")
    assert rotated == {"kek": "0002", "done": 12, "waiting": 0, "left": []}
    file(operator, "0001").unlink()
    told = await operator.json("keys", "status")
    assert (told["versions"], told["waiting"]) == ([version | {"kek": "0002"}], 0)
    assert await opens(operator, sealed)
    assert await audited(operator) == [("wrapped keys anew", "0002", "12 of 12")]


async def test_with_nothing_to_wrap_nothing_is_written_down(operator: Operator) -> None:
    await sealed_for(operator, CUSTOMERS)
    assert (await operator.json("keys", "rotate"))["done"] == 0
    assert "0 data keys" in (await operator.run("keys", "rotate")).output
    assert await audited(operator) == []


@asynccontextmanager
async def rotating(operator: Operator) -> AsyncIterator[asyncio.subprocess.Process]:
    """`millrace keys rotate` as a process, which has done five keys and waits for the sixth."""
    blocker = await asyncpg.connect(operator.db.owner)
    hold = blocker.transaction()
    await hold.start()
    await blocker.execute(SIXTH)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("millrace"), "keys", "rotate", "--at-once", "1",
        env=os.environ | operator.environment,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            while not await operator.rows(WAITS):  # noqa: ASYNC110 a database gives no signal
                await asyncio.sleep(0.05)
        yield process
        await asyncio.wait_for(process.wait(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await hold.rollback()
        await blocker.close()


@pytest.mark.parametrize(("how", "written"), [
    (signal.SIGKILL, []),
    (signal.SIGINT, [("wrapped keys anew", "0002", "5 of 12")]),
], ids=["killed", "broken off by hand"])  # fmt: skip
async def test_a_rotation_goes_on_where_it_was_broken_off(operator: Operator, how: int, written: Any) -> None:
    sealed = await sealed_for(operator, CUSTOMERS)
    await operator.run("keys", "new", operator.folder / "keys")
    async with rotating(operator) as process:
        process.send_signal(how)
    assert await versions(operator) == ["0002"] * 5 + ["0001"] * 7
    assert await audited(operator) == written
    assert await opens(operator, sealed)
    assert (await operator.json("keys", "rotate"))["done"] == 7
    file(operator, "0001").unlink()
    assert await opens(operator, sealed)
    assert (await audited(operator))[-1] == ("wrapped keys anew", "0002", "7 of 7")


async def test_events_come_in_while_keys_are_wrapped_anew(operator: Operator) -> None:
    sealed = await sealed_for(operator, CUSTOMERS)
    ended = asyncio.Event()

    async def traffic() -> None:
        """New customers and old ones, by a process that sees the new file when it looks."""
        async with operator.keys() as keys:
            for number in range(10_000):
                customer = f"cus_{number // 2 if number % 2 else 100 + number}"
                key = await keys.of(Subject(ACCOUNT, customer))
                sealed[customer] = key.seal(HERE, customer.encode())
                if ended.is_set() and number > 50:
                    return

    coming_in = asyncio.create_task(traffic())
    await operator.run("keys", "new", operator.folder / "keys")
    rotated = await operator.json("keys", "rotate", "--at-once", "1")
    ended.set()
    await coming_in
    assert rotated["done"] >= len(CUSTOMERS) and rotated["waiting"] == 0
    assert len(sealed) > len(CUSTOMERS) + 20
    file(operator, "0001").unlink()
    assert await opens(operator, sealed)


async def test_keys_that_do_not_open_are_named_and_hold_up_no_other(operator: Operator) -> None:
    await sealed_for(operator, CUSTOMERS)
    [[bad]] = await operator.rows("select min(id) from sealing.subject_key")
    await operator.rows("update sealing.subject_key set wrapped = '\\x00' where id = $1", bad)
    await operator.run("keys", "new", operator.folder / "keys")
    assert await operator.json("keys", "rotate", code=3) == {
        "kek": "0002",
        "done": 11,
        "waiting": 1,
        "left": [bad],
    }
    assert f"1 are left: {bad}." in (await operator.run("keys", "rotate", code=3)).output
    told = await operator.json("keys", "status", code=3)
    assert [(v["kek"], v["keys"]) for v in told["versions"]] == [("0001", 1), ("0002", 11)]


async def test_a_file_that_was_removed_too_soon_is_named_and_can_be_put_back(operator: Operator) -> None:
    sealed = await sealed_for(operator, CUSTOMERS)
    await operator.run("keys", "new", operator.folder / "keys")
    aside = file(operator, "0001").rename(operator.folder / "aside")
    told = await operator.json("keys", "status", code=3)
    assert "0001.key is missing" in told["versions"][0]["wrong"]
    left = await operator.json("keys", "rotate", code=3)
    assert (left["done"], left["waiting"], len(left["left"])) == (0, 12, 12)
    aside.rename(file(operator, "0001"))
    assert (await operator.json("keys", "rotate"))["done"] == 12
    assert await opens(operator, sealed)


async def test_a_file_that_is_another_one_is_told_although_its_name_is_right(operator: Operator) -> None:
    await sealed_for(operator, CUSTOMERS)
    file(operator, "0001").unlink()
    file(operator, "0001").write_bytes(base64.b64encode(b"x" * 32))
    file(operator, "0001").chmod(0o400)
    told = await operator.json("keys", "status", code=3)
    assert told["waiting"] == 0 and "another file" in told["versions"][0]["wrong"]


async def test_the_chain_of_who_rotated_holds(operator: Operator) -> None:
    await sealed_for(operator, CUSTOMERS)
    for _ in range(2):
        await operator.run("keys", "new", operator.folder / "keys")
        await operator.run("keys", "rotate")
    connection = await asyncpg.connect(operator.db.owner)
    try:
        assert await audit.verify(connection, "sealing") == []
    finally:
        await connection.close()
    assert [subject for _, subject, _ in await audited(operator)] == ["0002", "0003"]


async def test_without_keys_the_setting_is_named(operator: Operator) -> None:
    operator.environment["MILLRACE_KEYS"] = ""
    assert "MILLRACE_KEYS" in str((await operator.run("keys", "status", code=78)).exception)
