"""The audit finds what a relay would never notice, names it, and is quiet when all is well.

The faults are planted where the relay hands its records to the client: it believes that they were published.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client import REGISTRY
from zstandard import ZstdCompressor

from lab.stack import Stack
from millrace.errors import Retryable
from outbox_relay.commands import (
    Audit,
    Lane,
    lanes,
    published,
    quarantine,
    records,
)
from outbox_relay.commands.office import Site
from outbox_relay.commands.quarantine import Action
from outbox_relay.commands.steering import To, rebase
from outbox_relay.domain.page import Record
from tests.integration.outbox_relay.arena import Arena, MakeArena, running, until
from tests.integration.outbox_relay.planting import (
    Plant,
    Records,
    audited,
    drained,
    numbered,
    pseq,
    row,
    run,
)  # fmt: skip
from tests.support.kafka import MakeTopic


def lost(records: Records) -> Records:
    return records[:2] + records[3:]


def lost_at_the_end(records: Records) -> Records:
    return records[:-1]


def doubled(records: Records) -> Records:
    return [*records[:3], *records[1:3], *records[3:]]


def lost_and_doubled(records: Records) -> Records:
    return [*records[:2], records[1], *records[3:]]


def stranger(records: Records) -> Records:
    return [*records[:1], Record(b"acct_1/cus_1", b"{}", [("ce_id", b"evt_x")]), *records[1:]]


def of_no_row(records: Records) -> Records:
    return [
        numbered(record, row=row(record) + 1_000_000) if n == 1 else record
        for n, record in enumerate(records)
    ]


def shortened(records: Records) -> Records:
    return [
        record._replace(value=record.value[:-1]) if n == 1 else record for n, record in enumerate(records)
    ]


def exchanged_lengths(records: Records) -> Records:
    values = [records[0].value + b" ", *(record.value for record in records[1:-1]), records[-1].value[:-1]]
    return [record._replace(value=value) for record, value in zip(records, values, strict=True)]


def misnumbered(records: Records) -> Records:
    return [numbered(record, pseq=pseq(record) - (n == 2)) for n, record in enumerate(records)]


def swapped(records: Records) -> Records:
    return [records[1], records[0], *records[2:]]


NAMED = ("missing", "strange", "doubled", "changed", "strangers", "gaps", "inverted")
PLANTED: list[
    tuple[Plant, dict[str, list[int] | int]]
] = [  # what is done to a page of five, and what is found
    (list, {}),
    (lost, {"missing": [2]}),
    (lost_at_the_end, {"missing": [4]}),
    (doubled, {"doubled": [1, 2]}),
    (lost_and_doubled, {"missing": [2], "doubled": [1]}),
    (stranger, {"strangers": 1}),
    (of_no_row, {"missing": [1], "strange": 1}),
    (shortened, {"changed": [1]}),
    (exchanged_lengths, {"changed": [0, 4]}),
    (misnumbered, {"inverted": 1}),
    (swapped, {"inverted": 1}),
]


@pytest.fixture
async def spoilt(arena: MakeArena, topics: MakeTopic) -> tuple[Arena, dict[str, Any]]:
    """Ten rows on each of many topics, published and audited; then five more, to which something is done.

    Returns what should be found of each topic."""
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    names = {await topics(plant.__name__, partitions=1): (plant, found) for plant, found in PLANTED}
    for topic in names:
        await it.insert(10, topic=topic)
    await run(it)
    first = await audited(it)
    assert first.ok, first.differences
    assert (first.rows, first.records) == (10 * len(names), 10 * len(names))
    for topic in names:
        await it.insert(5, topic=topic)
    ids = await run(it, {topic: plant for topic, (plant, _) in names.items()})
    return it, {topic: wanted(ids[topic], found) for topic, (_, found) in names.items() if found}


def wanted(ids: list[int], found: Mapping[str, list[int] | int]) -> dict[str, list[int] | int]:
    """Places of the page become ids; what has none is counted."""
    return {name: [ids[n] for n in it] if isinstance(it, list) else it for name, it in found.items()}


def told(found: Audit, expected: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What was found, by topic; ids as a list, and as their number where the expectation has one."""
    told: dict[str, dict[str, Any]] = {}
    for it in found.differences:
        values = {name: value for name in NAMED if (value := getattr(it, name))}
        counted = {name for name, value in expected.get(it.topic, {}).items() if isinstance(value, int)}
        told[it.topic] = {
            name: len(value) if name in counted and not isinstance(value, int) else value
            for name, value in values.items()
        }
    return told


