"""The relay on a real PostgreSQL and a real Kafka: every row once, in order, and a cursor that is never ahead."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from millrace.events.keys import key_hash
from millrace.topics import RELAY_HEARTBEAT
from outbox_relay import commands
from outbox_relay.domain.lane import lanes
from outbox_relay.relay import heartbeat
from outbox_relay.relay.heartbeat import own_key
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.support.kafka import MakeTopic, read_all


async def test_every_row_arrives_once_in_order(arena: MakeArena) -> None:
    it = await arena(partitions=3, page_rows=50)
    await it.insert(rows=500)
    async with running(it.relay()):
        await it.published()
    assert await it.account() == Account(rows=500)


async def test_the_process_drains_stops_when_asked_and_goes_on_where_it_stopped(
    arena: MakeArena, tmp_path: Path
) -> None:
    it = await arena(page_rows=50)
    for part in (1, 2):
        await it.insert(rows=300)
        relay = await RelayProcess.start(it, tmp_path / f"relay-{part}.log")
        await it.published()
        relay.process.terminate()
        assert await relay.ended() == 0
    assert await it.account() == Account(rows=600)


async def test_a_missing_cursor_topic_is_named_and_waited_for(arena: MakeArena, topics: MakeTopic) -> None:
    made = await arena(stalled_seconds=1)
    it = replace(made, cursor=f"{made.cursor}.later")
    await it.insert(rows=5)
    relay = it.relay()
    async with running(relay):
        await until(lambda: "lane main has no cursor topic: make it with one partition" in relay.ready(), 30)
        await topics(it.cursor, partitions=1, config={"cleanup.policy": "compact"}, exact=True)
        await it.published()
        await until(lambda: relay.ready() == "")


# --- heartbeats ---


@pytest.fixture
async def heartbeats(topics: MakeTopic) -> AsyncIterator[str]:
    """The topic of heartbeats, for one test: elsewhere nobody sends any."""
    yield await topics(RELAY_HEARTBEAT, partitions=4, exact=True)


async def test_a_row_of_its_own_goes_the_whole_way_and_is_measured(arena: MakeArena, heartbeats: str) -> None:
    it = await arena(shards=2, partitions=2)
    before = [beats(lane) for lane in ("main.0of2", "main.1of2")]
    async with running(it.lanes()):
        await until(lambda: beats("main.0of2") > before[0] + 1 and beats("main.1of2") > before[1] + 1, 30)
    for name in ("millrace_relay_last_end_to_end_seconds", "millrace_relay_heartbeat_age_seconds"):
        assert (
            REGISTRY.get_sample_value(name, {"lane": "main.1of2"}) == 0
        )  # whoever does not lead cannot tell
    keys = {record.key for record in await read_all(it.kafka, heartbeats)}
    assert keys >= {own_key(lane).encode() for lane in lanes("main", 2)}
    assert [lane.owns(key_hash(own_key(lane))) for lane in lanes("main", 5)] == [True] * 5


def beats(lane: str) -> float:
    name = "millrace_relay_end_to_end_seconds_count"
    return REGISTRY.get_sample_value(name, {"lane": lane}) or 0.0


async def test_a_beat_that_is_late_is_seen_and_followed_by_few(arena: MakeArena, heartbeats: str) -> None:
    """A relay that stands still says so, and must not find a backlog of its own heartbeats afterwards."""
    it = await arena(heartbeat_seconds=0.05, stalled_seconds=2)
    relay = it.relay()
    async with running(relay), it.connection() as connection:
        await until(lambda: beats("main") > 1)
        await connection.execute("revoke select on outbox.event from millrace_outbox")
        before = await count(it)
        await until(lambda: relay.ready().startswith("no progress for 2 s: InsufficientPrivilege"), 30)
        age = REGISTRY.get_sample_value("millrace_relay_last_end_to_end_seconds", {"lane": "main"})
        assert age and age > 1
        assert await count(it) - before <= 3
        await connection.execute("grant select on outbox.event to millrace_outbox")
        await until(lambda: relay.ready() == "", 30)


async def count(it: Arena) -> int:
    async with it.connection() as connection:
        return int(await connection.fetchval("select count(*) from outbox.event"))


async def test_without_their_topic_there_are_no_heartbeats_and_one_line_says_so(
    arena: MakeArena, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "ABSENT_SECONDS", 0.01)  # it looks again and again
    it = await arena(heartbeat_seconds=0.1)
    with caplog.at_level(logging.WARNING, "outbox_relay"):
        async with running(it.relay()):
            await until(lambda: commands_know(it), 20)
    assert [r.message for r in caplog.records if "heartbeat" in r.message] == [
        f"no topic {RELAY_HEARTBEAT}: no heartbeat rows"
    ]
    assert await count(it) == 0


async def commands_know(it: Arena) -> bool:
    return await commands.position(it.kafka, it.cursor) is not None


# --- days ---

TOMORROW = "select 'outbox.event_' || to_char((now() at time zone 'UTC')::date + $1::int, 'YYYYMMDD')"


async def test_the_leader_makes_days_ahead(arena: MakeArena) -> None:
    it = await arena(days_ahead=9)
    async with it.connection() as connection, running(it.relay()):
        ninth = await connection.fetchval(TOMORROW, 9)
        await until(lambda: there(it, ninth), 20)
        await until(lambda: REGISTRY.get_sample_value("millrace_outbox_days_ahead", {"lane": "main"}) == 9)


async def there(it: Arena, table: str) -> bool:
    async with it.connection() as connection:
        return bool(await connection.fetchval("select to_regclass($1) is not null", table))


async def test_without_a_day_for_tomorrow_it_is_not_ready_and_says_what_to_type(arena: MakeArena) -> None:
    it = await arena()
    async with it.connection() as connection:
        await connection.execute(f"drop table {await connection.fetchval(TOMORROW, 1)}")
        await connection.execute("revoke execute on function outbox.make_days from public, millrace_outbox")
    relay = it.relay()
    await it.insert(rows=5)
    async with running(relay):
        await until(lambda: "millrace relay partitions make" in relay.ready(), 20)
        await it.published()  # what was written is carried all the same
