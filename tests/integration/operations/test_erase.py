"""An erasure as operators see it: nothing is deleted, nothing opens, nobody comes back, and the proof stands."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest
import zstandard
from typer.testing import CliRunner, Result

from ingest import commands as ingest
from millrace import audit, sealing
from millrace.cli import application
from millrace.events import decode
from millrace.sealing import Keys, Opener, Place, Subject, Unopenable, key_id
from operations import erase as command
from tests.integration.ingest.operators import ACCOUNT, Operator, event, operator

__all__ = ["operator"]

WHY = ("--reason", "request 4711")


async def erase(operator: Operator, customer: str, *args: str, code: int = 0) -> Any:
    return await operator.json("erase", customer, *WHY, "--yes", *args, code=code)


def customer(number: int) -> dict[str, Any]:
    """What tells a customer's address, which then can be looked up."""
    body = {"id": f"cus_{number}", "object": "customer", "email": f"cus_{number}@example.test"}
    return event(f"evt_c{number}", type="customer.created", data={"object": body})


@pytest.fixture
async def taken_in(operator: Operator) -> Operator:
    """Two events each of two customers, and one of nobody."""
    await operator.take_in(
        customer(1), customer(2), event("evt_1"), event("evt_2", customer="cus_2"),
        event("evt_3", customer=None, type="product.created"),
    )  # fmt: skip
    return operator


async def bodies(operator: Operator) -> dict[str, bytes | None]:
    """What can be opened of everything received, by somebody who has just started."""
    rows = [dict(row) for row in await operator.rows("select account, id, raw from ingest.event order by id")]
    async with operator.keys() as keys:
        return dict(zip([row["id"] for row in rows], await ingest.opened(keys, rows), strict=True))


async def published(operator: Operator) -> dict[str, bytes]:
    """What can be opened of everything published."""
    rows = await operator.rows("select key, headers, payload from outbox.event")
    async with operator.keys() as keys:
        opener = Opener(keys, consumer="test", purpose="test")
        events = [
            decode(
                row["key"].encode(),
                {name: value.encode() for name, value in orjson.loads(row["headers"]).items()},
                zstandard.decompress(row["payload"]),
            )
            for row in rows
        ]
        return {one.id: orjson.dumps(dict((await opener.event(one)).data)) for one in events}


async def as_it_lies(operator: Operator) -> str:
    """A digest over every byte of the log and the outbox."""
    rows = await operator.rows(
        "select md5(string_agg(whole::text, ' ' order by whole::text)) from ingest.event as whole union all "
        "select md5(string_agg(whole::text, ' ' order by whole::text)) from outbox.event as whole"
    )
    return hashlib.sha256(str(rows).encode()).hexdigest()


async def chains_hold(operator: Operator) -> bool:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        return await audit.verify(connection, "sealing") == []
    finally:
        await connection.close()


async def test_nothing_of_the_erased_opens_and_everything_of_the_others_does(taken_in: Operator) -> None:
    before, received, told = await as_it_lies(taken_in), await bodies(taken_in), await published(taken_in)
    assert b"Ada Sealed" in (received["evt_1"] or b"") and b"Ada Sealed" in told["evt_1"]
    erased = await erase(taken_in, "cus_1")
    assert (erased["account"], erased["keys"], erased["index_rows"], erased["events"]) == (ACCOUNT, 1, 1, 2)
    gone = {"evt_1", "evt_c1"}
    assert await bodies(taken_in) == {id_: None if id_ in gone else raw for id_, raw in received.items()}
    after = await published(taken_in)
    assert {id_ for id_ in after if after[id_] != told[id_]} == gone
    assert all(b"Ada Sealed" not in after[id_] and b"cus_1@" not in after[id_] for id_ in gone)
    assert await as_it_lies(taken_in) == before
    assert await chains_hold(taken_in)


async def test_who_erased_and_why_is_in_the_audit_log(taken_in: Operator) -> None:
    await erase(taken_in, "cus_1")
    [row] = await taken_in.rows("select chain, actor, action, subject, reason from sealing.audit")
    assert tuple(row)[2:] == ("erased customer", "cus_1", "request 4711")
    assert row["chain"] == f"operator:{row['actor']}"