async def test_what_is_planted_is_found_and_named(spoilt: tuple[Arena, dict[str, Any]]) -> None:
    it, expected = spoilt
    found = await audited(it)
    assert told(found, expected) == expected
    again = await audited(it, since=datetime.now(UTC) - timedelta(hours=1))  # the other way, row by row
    assert told(again, expected) == expected
    assert (await audited(it, accepted="somebody: planted")).run
    after = await audited(it)
    assert after.ok
    assert (after.rows, after.records) == (0, 0)


QUIET = 3600  # seconds between heartbeats, whose rows would be counted too

PUT = """
insert into outbox.event (topic, key, headers, payload, unpacked) values ($1, 'acct_1/cus_1', '{}', $2, $3) returning id
"""


async def put(it: Arena, payload: bytes, *, topic: str = "", unpacked: int | None = None) -> int:
    async with it.connection() as connection:
        row: int = await connection.fetchval(PUT, topic or it.topic, payload, unpacked)
        return row


async def decide(it: Arena, action: Action, row: int) -> None:
    async with it.connection() as connection, connection.transaction():
        assert await quarantine.decide(connection, quarantine.Wanted((row,)), action, "ada", "it is mended")


async def settled(it: Arena, action: Action, row: int) -> None:
    """Decide about a parked row, and let a relay carry it out."""
    await decide(it, action, row)
    async with running(it.relay()), it.connection() as connection:

        async def done() -> bool:
            waits = "select ended_at is not null from outbox.quarantine where id = $1"
            return bool(await connection.fetchval(waits, row))

        await until(done)


async def account(it: Arena) -> dict[str, Any]:
    async with it.connection() as connection:
        return await published(it.kafka, connection, [it.topic])


async def test_what_is_packed_claimed_parked_or_retried_is_neither_missing_nor_strange(
    arena: MakeArena,
) -> None:
    it = await arena(heartbeat_seconds=QUIET, claim_bytes=2000, claim_bytes_max=4000, record_bytes=3000)
    await put(it, ZstdCompressor().compress(bytes(1500)), unpacked=1500)
    await put(it, bytes(3500))  # larger than a record: its payload stays here
    mended, given_up = await put(it, bytes(9000)), await put(it, bytes(9001))
    await it.insert(5)
    await run(it)
    found = await audited(it)
    assert (found.ok, found.rows, found.records, found.parked) == (True, 7, 7, 2), found.differences
    told = await account(it)
    assert (told["rows"], told["missing"], told["strange"], told["parked"]) == (9, 0, 0, 2)

    it.overrides |= {"claim_bytes_max": 20_000}
    await settled(it, "retry", mended)
    found = await audited(it)
    assert (found.ok, found.rows, found.records, found.parked) == (True, 1, 1, 1), found.differences
    await settled(it, "drop", given_up)
    found = await audited(it, since=datetime.now(UTC) - timedelta(hours=1))
    assert (found.ok, found.rows, found.records, found.parked) == (True, 8, 8, 0), found.differences
    told = await account(it)
    assert (told["missing"], told["strange"], told["duplicates"], told["gaps"], told["parked"]) == (
        0,
        0,
        0,
        0,
        0,
    )


async def test_a_topic_that_was_made_anew_is_noticed_and_a_full_audit_names_what_it_lost(
    arena: MakeArena, admin: AIOKafkaAdminClient
) -> None:
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    await it.insert(10)
    await run(it)
    assert (await audited(it)).ok
    await admin.delete_topics([it.topic])
    await until(lambda: made(admin, it.topic))
    await it.insert(3)
    await run(it)
    found = await audited(it)
    assert [(d.gaps, d.missing) for d in found.differences] == [(1, [])]
    found = await audited(it, since=datetime.now(UTC) - timedelta(hours=1))
    assert found.missing == (await it.committed())[:10]


@pytest.fixture
async def admin(stack: Stack) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await client.start()
    yield client
    await client.close()


async def made(admin: AIOKafkaAdminClient, topic: str) -> bool:
    """A topic's name is free again only some time after it was deleted."""
    answer = await admin.create_topics([NewTopic(topic, 1, 1)])
    return bool(answer.topic_errors[0][1] == 0)


