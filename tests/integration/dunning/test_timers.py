"""Timers: one event each, at their time by the clock, whoever looks and whoever crashes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest

from dunning import commands, store
from dunning.fold import fold
from dunning.jobs import Timers
from millrace import outbox, postgres, topics
from millrace.clock import FrozenClock
from millrace.consumer import Batches
from millrace.events.ours import DunningChanged
from millrace.postgres import Pool
from tests.integration.dunning.conftest import MakePool
from tests.integration.dunning.way_out import first_sent, owner_fetch, sent
from tests.support.database import Database
from tests.support.events import record
from tests.unit.dunning.runner import POLICIES
from tests.unit.dunning.told import day, told

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def _fail(pool: Pool, invoices: int = 1, at: float = 0) -> None:
    batches = Batches(pool, fold(lambda: POLICIES))
    await batches.apply([record(told("failed 1", at, invoice=f"in_{n}")) for n in range(1, invoices + 1)])


async def _overdue(pool: Pool, now: datetime) -> list[str]:
    async with postgres.transaction(pool) as connection:
        return [row["invoice"] for row in await commands.overdue_timers(connection, now)]


def _timers(pool: Pool, now: datetime) -> Timers:
    return Timers(pool, FrozenClock(now), every_seconds=0.01)


async def test_a_timer_fires_when_the_clock_reaches_its_deadline_and_not_before(
    pool: Pool, db: Database
) -> None:
    await _fail(pool)
    clock = FrozenClock(day(7) - timedelta(microseconds=1))
    timers = Timers(pool, clock, every_seconds=0.01)
    assert await timers.fire() == 0
    assert await _overdue(pool, clock.now()) == []
    clock.at = day(7)
    assert await _overdue(pool, clock.now()) == ["in_1"]
    assert await timers.fire() == 1
    assert await timers.fire() == 0
    assert await _overdue(pool, clock.now()) == []
    assert len(await sent(db, topics.DUNNING_TIMERS)) == 1


async def test_the_event_tells_the_deadline_and_not_the_moment_of_firing(pool: Pool, db: Database) -> None:
    await _fail(pool)
    await _timers(pool, day(50)).fire()
    [event] = await sent(db, topics.DUNNING_TIMERS)
    assert event.time == day(7)
    assert event.id == "dunning.timer.in_1.grace.20260308T000000Z"
    assert (event.type, event.key, event.source) == (
        "millrace.dunning.timer.due",
        "acct_test/cus_1",
        "millrace/dunning",
    )


async def test_firing_writes_an_event_and_nothing_else(pool: Pool, db: Database) -> None:
    await _fail(pool)
    async with postgres.transaction(pool) as connection:
        before = await commands.digest(connection)
        await _timers(pool, day(7)).fire()
        assert await commands.digest(connection) == before
        [case] = await commands.cases(connection)
    assert case["stage"] == "grace"


async def test_the_event_restricts_when_it_comes_back(pool: Pool, db: Database) -> None:
    await _fail(pool)
    await _timers(pool, day(7)).fire()
    batches = Batches(pool, fold(lambda: POLICIES))
    await batches.apply([record(event) for event in await sent(db, topics.DUNNING_TIMERS)])
    announced = [DunningChanged.of(event) for event in await sent(db, topics.DUNNING_CHANGED)]
    assert [(a.stage, a.access) for a in announced] == [("grace", "given"), ("restricted", "restricted")]


async def test_a_timer_that_comes_due_after_recovery_changes_nothing(pool: Pool, db: Database) -> None:
    await _fail(pool)
    batches = Batches(pool, fold(lambda: POLICIES))
    await batches.apply([record(told("paid 1", 5))])
    await _timers(pool, day(7)).fire()
    report = await batches.apply([record(event) for event in await sent(db, topics.DUNNING_TIMERS)])
    assert (report.applied, report.noop) == (0, 1)
    rows = await owner_fetch(
        db, "select reason from dunning.processed_events where topic = 'test' and outcome = 'noop'"
    )
    assert [row["reason"] for row in rows] == ["the case has already ended: recovered"]


async def test_two_claimers_never_fire_one_twice_and_never_wait_for_each_other(
    new_pool: MakePool, db: Database
) -> None:
    """While one holds its claim open, the other takes the rest at once."""
    ours, theirs = await new_pool(), await new_pool()
    await _fail(ours, invoices=6)
    async with postgres.transaction(ours) as first, asyncio.timeout(5):
        held = await store.claim_due(first, day(8), 4)
        async with postgres.transaction(theirs) as second:
            rest = await store.claim_due(second, day(8), 4)
    assert (len(held), len(rest)) == (4, 2)
    assert {due.invoice for due in held} | {due.invoice for due in rest} == {f"in_{n}" for n in range(1, 7)}


async def test_many_claimers_at_once_write_each_event_once(new_pool: MakePool, db: Database) -> None:
    pools = [await new_pool() for _ in range(3)]
    await _fail(pools[0], invoices=60)
    fired = await asyncio.gather(*(_timers(pool, day(8)).fire() for pool in pools for _ in range(4)))
    assert sum(fired) == 60
    events = await sent(db, topics.DUNNING_TIMERS)
    assert len(events) == len({event.id for event in events}) == 60


class Crash(Exception):
    """The process dies here."""


async def test_a_crash_between_claim_and_commit_fires_once(
    pool: Pool, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fail(pool)
    publish = outbox.publish

    async def written_and_then_dead(*args: object) -> None:
        await publish(*args)  # type: ignore[arg-type]  # passed through as given
        raise Crash

    monkeypatch.setattr(outbox, "publish", written_and_then_dead)
    with pytest.raises(Crash):
        await _timers(pool, day(7)).fire()
    monkeypatch.undo()
    assert await sent(db, topics.DUNNING_TIMERS) == []
    assert await _timers(pool, day(7)).fire() == 1
    assert await _timers(pool, day(7)).fire() == 0
    assert len(await sent(db, topics.DUNNING_TIMERS)) == 1


async def test_a_deadline_that_moves_has_a_timer_of_its_own(pool: Pool, db: Database) -> None:
    await _fail(pool)
    batches = Batches(pool, fold(lambda: POLICIES))
    await batches.apply([record(told("declined lost_card", 1))])
    assert await _timers(pool, day(3)).fire() == 1
    await batches.apply([record(event) for event in await sent(db, topics.DUNNING_TIMERS)])
    async with postgres.transaction(pool) as connection:
        [case] = await commands.cases(connection)
    assert (case["stage"], case["decline_code"]) == ("restricted", "lost_card")


async def test_the_trace_of_the_failure_goes_on_in_its_timer(pool: Pool, db: Database) -> None:
    failure = told("failed 1", 0)
    object.__setattr__(failure, "trace", TRACE)
    await Batches(pool, fold(lambda: POLICIES)).apply([record(failure)])
    await _timers(pool, day(7)).fire()
    [event] = await sent(db, topics.DUNNING_TIMERS)
    assert event.trace.split("-")[1] == TRACE.split("-")[1]
    assert event.trace != TRACE


async def test_the_part_fires_while_it_runs_and_stops_when_asked(pool: Pool, db: Database) -> None:
    await _fail(pool)
    clock, stop = FrozenClock(day(1)), asyncio.Event()
    timers = Timers(pool, clock, every_seconds=0.01)
    running = asyncio.create_task(timers.run(stop))
    clock.at = day(7)
    async with asyncio.timeout(10):
        await first_sent(db, topics.DUNNING_TIMERS)
        assert timers.ready() == ""
        stop.set()
        await running


async def test_a_database_that_is_away_is_asked_again(
    pool: Pool, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _fail(pool)
    claim, refusals = store.claim_due, iter([asyncpg.CannotConnectNowError("starting"), OSError("gone")])

    async def sometimes(tx: postgres.Transaction, now: datetime, limit: int) -> list[store.Due]:
        for problem in refusals:
            raise problem
        return await claim(tx, now, limit)

    monkeypatch.setattr(store, "claim_due", sometimes)
    stop = asyncio.Event()
    running = asyncio.create_task(_timers(pool, day(7)).run(stop))
    async with asyncio.timeout(10):
        await first_sent(db, topics.DUNNING_TIMERS)
        stop.set()
        await running
