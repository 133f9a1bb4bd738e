"""The transaction of a batch on a real PostgreSQL: everything together, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from millrace import audit, postgres
from millrace.consumer import Applied, Batches, Each, Record, Report, read
from millrace.errors import Poison
from millrace.events import Event
from millrace.postgres import Pool, Transaction
from tests.support import tally
from tests.support.database import Database, MakeDatabase
from tests.support.events import record
from tests.support.tally import SCHEMA, event, fold


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[Pool]:
    made = await postgres.pool(db.dsn(SCHEMA))
    yield made
    await made.close()


async def rows(db: Database, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(db.owner)
    try:
        await postgres.prepare(connection)
        return [tuple(r) for r in await connection.fetch(query)]
    finally:
        await connection.close()


PROCESSED = "select event_id, outcome from tally.processed_events order by event_id"
TALLIES = "select key, applied, total from tally.tally order by key"
OUTBOX = "select topic, headers->>'ce_id', headers->>'traceparent' from outbox.event order by id"


async def test_effect_dedupe_audit_and_outgoing_events_commit_together(db: Database, pool: Pool) -> None:
    report = await Batches(pool, fold()).apply([record(event("add", "e1", 3)), record(event("look", "e2"))])
    assert report == Report(applied=1, noop=1)
    assert await rows(db, TALLIES) == [("a", ["e1"], 3)]
    assert await rows(db, PROCESSED) == [("e1", "applied"), ("e2", "noop")]
    [(topic, id, trace)] = await rows(db, OUTBOX)
    assert (topic, id) == ("millrace.refresh", "tally.e1.0")
    assert trace.startswith("00-" + "1" * 32)
    assert await rows(db, "select seq, action, subject, event, reason from tally.audit") == [
        (1, "applied stripe.add", "a", "e1", "added 3")
    ]


async def test_an_event_that_came_before_changes_nothing(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    await batches.apply([record(event("add", "e1")), record(event("add", "e1"))])
    report = await batches.apply([record(event("add", "e1")), record(event("add", "e2"))])
    assert report == Report(applied=1, duplicate=1)
    assert await rows(db, TALLIES) == [("a", ["e1", "e2"], 2)]
    assert len(await rows(db, OUTBOX)) == 2


async def test_when_the_outbox_refuses_nothing_of_the_batch_is_kept(db: Database, pool: Pool) -> None:
    await rows(db, "revoke insert on outbox.event from millrace_tally")
    report = await Batches(pool, fold()).apply([record(event("add", "e1"))])
    assert "InsufficientPrivilege" in report.resting["test", 0].reason
    assert report.ends == {}
    for table in ("tally.tally", "tally.processed_events", "tally.audit", "outbox.event"):
        assert await rows(db, f"select * from {table}") == [], table


async def test_two_consumers_of_the_same_events_apply_each_once(db: Database, pool: Pool) -> None:
    stream = [record(event("add", f"e{n}", of=f"k{n % 3}")) for n in range(60)]

    async def consume() -> None:
        for start in range(0, 60, 7):
            await retried(Batches(pool, fold()), stream[start : start + 7])

    await asyncio.gather(*(consume() for _ in range(4)))
    assert [(len(ids), total) for _, ids, total in await rows(db, TALLIES)] == [(20, 20)] * 3
    assert len(await rows(db, OUTBOX)) == 60


async def retried(batches: Batches, records: list[Record]) -> None:
    for _ in range(100):
        report = await batches.apply(records)
        if not report.resting:
            return
        await asyncio.sleep(max(rest.after for rest in report.resting.values()))
    raise AssertionError("never applied")


async def test_the_event_that_the_database_refuses_is_named_and_its_neighbours_go_through(
    db: Database, pool: Pool
) -> None:
    stream = [event("add", f"e{n}", 1, of=f"k{n}") for n in range(7)]
    stream[4] = event("add", "e4", 5000, of="k4")
    report = await Batches(pool, fold()).apply([record(e) for e in stream])
    assert report == Report(applied=6, parked=1, poisoned=1)
    assert await rows(db, "select event_id, status, reason from tally.parked_event") == [
        ("e4", "failed", "CheckViolationError tally_total_check")
    ]


async def test_later_events_wait_behind_a_parked_one_and_are_redriven_in_order(
    db: Database, pool: Pool
) -> None:
    batches = Batches(pool, fold())
    await batches.apply(
        [record(event("add", "e1")), record(event("add", "e2", "two")), record(event("add", "e3"))]
    )
    assert await batches.apply([record(event("add", "e4")), record(event("add", "e5", of="b"))]) == Report(
        applied=1, parked=1
    )
    assert await batches.redrive() == Report(parked=3, poisoned=1)
    await rows(db, """update tally.parked_event set value = '{"amount": 2}' where event_id = 'e2'""")
    assert await batches.redrive("acct_test/a") == Report(applied=3)
    assert await rows(db, TALLIES) == [("a", ["e1", "e2", "e3", "e4"], 5), ("b", ["e5"], 1)]
    assert await rows(db, "select * from tally.parked_event") == []
    assert {outcome for _, outcome in await rows(db, PROCESSED)} == {"applied"}


async def test_a_waiting_event_is_applied_with_the_fact_it_waited_for(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    assert await batches.apply([record(event("take", "t", 5))]) == Report(parked=1)
    assert await batches.apply([record(event("add", "a", 7))]) == Report(applied=2)
    assert await rows(db, TALLIES) == [("a", ["a", "t"], 2)]
    assert await rows(db, PROCESSED) == [("a", "applied"), ("t", "applied")]
    assert await rows(db, "select * from tally.parked_event") == []


async def test_a_record_that_is_not_ours_is_parked_with_its_coordinates_and_a_notice(
    db: Database, pool: Pool
) -> None:
    strangers = [
        read("t", 2, 7, None, [], b"hello"),
        read("t", 2, 8, b"\xff", [("x", b"\x00\xff")], b"\x00"),
        read("t", 2, 9, b"k", [], None),
    ]
    report = await Batches(pool, fold()).apply([*strangers, record(event("add", "e1"))])
    assert report == Report(applied=1, parked=3, poisoned=3)
    assert await rows(
        db, "select topic, partition, kafka_offset, status from tally.parked_event order by id"
    ) == [("t", 2, n, "poison") for n in (7, 8, 9)]
    assert [topic for topic, *_ in await rows(db, OUTBOX)].count("tally.dead-letter") == 3
    assert await Batches(pool, fold()).apply(strangers) == Report(duplicate=3)
    assert len(await rows(db, OUTBOX)) == 4


async def test_handlers_commit_with_their_dedupe_row_and_a_poisonous_one_is_found(
    db: Database, pool: Pool
) -> None:
    async def add(tx: Transaction, e: Event) -> None:
        if e.id == "e3":
            raise Poison("three is not for us")
        await tally.save(tx, [Applied(e.id, e, tally.Tally((e.id,), e.data["amount"]), "")])

    each = Each("tally", {"stripe.add": add}, ordered=False)
    report = await Batches(pool, each).apply([record(event("add", f"e{n}")) for n in range(5)])
    assert report == Report(applied=4, parked=1, poisoned=1)
    assert [key for key, *_ in await rows(db, TALLIES)] == ["e0", "e1", "e2", "e4"]
    assert await rows(db, "select event_id, reason from tally.parked_event") == [
        ("e3", "three is not for us")
    ]


async def test_processes_side_by_side_keep_a_chain_each_and_all_verify(db: Database, pool: Pool) -> None:
    async def process(number: int) -> None:
        batches = Batches(pool, fold(), chain=f"tally-{number}")
        for n in range(5):
            await batches.apply([record(event("add", f"{number}{n}", of=f"k{number}"))])

    await asyncio.gather(*(process(number) for number in range(3)))
    async with postgres.transaction(pool) as tx:
        assert await audit.verify(tx, "tally") == []
    assert await rows(db, "select chain, count(*) from tally.audit group by chain order by chain") == [
        (f"tally-{number}", 5) for number in range(3)
    ]
