"""The relay as operators meet it: what waits, who leads, what was lost, and the command that mends it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from millrace.clock import FileClock
from operations import flow
from operations.relay import proving
from operations.settings import Settings
from outbox_relay.commands import published
from tests.integration.ingest.operators import NOW, Operator
from tests.integration.outbox_relay.arena import Arena, MakeArena, make_arena, running, until
from tests.integration.outbox_relay.planting import drained, run
from tests.support.database import Database
from tests.support.kafka import MakeTopic, read_all

__all__ = ["make_arena"]

QUIET = 3600  # seconds between heartbeats, whose rows would be counted too
WHY = ("--reason", "the audit found it missing")


def person(it: Arena, folder: Path) -> Operator:
    """Somebody with the owner's rights beside the relay of an arena."""
    clock = FileClock(folder / "clock")
    clock.turn(NOW)
    environment = {
        "MILLRACE_DATABASE": it.owner,
        "MILLRACE_KAFKA": it.kafka,
        "MILLRACE_RELAY_CURSOR_TOPIC": it.cursor,
    }
    return Operator(Database(it.owner, it.owner.rpartition("/")[2]), folder, clock, environment)


async def relay(it: Operator, *words: str, code: int = 0) -> Any:
    return await it.json("relay", *words, code=code)


async def test_before_the_first_row_everything_says_so(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(heartbeat_seconds=QUIET)
    operator = person(it, tmp_path)
    await it.insert(10)
    (lane,) = await relay(operator, "status", code=3)
    assert lane["problems"] == ["nobody leads: start a relay"]
    assert (lane["rows"], lane["generation"], lane["standbys"]) == (10, None, 0)
    assert [(w["topic"], w["rows"]) for w in await relay(operator, "lag")] == [(it.topic, 10)]
    assert await relay(operator, "drain", "--deadline", "0", code=1) == {"left": 10}
    assert await relay(operator, "cursor", "show", code=3) == [{"lane": "main", "cursor": None}]
    assert await relay(operator, "audit") == []


async def test_a_relay_at_work_its_standby_and_a_drain(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(heartbeat_seconds=QUIET)
    operator = person(it, tmp_path)
    await it.insert(10)
    async with running(it.relay()), running(it.relay()):
        assert await relay(operator, "drain") == {"left": 0}
        await until(lambda: standing_by(operator))
        (lane,) = await relay(operator, "status")
        assert lane["verdict"] == "everything is published"
        assert (lane["mode"], lane["generation"], lane["rows"]) == ("transactional", 0, 0)
        assert lane["leader"]["pid"]
        (shown,) = await relay(operator, "cursor", "show")
        assert sum(shown["cursor"]["pseq"][it.topic]) == 10
        printed = (await operator.run("relay", "status")).stdout
        assert "everything is published" in printed
    settings = Settings(database=it.owner, kafka=it.kafka, relay_cursor_topic=it.cursor)
    async with it.connection() as connection:
        assert await flow.unpublished(connection, settings) == (0, None)


async def standing_by(operator: Operator) -> bool:
    (lane,) = await relay(operator, "status")
    return bool(lane["leader"] and lane["standbys"] == 1)


async def test_a_lost_row_is_named_published_again_and_then_all_is_well(
    arena: MakeArena, tmp_path: Path
) -> None:
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    operator = person(it, tmp_path)
    await it.insert(10)
    ids = (await run(it, {it.topic: lambda records: records[:3] + records[4:]}))[it.topic]

    (found,) = await relay(operator, "audit", code=3)
    assert (found["ok"], found["missing"], found["replay"]) == (False, 1, [ids[3]])
    said = (await operator.run("relay", "audit", code=3)).stdout
    assert f"millrace relay replay --ids {ids[3]}" in said.replace("\n", " ")
    (lane,) = await relay(operator, "status", code=3)
    assert "the last audit found 1 differences: millrace relay audit" in lane["problems"]

    done = await relay(operator, "replay", "--ids", f"{ids[3]}", *WHY)
    assert (done["topics"], done["waiting"]) == ({it.topic: 1}, 0)
    (record,) = [r for r in await read_all(it.kafka, it.topic) if "millrace-replay" in dict(r.headers)]
    assert dict(record.headers)["millrace-replay"] == WHY[1].encode()
    assert int(dict(record.headers)["millrace-outbox-id"]) == ids[3]
    assert "millrace-pseq" not in dict(record.headers)
    (row,) = await operator.rows("select action, subject, reason from sealing.audit")
    assert tuple(row) == ("replayed outbox rows", f"rows {ids[3]} to their topics", WHY[1])

    (found,) = await relay(operator, "audit")
    assert (found["ok"], found["row_count"], found["records"]) == (True, 10, 9)
    async with it.connection() as connection:
        told = await published(it.kafka, connection, [it.topic])
    assert (told["missing"], told["duplicates"], told["replays"]) == (1, 0, 1)  # `verify` trusts no replay


async def test_a_difference_that_stays_is_accepted_with_a_reason(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    operator = person(it, tmp_path)
    await it.insert(5)
    await run(it, {it.topic: lambda records: [*records, records[0]]})
    (found,) = await relay(operator, "audit", code=3)
    assert (found["doubled"], found["replay"]) == (1, [])
    assert (await relay(operator, "audit", code=3))[0]["doubled"] == 1  # it is not forgotten
    assert (await relay(operator, "audit", "--since", "1h", code=3))[0]["doubled"] == 1
    await relay(operator, "audit", "--accept", "a broker died; consumers dropped it")
    (found,) = await relay(operator, "audit")
    assert (found["ok"], found["row_count"]) == (True, 0)
    (row,) = await operator.rows("select action, reason from sealing.audit")
    assert tuple(row) == ("accepted an audit's differences", "a broker died; consumers dropped it")
    runs = await operator.rows("select ok, accepted from outbox.audited order by run")
    assert [tuple(row) for row in runs] == [
        (False, None), (False, None), (True, "a broker died; consumers dropped it"), (True, None),
    ]  # fmt: skip


async def test_a_replay_leaves_to_the_relay_what_is_on_its_way_and_asks_before_it_floods(
    arena: MakeArena, topics: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, other = await arena(partitions=1, heartbeat_seconds=QUIET), await topics("elsewhere", partitions=2)
    operator = person(it, tmp_path)
    await it.insert(10)
    await run(it)
    await it.insert(3)
    monkeypatch.setattr(proving, "ASKED_FROM", 9)
    asked = ("replay", "--since", "1h", "--to-topic", other, *WHY)
    refused = await operator.run("relay", *asked, code=78)
    assert "10 rows would be published again; say --yes" in str(refused.exception)
    done = await relay(operator, *asked, "--yes")
    assert (done["topics"], done["waiting"]) == ({other: 10}, 3)
    assert len(await read_all(it.kafka, other)) == 10
    assert len(await read_all(it.kafka, it.topic)) == 10
    newest = max(await it.committed())
    done = await relay(operator, "replay", "--ids", f"{newest}", *WHY, code=3)
    assert (done["rows"], done["waiting"]) == (0, 1)
    gone = await operator.run(
        "relay", "replay", "--since", "1h", "--to-topic", "nowhere", "--yes", *WHY, code=78
    )
    assert "topic nowhere: its topic does not exist" in str(gone.exception)
    assert len(await read_all(it.kafka, other)) == 10


MISSPELT = [
    ("replay", "--ids", "5"),
    ("replay", *WHY),
    ("replay", "--ids", "5", "--since", "1h", *WHY),
    ("replay", "--ids", "five", *WHY),
    ("audit", "--lane", "eu"),
    ("audit", "--since", "yesterday"),
    ("audit", "--since", "1h", "--accept", "so be it"),
]


@pytest.mark.parametrize("words", MISSPELT, ids=" ".join)
async def test_what_is_misspelt_is_refused_before_anything_is_done(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    clock = FileClock(tmp_path / "clock")
    clock.turn(NOW)
    environment = {"MILLRACE_DATABASE": "postgres://nobody@127.0.0.1:1/none"}
    await Operator(Database("", ""), tmp_path, clock, environment).run("relay", *words, code=2)


async def test_waiting_is_over_when_what_was_committed_at_its_start_is_published(arena: MakeArena) -> None:
    """However fast others go on writing."""
    it = await arena(page_rows=20, heartbeat_seconds=QUIET)
    await it.insert(40)
    async with it.connection() as connection, running(it.relay()):
        writing = asyncio.create_task(keep_writing(it))
        await flow.published(connection, it.kafka, cursor_topic=it.cursor, deadline_seconds=60)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await until(lambda: drained(it), 60)


async def keep_writing(it: Arena) -> None:
    while True:
        await it.insert(20)
