"""Recorded events are taken in as from the door: sealed, published, once, whatever is in the files beside them."""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import zstandard

from ingest import commands as ingest
from millrace.sealing import Policy, new_key
from tests.integration.ingest.operators import ACCOUNT, POLICY, Operator, event, operator

__all__ = ["operator"]


def lines(*events: Any) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in events)


async def stored_and_published(operator: Operator) -> tuple[int, int]:
    [found] = await operator.rows(
        "select (select count(*) from ingest.event) as stored, (select count(*) from outbox.event) as published"
    )
    return found["stored"], found["published"]


async def test_an_event_is_stored_sealed_and_published_sealed(operator: Operator) -> None:
    told = await operator.take_in(event("evt_1"))
    assert (told["stored"], told["refused"]) == (1, 0)
    [row] = await operator.rows("select * from ingest.event")
    assert (row["source"], row["endpoint"], row["secret"], row["signature"]) == ("import", "import", "", "")
    [sent] = await operator.rows("select payload, headers::text from outbox.event")
    published = zstandard.decompress(sent["payload"])
    assert orjson.loads(published)["data"]["object"]["amount_due"] == 2900
    for place in (row["raw"], published, sent["headers"].encode()):
        assert b"Ada" not in place and b"example.test" not in place
    async with operator.keys() as keys:
        [body] = await ingest.opened(keys, [dict(row)])
    assert body == orjson.dumps(event("evt_1"))


async def test_again_and_again_stores_once(operator: Operator) -> None:
    events = [event(f"evt_{n}", customer=f"cus_{n % 7}") for n in range(600)]
    first = await operator.take_in(*events[:400])
    again = await operator.take_in(*events, events[0])
    assert (first["stored"], first["passed_over"]) == (400, 0)
    assert (again["stored"], again["passed_over"], again["refused"]) == (200, 401, 0)
    assert await stored_and_published(operator) == (600, 600)


async def test_what_is_stored_is_passed_over_before_anything_is_sealed(operator: Operator) -> None:
    await operator.take_in(event("evt_1"), event("evt_2"))
    new_key(operator.folder / "other")  # with these key-encryption keys no data key opens
    operator.environment["MILLRACE_KEYS"] = f"files:{operator.folder / 'other'}"
    assert (await operator.take_in(event("evt_1"), event("evt_2")))["passed_over"] == 2
    file = operator.file("new.jsonl", lines(event("evt_3")))
    assert "Unopenable" in (await operator.run("import", file, "--account", ACCOUNT, "--test", code=1)).stderr


async def test_two_imports_of_one_file_at_once_store_each_event_once(operator: Operator) -> None:
    given = [
        ingest.Given(f"f:{n}", orjson.dumps(event(f"evt_{n}", customer=f"cus_{n % 9}")), False)
        for n in range(500)
    ]
    door = ingest.endpoint(ACCOUNT, livemode=False, connect=False)

    async def take_all(order: list[ingest.Given]) -> ingest.Imported:
        connection = await asyncpg.connect(operator.db.owner)
        try:
            async with operator.keys() as keys:
                work = ingest.Import(connection, door, keys, Policy.read(POLICY), operator.clock)
                for batch in ingest.batches(order, 50):
                    assert await work.take(batch) == []
                return work.told
        finally:
            await connection.close()

    told = await asyncio.gather(take_all(given), take_all(given[::-1]), take_all(given))
    assert sum(one.stored for one in told) == 500
    assert sum(one.passed_over for one in told) == 1000
    assert await stored_and_published(operator) == (500, 500)


async def test_an_import_that_was_killed_is_simply_begun_again(operator: Operator) -> None:
    events = [event(f"evt_{n}", customer=f"cus_{n % 9}") for n in range(4000)]
    file = operator.file("many.jsonl", lines(*events))
    command = (Path(sys.executable).parent / "millrace", "import", file, "--account", ACCOUNT, "--test")
    process = await asyncio.create_subprocess_exec(
        *map(str, command), "--at-once", "5", env={**os.environ, **operator.environment}
    )
    async with asyncio.timeout(60):
        while (await stored_and_published(operator))[0] < 50:  # noqa: ASYNC110 a database gives no signal
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    stored, published = await stored_and_published(operator)
    assert 50 <= stored == published < 4000
    again = await operator.json(*command[1:])
    assert (again["passed_over"], again["stored"]) == (stored, 4000 - stored)
    assert await stored_and_published(operator) == (4000, 4000)