async def test_every_shard_is_audited_for_itself(arena: MakeArena) -> None:
    it = await arena(partitions=4, shards=2, heartbeat_seconds=QUIET)
    shards = lanes("main", 2)
    await it.insert(40, keys=17)
    async with running(it.lanes()):
        await it.published()
    found = [await audited(it, lane=lane) for lane in shards]
    assert all(one.ok for one in found), [one.differences for one in found]
    assert sum(one.rows for one in found) == sum(one.records for one in found) == 40
    assert all(one.rows for one in found)


async def test_in_the_middle_of_the_traffic_it_is_well_every_time(arena: MakeArena) -> None:
    """The window is open, transactions are under way, and the reader is ahead of the cursor and behind it."""
    it = await arena(page_rows=7, heartbeat_seconds=QUIET)
    rows = 0
    async with running(it.relay()):
        await it.insert(1)
        await it.published()
        for _ in range(8):
            await asyncio.gather(*(it.insert(9) for _ in range(3)))
            found = await audited(it)
            assert found.ok, found.differences
            rows += found.rows
        await until(lambda: drained(it))
    rows += (await audited(it)).rows
    assert rows == 8 * 27 + 1


async def test_rows_of_another_generation_are_no_doubles_and_doubles_of_it_are(arena: MakeArena) -> None:
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    await it.insert(5)
    await run(it)
    assert (await audited(it)).ok
    await rebase(Site(it.owner, it.kafka, it.cursor), Lane(), To.REPUBLISH, nobody)
    await it.insert(2)
    ids = await run(
        it, {it.topic: lambda records: [*records[:3], *records[2:]] if len(records) > 3 else records}
    )
    found = await audited(it)
    assert [(d.doubled, d.missing, d.strange) for d in found.differences] == [([ids[it.topic][2]], [], [])]


async def nobody(tx: Any) -> None:
    """Nothing is written down."""


async def test_an_open_transaction_is_an_answer_that_has_to_wait(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies behind it is not to be seen yet: that is no loss."""
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    await it.insert(1)
    await run(it)
    stranger = AIOKafkaProducer(bootstrap_servers=it.kafka, transactional_id=f"stranger.{it.topic}")
    await stranger.start()
    try:
        await stranger.begin_transaction()
        await stranger.send_and_wait(it.topic, b"{}", key=b"k", partition=0)
        await it.insert(1)
        await run(it)
        monkeypatch.setattr(records, "PATIENCE_SECONDS", 0.5)
        with pytest.raises(Retryable, match=f"a transaction is open in {it.topic}-0"):
            await audited(it)
        await stranger.abort_transaction()
    finally:
        await stranger.stop()
    assert (await audited(it)).ok


async def test_in_a_database_that_was_restored_elsewhere_ids_mean_other_rows(arena: MakeArena) -> None:
    """Its last audit speaks of the old one, and so do the records of before."""
    old = await arena(partitions=1, heartbeat_seconds=QUIET)
    await old.insert(5)
    await run(old)
    assert (await audited(old)).ok
    await old.insert(2)  # published, and lost with the old database
    await run(old)
    restored = replace(await arena(partitions=1, heartbeat_seconds=QUIET), topic=old.topic, cursor=old.cursor)
    columns = "lane, cursor, offsets, row_count, records, missing, strange, doubled, gaps"
    async with old.connection() as before, restored.connection() as after:
        rows = await before.fetch(f"select {columns} from outbox.audited")
        await after.executemany(
            f"insert into outbox.audited ({columns}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [tuple(row) for row in rows],
        )
    with pytest.raises(Retryable, match="belongs to another history than this database"):
        await audited(restored)
    await restored.insert(4)
    await rebase(Site(restored.owner, restored.kafka, restored.cursor), Lane(), To.REPUBLISH, nobody)
    await run(restored)
    found = await audited(restored)
    assert (found.ok, found.rows) == (True, 4), found.differences
    await restored.insert(3)
    await run(restored)
    assert ((found := await audited(restored)).ok, found.rows, found.records) == (True, 3, 3)


async def test_a_relay_shows_how_the_last_audit_went(arena: MakeArena) -> None:
    it = await arena(partitions=1, heartbeat_seconds=QUIET)
    await it.insert(3)
    await run(it, {it.topic: lambda records: records[:1] + records[2:]})
    await audited(it)
    async with running(it.relay()):
        await until(
            lambda: REGISTRY.get_sample_value("millrace_relay_audit_mismatches", {"lane": "main"}) == 1
        )
    age = REGISTRY.get_sample_value("millrace_relay_audit_age_seconds", {"lane": "main"})
    assert age is not None