async def test_an_erasure_that_cannot_be_written_down_does_not_happen(taken_in: Operator) -> None:
    received = await bodies(taken_in)
    await taken_in.rows("alter table sealing.audit add constraint full_up check (false) not valid")
    await taken_in.run("erase", "cus_1", *WHY, "--yes", code=1)
    assert await bodies(taken_in) == received


async def test_an_export_made_before_is_erased_too_and_still_as_its_manifest_says(taken_in: Operator) -> None:
    folder = taken_in.folder / "export"
    await taken_in.run("events", "export", "--month", "2026-11", "--to", folder)
    await erase(taken_in, "cus_1")
    await taken_in.run("events", "verify-export", folder)
    lines = (
        zstandard.ZstdDecompressor().stream_reader((folder / "events-00001.jsonl.zst").read_bytes()).read()
    )
    named = [orjson.loads(line) for line in lines.splitlines()]
    rows = [{**row, "raw": b64decode(row["raw"])} for row in named]
    async with taken_in.keys() as keys:
        opened = dict(zip([row["id"] for row in rows], await ingest.opened(keys, rows), strict=True))
    assert opened == await bodies(taken_in)
    assert opened["evt_1"] is None and opened["evt_2"]


async def test_nobody_is_found_by_an_address_that_was_erased(taken_in: Operator) -> None:
    asked = ("events", "list", "--account", ACCOUNT, "--email", "cus_1@example.test")
    assert len(await taken_in.json(*asked)) == 2
    await erase(taken_in, "cus_1")
    assert await taken_in.json(*asked) == []
    await taken_in.take_in(event("evt_again", type="customer.updated", data=customer(1)["data"]))
    assert await taken_in.json(*asked) == []


async def test_what_comes_later_is_taken_in_and_never_opens(taken_in: Operator) -> None:
    await erase(taken_in, "cus_1")
    told = await taken_in.take_in(event("evt_later"), event("evt_other", customer="cus_2"))
    assert (told["stored"], told["refused"]) == (2, 0)
    opened = await bodies(taken_in)
    assert opened["evt_later"] is None and opened["evt_other"]
    assert b"Ada Sealed" not in (await published(taken_in))["evt_later"]
    shown = await taken_in.run("events", "show", "evt_later", "--reveal", "--reason", "ticket", code=3)
    assert "erased" in shown.output


async def test_a_process_that_holds_the_key_lets_go_of_it_in_the_time_that_is_told(
    taken_in: Operator,
) -> None:
    seconds = [0.0]
    async with taken_in.keys() as fresh:
        keys = Keys(fresh.pool, fresh.provider, now=lambda: seconds[0])
        key = await keys.of(Subject(ACCOUNT, "cus_1"))
        value = key.seal(Place("event", "data.object.email", "row"), b"ada")
        await keys.by_id([key.id])
        told = (await erase(taken_in, "cus_1"))["memory_seconds_max"]
        seconds[0] = told - 0.1
        assert await keys.by_id([key_id(value)])
        seconds[0] = told
        assert await keys.by_id([key_id(value)]) == {}
        with pytest.raises(Unopenable):
            (await keys.of(Subject(ACCOUNT, "cus_1"))).open(Place("event", "data.object.email", "row"), value)


def test_the_time_that_is_told_is_that_of_every_process() -> None:
    assert inspect.signature(Keys).parameters["seconds_max"].default == command.MEMORY_SECONDS


async def test_a_customer_of_two_accounts_is_erased_where_it_is_meant(taken_in: Operator) -> None:
    async with taken_in.keys() as keys:
        await keys.of(Subject("acct_2Other", "cus_1"))
    said = (await taken_in.run("erase", "cus_1", *WHY, "--yes", code=2)).output
    assert ACCOUNT in said and "acct_2Other" in said and "--account" in said
    assert (await erase(taken_in, "cus_1", "--account", "acct_2Other"))["keys"] == 1
    assert all((await bodies(taken_in)).values())


async def test_whom_nobody_knows_is_not_erased_by_a_slip_of_the_pen(taken_in: Operator) -> None:
    for args in ([], ["--account", "acct_1Wrong"]):
        said = await taken_in.run("erase", "cus_l", *WHY, "--yes", *args, code=3)
        assert "nothing was done" in said.output
    assert "--account" in (await taken_in.run("erase", "cus_l", *WHY, "--yes", "--in-advance", code=2)).output
    assert await taken_in.rows("select from sealing.subject_key where customer = 'cus_l'") == []
    assert await taken_in.rows("select from sealing.audit") == []


