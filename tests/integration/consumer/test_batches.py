"""The transaction of a batch on a real PostgreSQL: everything together, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from millrace import audit, postgres
from millrace.consumer import (
    Applied,
    Asked,
    Batches,
    DeadLetterLimit,
    Each,
    Progress,
    Record,
    Report,
    Rest,
    read,
)
from millrace.consumer.batches import BUG_TRIES
from millrace.errors import Poison, Retryable
from millrace.events import Event, headers
from millrace.postgres import Pool, Transaction
from tests.support import tally
from tests.support.database import Database, MakeDatabase
from tests.support.events import record
from tests.support.tally import SCHEMA, event, fold

AT = datetime(2026, 7, 1, 12, tzinfo=UTC)


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
    assert await rows(db, "select count(*) from tally.parked_event where asked_at is not null") == [(0,)]
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


# --- progress ---


def numbered(e: Event, number: int, *, offset: int, partition: int = 0) -> Record:
    """A record as a relay numbers it."""
    named = [(name, text.encode()) for name, text in headers(e).items()]
    relayed = [("millrace-outbox", b"main@0"), ("millrace-pseq", b"%d" % number)]
    value = orjson.dumps(dict(e.data))
    return read("test", partition, offset, e.key.encode(), [*named, *relayed], value, at=AT)


async def test_progress_is_written_with_the_effect_and_never_goes_back(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    stream = [numbered(event("add", f"e{n}"), n + 1, offset=n) for n in range(4)]
    assert (await batches.apply(stream)).ends == {("test", 0): 4}
    here = {("test", 0): Progress(4, 4, {"main@0": 4}, AT)}
    assert await batches.progress() == here
    assert (await batches.apply(stream[:2])).duplicate == 2
    assert await batches.progress() == {("test", 0): replace(here["test", 0], records=6)}
    async with postgres.transaction(pool) as tx:  # a member that was stopped meanwhile, and goes on
        await batches.store.advance(tx, {("test", 0): Progress(2, 1, {"main@0": 2}, AT - timedelta(hours=1))})
    assert await batches.progress() == {("test", 0): replace(here["test", 0], records=7)}


async def test_numbers_that_are_not_whole_are_counted_told_once_and_applied_all_the_same(
    db: Database, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    batches = Batches(pool, fold())
    await batches.apply([numbered(event("add", "e1"), 1, offset=0)])
    jumps = [
        numbered(event("add", f"e{n}"), number, offset=n) for n, number in ((2, 3), (3, 3), (4, 2), (5, 9))
    ]
    report = await batches.apply(jumps)
    assert report == Report(applied=4)
    assert report.sequence == {"gap": 2, "duplicate": 1, "inversion": 1}
    [line] = [r for r in caplog.records if r.message == "the numbers of records are not whole"]
    assert line.first["place"] == "test/0/2"  # type: ignore[attr-defined]
    assert (await batches.progress())["test", 0].sequences == {"main@0": 9}


async def test_a_consumer_introduces_itself_and_hears_what_operators_ask(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    assert await batches.asked() == Asked()
    await batches.introduced(["one"])
    await rows(db, "update tally.consumer set paused_at = now(), paused_by = 'ann', paused_why = 'a look'")
    await batches.introduced(["one", "two"])
    assert await rows(db, "select name, topics, ordered from tally.consumer") == [
        ("tally", ["one", "two"], True)
    ]
    await batches.apply([record(event("add", "e1", "one")), record(event("add", "e2"))])
    await rows(db, "update tally.parked_event set asked_at = now(), asked_by = 'ann'")
    assert await batches.asked() == Asked("ann: a look", 2)


# --- what is not ready ---


def refusing(*names: str, problem: Callable[[], Exception] = lambda: Retryable("not yet", after=3)) -> Each:
    """Counts every event, but for these, which it cannot handle yet."""

    async def add(tx: Transaction, e: Event) -> str:
        if e.id in names:
            raise problem()
        await tx.execute(COUNT, e.subject, e.id)
        return "counted"

    return Each("tally", {"stripe.add": add})


COUNT = """
insert into tally.tally values ($1, array[$2], 1)
on conflict (key) do update set applied = tally.tally.applied || excluded.applied, total = tally.tally.total + 1
"""


def two_partitions() -> list[Record]:
    """e0, e2, e4 … in partition 0, e1, e3, e5 … in partition 1, mixed as a fetch brings them; a key each."""
    stream = [record(event("add", f"e{n}", of=f"k{n % 2}"), partition=n % 2, offset=n) for n in range(8)]
    return [*stream[:4:2], *stream[1::2], *stream[4::2]]


async def applied(db: Database) -> dict[str, list[str]]:
    return {key: ids for key, ids, _ in await rows(db, TALLIES)}


async def test_what_stands_before_an_event_that_is_not_ready_is_applied_and_other_partitions_go_on(
    db: Database, pool: Pool
) -> None:
    report = await Batches(pool, refusing("e4")).apply(two_partitions())
    assert report == Report(applied=6)
    assert report.resting == {("test", 0): Rest("not yet", 3)}
    assert report.ends == {("test", 0): 4, ("test", 1): 8}
    assert await applied(db) == {"k0": ["e0", "e2"], "k1": ["e1", "e3", "e5", "e7"]}
    assert (await Batches(pool, refusing()).apply(two_partitions())).ends == {("test", 0): 7, ("test", 1): 8}
    assert (await applied(db))["k0"] == ["e0", "e2", "e4", "e6"]


async def test_an_event_that_is_not_ready_in_time_is_parked_and_its_partition_goes_on(
    db: Database, pool: Pool
) -> None:
    batches, now = Batches(pool, refusing("e4"), retry_seconds=600), [0.0]
    batches.clock = lambda: now[0]
    for seconds in (0, 300, 599):
        now[0] = seconds
        assert (await batches.apply(two_partitions())).resting
    now[0] = 600
    report = await batches.apply(two_partitions())
    assert (report.resting, report.ends) == ({}, {("test", 0): 7, ("test", 1): 8})
    assert await rows(db, "select event_id, status, reason from tally.parked_event order by id") == [
        ("e4", "failed", "not ready for 600 s: not yet"),
        ("e6", "behind", "an earlier event of acct_test/k0 is parked"),
    ]


async def test_a_load_that_is_not_ready_for_one_key_is_traced_to_its_event(db: Database, pool: Pool) -> None:
    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, tally.Tally]:
        if "blocked" in keys:
            raise Retryable("not ready for this key")
        return await tally.load(tx, keys)

    stream = [record(event("add", f"e{n}", of="blocked" if n == 5 else f"k{n}"), offset=n) for n in range(9)]
    report = await Batches(pool, replace(fold(), load=load)).apply(stream)
    assert (report.applied, report.ends) == (5, {("test", 0): 5})


async def test_a_database_that_is_away_rests_everything_and_parks_nobody_however_long_it_takes(
    db: Database, pool: Pool
) -> None:
    away = refusing("e4", problem=lambda: asyncpg.AdminShutdownError("terminating connection"))
    batches, now = Batches(pool, away, retry_seconds=1), [0.0]
    batches.clock = lambda: now[0]
    for now[0] in (0, 10**6):
        report = await batches.apply(two_partitions())
        assert list(report.resting) == [("test", 0)]
    assert await rows(db, "select * from tally.parked_event") == []
    await rows(db, "revoke insert on tally.processed_events from millrace_tally")
    report = await batches.apply([record(event("add", f"n{n}"), partition=n, offset=9) for n in range(3)])
    assert (list(report.resting), report.ends) == ([("test", 0), ("test", 1), ("test", 2)], {})


async def test_a_handler_whose_own_world_is_cut_off_waits_alone(db: Database, pool: Pool) -> None:
    report = await Batches(pool, refusing("e4", problem=ConnectionRefusedError)).apply(two_partitions())
    assert report.resting == {("test", 0): Rest("ConnectionRefusedError", 1.0)}


async def test_a_bug_is_tried_three_times_named_and_parked_with_its_places_and_one_line(
    db: Database, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    def bug() -> Exception:
        calls.append("called")
        return ZeroDivisionError("jane@example.com")

    report = await Batches(pool, refusing("e4", problem=bug)).apply(two_partitions())
    assert report == Report(applied=6, parked=2, poisoned=1)
    assert len(calls) == BUG_TRIES
    [(reason,)] = await rows(db, "select reason from tally.parked_event where event_id = 'e4'")
    assert reason.startswith("ZeroDivisionError at consumer/test_batches.py:")
    assert "jane" not in reason
    [line] = [r for r in caplog.records if r.levelname == "ERROR"]
    told = {name: getattr(line, name) for name in ("consumer", "event", "type", "place", "status", "reason")}
    assert told == {"consumer": "tally", "event": "e4", "type": "stripe.add", "place": "test/0/4",
                    "status": "failed", "reason": reason}  # fmt: skip


async def test_a_handler_that_passes_over_an_error_of_the_database_is_found_and_not_the_one_after_it(
    db: Database, pool: Pool
) -> None:
    async def careless(tx: Transaction, e: Event) -> None:
        with suppress(asyncpg.PostgresError):
            if e.id == "e2":
                await tx.execute("select 1 / 0")
            else:
                await tx.execute(COUNT, e.subject, e.id)

    stream = [record(event("add", f"e{n}", of=f"k{n}"), offset=n) for n in range(6)]
    assert await Batches(pool, Each("tally", {"stripe.add": careless})).apply(stream) == Report(
        applied=5, parked=1, poisoned=1
    )
    assert await rows(db, "select event_id, reason from tally.parked_event") == [
        ("e2", "InFailedSQLTransactionError")
    ]


async def test_a_load_that_breaks_for_one_key_parks_that_event_alone(db: Database, pool: Pool) -> None:
    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, tally.Tally]:
        if "k3" in keys:
            raise KeyError("k3")
        return await tally.load(tx, keys)

    stream = [record(event("add", f"e{n}", of=f"k{n}"), offset=n) for n in range(6)]
    report = await Batches(pool, replace(fold(), load=load)).apply(stream)
    assert (report, report.ends) == (Report(applied=5, parked=1, poisoned=1), {("test", 0): 6})
    assert await rows(db, "select event_id, status from tally.parked_event") == [("e3", "failed")]


# --- how much may be parked ---


async def test_the_limit_counts_what_is_in_the_database_so_that_a_new_process_parks_no_more(
    db: Database, pool: Pool
) -> None:
    stream = [record(event("add", f"e{n}", "no number", of=f"k{n}"), offset=n) for n in range(9)]
    for start in range(0, 6, 2):
        await Batches(pool, fold(), dead_letters_max=6).apply(stream[start : start + 2])
    for _ in range(2):
        with pytest.raises(
            DeadLetterLimit, match=r"tally: 7 events in 3600 s .* test/0/6: poison: amount is not"
        ) as said:
            await Batches(pool, fold(), dead_letters_max=6).apply(stream[6:7])
    assert "`millrace parked list tally`" in str(said.value)
    assert await rows(db, "select count(*) from tally.parked_event") == [(6,)]
    assert (await Batches(pool, fold()).progress())["test", 0].next_offset == 6
    await rows(db, "update tally.parked_event set parked_at = now() - interval '2 hours'")
    assert (await Batches(pool, fold(), dead_letters_max=6).apply(stream[6:])).parked == 3


# --- redrive ---

ASK = "update tally.parked_event set asked_at = now(), asked_by = 'ann' where event_id = any(array{names})"
MEND = """update tally.parked_event set value = '{"amount": 1}' where event_id = """
LEFT = "select event_id, status, asked_at is not null from tally.parked_event order by id"
ORDER = "select event_id from tally.processed_events order by seq"


async def test_the_front_of_a_key_releases_what_waits_behind_it_up_to_the_next_poison_in_order(
    db: Database, pool: Pool
) -> None:
    amounts = [1, "x", 1, 1, "y", 1]
    batches = Batches(pool, fold())
    await batches.apply([record(event("add", f"e{n}", amount)) for n, amount in enumerate(amounts)])
    await rows(db, MEND + "'e1'")
    await rows(db, ASK.format(names=["e1"]))
    assert await batches.redrive_asked() == Report(applied=1)
    assert await rows(db, LEFT) == [
        ("e2", "behind", True), ("e3", "behind", True), ("e4", "behind", True), ("e5", "behind", True),
    ]  # fmt: skip
    assert await batches.redrive_asked() == Report(applied=2, parked=2, poisoned=1)
    assert await rows(db, LEFT) == [("e4", "poison", False), ("e5", "behind", False)]
    assert await applied(db) == {"a": ["e0", "e1", "e2", "e3"]}
    assert await rows(db, ORDER) == [(f"e{n}",) for n in (0, 4, 5, 1, 2, 3)]
    assert await batches.asked() == Asked()


async def test_an_event_behind_another_is_not_redriven_before_it(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    await batches.apply([record(event("add", "e1", "x")), record(event("add", "e2"))])
    await rows(db, ASK.format(names=["e2"]))
    assert await batches.redrive_asked() == Report(parked=1)
    assert await rows(db, LEFT) == [("e1", "poison", False), ("e2", "behind", False)]


async def test_a_redrive_takes_bounded_steps_and_keeps_the_order_over_them(db: Database, pool: Pool) -> None:
    batches = Batches(pool, fold())
    await batches.apply([record(event("add", f"e{n:02}", "x" if n == 0 else 1)) for n in range(25)])
    await rows(db, MEND + "'e00'")
    await rows(db, "update tally.parked_event set asked_at = now(), asked_by = 'ann'")
    steps = [await batches.redrive_asked(limit=10) for _ in range(4)]
    assert [step.applied for step in steps] == [10, 10, 5, 0]
    assert await applied(db) == {"a": [f"e{n:02}" for n in range(25)]}


async def test_members_that_redrive_at_once_do_it_once(db: Database, pool: Pool) -> None:
    await Batches(pool, fold()).apply(
        [record(event("add", f"e{n:02}", "x" if n == 0 else 1)) for n in range(40)]
    )
    await rows(db, MEND + "'e00'")
    await rows(db, "update tally.parked_event set asked_at = now(), asked_by = 'ann'")

    async def member(number: int) -> Report:
        batches, report = Batches(pool, fold(), chain=f"tally-{number}"), Report()
        async with asyncio.timeout(60):
            while (await batches.asked()).redrives:
                report += await batches.redrive_asked(limit=7)
        return report

    reports = await asyncio.gather(*(member(number) for number in range(3)))
    assert sum(report.applied for report in reports) == 40
    assert await applied(db) == {"a": [f"e{n:02}" for n in range(40)]}


async def test_what_arrives_while_its_key_is_redriven_is_not_left_behind(db: Database, pool: Pool) -> None:
    batches, arriving = Batches(pool, fold()), asyncio.Event()
    await batches.apply([record(event("add", "e1", "x"))])
    await rows(db, MEND + "'e1'")
    await rows(db, ASK.format(names=["e1"]))

    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, tally.Tally]:
        arriving.set()  # the key is known to be held, and its front is locked
        await asyncio.wait([redriving], timeout=0.3)
        return await tally.load(tx, keys)

    waits = Batches(pool, replace(fold(), load=load), chain="tally-1")
    applying = asyncio.create_task(
        waits.apply([record(event("add", "e2")), record(event("add", "e3", of="b"))])
    )

    async def redrive() -> Report:
        await arriving.wait()
        return await batches.redrive_asked()

    redriving = asyncio.create_task(redrive())
    assert (await applying, await redriving) == (Report(applied=1, parked=1), Report(applied=1))
    assert (await batches.asked()).redrives == 1
    assert await batches.redrive_asked() == Report(applied=1)
    assert (await applied(db))["a"] == ["e1", "e2"]


async def test_a_bug_in_one_redriven_event_stops_none_of_the_others(db: Database, pool: Pool) -> None:
    each = refusing("e1", "e2", problem=ZeroDivisionError)
    await Batches(pool, replace(each, ordered=False)).apply([record(event("add", f"e{n}")) for n in range(4)])
    await rows(db, "update tally.parked_event set asked_at = now(), asked_by = 'ann'")
    mended = replace(refusing("e1", problem=ZeroDivisionError), ordered=False)
    batches = Batches(pool, mended)
    assert await batches.redrive_asked() + await batches.redrive_asked() == Report(
        applied=1, parked=1, poisoned=1
    )
    assert await rows(db, LEFT) == [("e1", "failed", False)]


async def test_headers_of_what_is_parked_are_kept_to_the_byte(db: Database, pool: Pool) -> None:
    e = event("add", "e1", "x")
    strange = [
        ("clean", "é".encode()),
        ("nul", b"a\0b"),
        ("n\0ul%00", b"1"),
        ("no utf-8", b"\xff"),
        ("empty", b""),
    ]
    sent = {**dict(record(e).headers), **dict(strange)}
    await Batches(pool, fold()).apply([read("test", 0, 1, e.key.encode(), sent.items(), b'{"amount": "x"}')])
    async with postgres.transaction(pool) as tx:
        await tx.execute("update tally.parked_event set asked_at = now(), asked_by = 'ann'")
        [(again, held)] = await Batches(pool, fold()).store.asked_for(tx, 1)
    assert (again.headers, again.key, again.value, held) == (sent, e.key.encode(), b'{"amount": "x"}', False)


# --- a handler an event ---


async def test_independent_keys_go_side_by_side_and_each_keeps_its_order(db: Database, pool: Pool) -> None:
    together: list[int] = [0, 0]
    met = asyncio.Event()

    async def add(tx: Transaction, e: Event) -> str:
        together[0] += 1
        together[1] = max(together)
        if together[0] > 1:
            met.set()
        await asyncio.wait([asyncio.ensure_future(met.wait())], timeout=30)
        await tx.execute(COUNT, e.subject, e.id)
        together[0] -= 1
        return "counted"

    each = Each("tally", {"stripe.add": add}, independent=3)
    stream = [record(event("add", f"e{n:02}", of=f"k{n % 12}"), offset=n) for n in range(48)]
    report = await Batches(pool, each).apply(stream)
    assert (report, report.ends) == (Report(applied=48), {("test", 0): 48})
    assert together[1] > 1
    assert all(ids == sorted(ids) and len(ids) == 4 for ids in (await applied(db)).values())
    assert (await Batches(pool, each).progress())["test", 0].next_offset == 48


async def test_with_independent_keys_a_partition_has_come_as_far_as_all_of_them(
    db: Database, pool: Pool
) -> None:
    each = replace(refusing("e20"), independent=4)
    stream = [record(event("add", f"e{n:02}", of=f"k{n}"), offset=n) for n in range(40)]
    report = await Batches(pool, each).apply(stream)
    assert (report.ends, list(report.resting)) == ({("test", 0): 20}, [("test", 0)])
    assert (await Batches(pool, each).progress())["test", 0].next_offset == 20
    assert report.applied > 20  # others went on beyond it
    again = await Batches(pool, replace(refusing(), independent=4)).apply(stream[20:])
    assert (again.applied + again.duplicate, again.ends) == (20, {("test", 0): 40})
    assert await rows(db, "select sum(total) from tally.tally") == [(40,)]


async def test_a_pool_that_is_too_small_for_its_lanes_is_refused(db: Database) -> None:
    small = await postgres.pool(db.dsn(SCHEMA), size=4)
    try:
        with pytest.raises(
            ValueError, match=r"independent=4 takes as many connections and one more; the pool has 4"
        ):
            Batches(small, replace(refusing(), independent=4))
    finally:
        await small.close()


async def test_a_transaction_takes_no_more_events_than_its_time_allows(db: Database, pool: Pool) -> None:
    now = [0.0]

    async def slow(tx: Transaction, e: Event) -> str:
        now[0] += 0.9
        await tx.execute(COUNT, e.subject, e.id)
        return "counted"

    batches = Batches(pool, Each("tally", {"stripe.add": slow}, batch_seconds=2))
    batches.clock = lambda: now[0]
    report = await batches.apply([record(event("add", f"e{n}"), offset=n) for n in range(7)])
    assert (report, report.ends) == (Report(applied=7), {("test", 0): 7})
    [(commits,)] = await rows(db, "select count(distinct processed_at) from tally.processed_events")
    assert commits == 3
    assert await applied(db) == {"a": [f"e{n}" for n in range(7)]}


async def test_a_handler_sees_what_it_may_open_and_what_is_parked_stays_sealed(
    db: Database, pool: Pool
) -> None:
    seen: list[Any] = []

    class Opening:
        async def event(self, e: Event) -> Event:
            if e.id == "away":
                raise Retryable("no keys", after=5)
            return replace(e, data={**e.data, "amount": "jane@example.com"})

    async def look(tx: Transaction, e: Event) -> None:
        seen.append(e.data["amount"])
        raise Poison("not for us")

    each = Each("tally", {"stripe.add": look}, opens=Opening(), ordered=False)  # type: ignore[arg-type]
    batches, now = Batches(pool, each, retry_seconds=1), [0.0]
    batches.clock = lambda: now[0]
    await batches.apply([record(event("add", "e1", "sealed"))])
    assert seen == ["jane@example.com"]
    assert await rows(db, "select convert_from(value, 'utf8') from tally.parked_event") == [
        ('{"amount":"sealed"}',)
    ]
    for now[0] in (0, 10**6):  # keys that are away park nobody
        report = await batches.apply([record(event("add", "away"), offset=7)])
        assert report.resting == {("test", 0): Rest("no keys", 5)}


async def test_what_a_handler_did_is_audited_when_it_says_so(db: Database, pool: Pool) -> None:
    async def silent(tx: Transaction, e: Event) -> None: ...
    async def saying(tx: Transaction, e: Event) -> str:
        return "sent the receipt"

    each = Each("tally", {"stripe.add": silent, "stripe.look": saying})
    await Batches(pool, each).apply([record(event("add", "e1")), record(event("look", "e2"))])
    assert await rows(db, "select event, reason from tally.audit") == [("e2", "sent the receipt")]
    assert await rows(db, PROCESSED) == [("e1", "applied"), ("e2", "applied")]