BAD: dict[str, tuple[bytes, str]] = {
    "nonsense": (b"nonsense", "body is not JSON"),
    "torn": (b'{"id": "evt_9", "object": "ev', "body is not JSON"),
    "not an event": (b'{"id": "cus_1", "object": "customer"}', "object is neither 'event' nor 'v2.core.event'"),
    "live": (orjson.dumps(event("evt_9", livemode=True)), "livemode is missing or not this endpoint's"),
    "of another account": (orjson.dumps(event("evt_9", account="acct_2")), "account is not this endpoint's"),
    "a key twice": (b'{"id": "evt_9", "id": "evt_8"}', "body has a key twice in one object"),
    "an id that is a number": (orjson.dumps(event("evt_9") | {"id": 9}), "id is missing or not an id"),
    "not UTF-8": (orjson.dumps(event("evt_9", note="@")).replace(b"@", b"\xff"), "body is not UTF-8"),
    "too large": (orjson.dumps(event("evt_9", note="x" * 2**20)), "body is larger than 1,048,576 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_line_is_named_and_the_rest_goes_on(operator: Operator, name: str) -> None:
    bad, reason = BAD[name]
    file = operator.file("mixed.jsonl", lines(event("evt_1"), bad, event("evt_2")))
    refused = operator.folder / "refused.jsonl"
    told = await operator.json("import", file, "--account", ACCOUNT, "--test", "--refused", refused, code=3)
    assert (told["stored"], told["refused"]) == (2, 1)
    assert told["first_refused"] == [{"place": f"{file}:2", "reason": reason}]
    assert refused.read_bytes() == bad + b"\n"
    assert refused.stat().st_mode & 0o077 == 0


async def test_what_the_database_refuses_stays_out_alone(operator: Operator) -> None:
    await operator.rows("alter table ingest.event add constraint picky check (id <> 'evt_2')")
    file = operator.file("three.jsonl", lines(*(event(f"evt_{n}") for n in (1, 2, 3))))
    told = await operator.json("import", file, "--account", ACCOUNT, "--test", code=3)
    assert (told["stored"], told["reasons"]) == (2, {"the database refuses this event": 1})
    assert told["first_refused"][0]["place"] == f"{file}:2"


NEWEST_FIRST = [event(f"evt_{n}", created=1_000_000 + n // 2) for n in (4, 3, 2, 1)]
PAGE = {"object": "list", "data": NEWEST_FIRST[:2], "has_more": True, "url": "/v1/events"}
REST = {"object": "list", "url": "/v1/events", "has_more": False, "data": NEWEST_FIRST[2:]}
KEPT_AS: dict[str, tuple[bytes, list[str]]] = {
    "lines": (lines(*NEWEST_FIRST), ["evt_4", "evt_3", "evt_2", "evt_1"]),
    "an array": (orjson.dumps(NEWEST_FIRST), ["evt_1", "evt_2", "evt_3", "evt_4"]),
    "two pages, indented": (
        orjson.dumps(PAGE, option=orjson.OPT_INDENT_2)
        + b"\n"
        + orjson.dumps(REST, option=orjson.OPT_INDENT_2),
        ["evt_1", "evt_2", "evt_3", "evt_4"],
    ),
    "a page a line": (lines(PAGE, REST), ["evt_1", "evt_2", "evt_3", "evt_4"]),
}


@pytest.mark.parametrize("name", KEPT_AS)
async def test_lists_are_turned_round_and_lines_are_not(operator: Operator, name: str) -> None:
    content, order = KEPT_AS[name]
    await operator.run("import", operator.file("kept.json", content), "--account", ACCOUNT, "--test")
    rows = await operator.rows("select headers->>'ce_id' as id from outbox.event order by event.id")
    assert [row["id"] for row in rows] == order


async def test_a_packed_file_is_read_and_a_torn_one_is_told(operator: Operator) -> None:
    whole = gzip.compress(lines(event("evt_1"), event("evt_2")))
    told = await operator.json("import", operator.file("e.jsonl.gz", whole), "--account", ACCOUNT, "--test")
    assert told["stored"] == 2
    torn = operator.file("torn.jsonl.gz", whole[:-10])
    done = await operator.run("import", torn, "--account", ACCOUNT, "--test", code=78)
    assert str(done.exception) == f"{torn}: cannot be unpacked; is it whole?"


async def test_connected_accounts_keep_their_own(operator: Operator) -> None:
    file = operator.file(
        "connect.jsonl",
        lines(event("evt_1", account="acct_A"), event("evt_2", account="acct_B"), event("evt_3")),
    )
    told = await operator.json("import", file, "--account", ACCOUNT, "--test", "--connect", code=3)
    assert (told["stored"], told["refused"]) == (2, 1)
    rows = await operator.rows("select account, id from ingest.event order by id")
    assert [tuple(row) for row in rows] == [("acct_A", "evt_1"), ("acct_B", "evt_2")]


async def test_a_card_number_is_cut_out_and_told(operator: Operator) -> None:
    told = await operator.take_in(event("evt_1", note="4242 4242 4242 4242"))
    assert told["cards"] == 1
    [row] = await operator.rows("select cards from ingest.event")
    assert row["cards"] == 1


async def test_it_says_what_it_needs(operator: Operator) -> None:
    file = operator.file("one.jsonl", lines(event("evt_1")))
    given = ("import", file, "--account", ACCOUNT)
    assert "--livemode" in (await operator.run(*given, code=2)).output
    gone = await operator.run(
        "import", operator.folder / "none.jsonl", "--account", ACCOUNT, "--test", code=78
    )
    assert str(gone.exception) == f"{operator.folder / 'none.jsonl'}: No such file or directory"
    operator.environment["MILLRACE_KEYS"] = ""
    assert "MILLRACE_KEYS" in str((await operator.run(*given, "--test", code=78)).exception)