async def test_who_is_erased_in_advance_is_unreadable_from_the_first_event(taken_in: Operator) -> None:
    assert (await erase(taken_in, "cus_9", "--account", ACCOUNT, "--in-advance"))["already"] is False
    await taken_in.take_in(event("evt_first", customer="cus_9"))
    assert (await bodies(taken_in))["evt_first"] is None
    assert len(await taken_in.rows("select from sealing.audit where subject = 'cus_9'")) == 1


async def test_a_second_erasure_says_so_and_does_nothing(taken_in: Operator) -> None:
    await erase(taken_in, "cus_1")
    again = await erase(taken_in, "cus_1")
    assert (again["already"], again["keys"]) == (True, 0)
    assert "erased already" in (await taken_in.run("erase", "cus_1", *WHY, "--yes")).output
    assert len(await taken_in.rows("select from sealing.audit")) == 1


async def test_of_two_who_erase_at_once_one_does(taken_in: Operator) -> None:
    async def one() -> int:
        connection = await asyncpg.connect(taken_in.db.owner)
        try:
            async with connection.transaction():
                return await sealing.destroy(connection, ACCOUNT, "cus_1")
        finally:
            await connection.close()

    assert sorted(await asyncio.gather(one(), one(), one())) == [0, 0, 1]


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 0), ("\n", 1, 0), ("", 1, 0), ("y\n", 0, 2)])
async def test_a_person_is_asked_first(taken_in: Operator, answer: str, code: int, left: int) -> None:
    def ask() -> Result:
        return CliRunner().invoke(
            application(), ["erase", "cus_1", *WHY], input=answer, env=taken_in.environment
        )

    done = await asyncio.to_thread(ask)
    assert done.exit_code == code
    assert "Destroy 1 keys of cus_1" in done.output and "2 events become unreadable for ever" in done.output
    assert sum(body is None for body in (await bodies(taken_in)).values()) == left


async def test_a_person_is_told_what_was_destroyed_and_what_remains(taken_in: Operator) -> None:
    said = (await taken_in.run("erase", "cus_1", *WHY, "--yes")).output
    assert "1 keys and 1 rows of the index destroyed, 2 events unreadable" in said
    assert all(word in said for word in ("backups", "300 s", "account's key", "books"))
    assert "Ada" not in said and "@" not in said


async def test_an_erasure_is_on_disk_before_it_is_told(taken_in: Operator) -> None:
    connection = await asyncpg.connect(taken_in.db.owner)
    try:
        await connection.execute("set synchronous_commit = off")
        async with connection.transaction():
            await sealing.destroy(connection, ACCOUNT, "cus_1")
            assert await connection.fetchval("show synchronous_commit") == "on"
    finally:
        await connection.close()


async def test_it_takes_no_more_than_the_rights_of_who_keeps_the_keys_and_reads_the_log(
    taken_in: Operator, keeper: str
) -> None:
    taken_in.environment |= {"MILLRACE_DATABASE": taken_in.db.dsn(keeper), "MILLRACE_KEYS": ""}
    assert (await erase(taken_in, "cus_1"))["events"] == 2


@pytest.fixture
async def keeper(operator: Operator) -> AsyncIterator[str]:
    """A person's role: it keeps the keys and may read the log."""
    name = f"keeper_{operator.db.name}"
    await operator.rows(f"create role {name} login in role {sealing.SCHEMA.role}")
    await operator.rows(f"grant usage on schema ingest to {name}")
    await operator.rows(f"grant select on all tables in schema ingest to {name}")
    yield name
    await operator.rows(f"drop owned by {name}")
    await operator.rows(f"drop role {name}")


@pytest.mark.parametrize("statement", ["KNOWN", "INDEXED"])
async def test_a_statement_of_the_command_is_understood_by_the_migrated_schema(
    operator: Operator, statement: str
) -> None:
    connection = await asyncpg.connect(operator.db.owner)
    try:
        await connection.prepare(getattr(command, statement))
    finally:
        await connection.close()
