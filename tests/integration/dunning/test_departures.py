"""A customer who is deleted at Stripe: no case of theirs stays open, whichever event came first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dunning import commands
from dunning.fold import fold
from dunning.jobs import Timers
from millrace import postgres, topics
from millrace.clock import FrozenClock
from millrace.consumer import Batches
from millrace.events import Event
from millrace.events.ours import DunningChanged
from millrace.postgres import Pool
from tests.integration.dunning.way_out import owner_fetch, sent
from tests.support.database import Database
from tests.support.events import record
from tests.unit.dunning.runner import POLICIES
from tests.unit.dunning.told import customer_deleted, day, told

ORDERS = {
    "the failure, then the departure": [told("failed 1", 0), customer_deleted(2)],
    "the departure, then the failure": [customer_deleted(2), told("failed 1", 0)],
    "the decline, the departure, the failure": [
        told("declined lost_card", 0), customer_deleted(2), told("failed 1", 0),
    ],
}  # fmt: skip


FORGET = (
    'truncate dunning."case", dunning.timer, dunning.departed, dunning.processed_events, dunning.parked_event'
)


async def _quiet(pool: Pool, db: Database, batches: Sequence[Sequence[Event]]) -> list[tuple[str, str, str]]:
    """Everything applied, and every timer fired that is due on the day of the departure."""
    consumer = Batches(pool, fold(lambda: POLICIES))
    for batch in batches:
        await consumer.apply([record(event) for event in batch])
    await Timers(pool, FrozenClock(day(2)), every_seconds=1).fire()
    await consumer.apply([record(event) for event in await sent(db, topics.DUNNING_TIMERS)])
    async with postgres.transaction(pool) as connection:
        found = await commands.cases(connection, open_only=False)
    return [(case["invoice"], case["stage"], case["access"]) for case in found]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in a batch each"])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_no_case_of_a_customer_who_is_gone_stays_open(
    order: list[Event], together: bool, pool: Pool, db: Database
) -> None:
    batches = [order] if together else [[event] for event in order]
    assert await _quiet(pool, db, batches) == [("in_1", "closed", "given")]
    last = DunningChanged.of((await sent(db, topics.DUNNING_CHANGED))[-1])
    assert (last.stage, last.reason) == ("closed", "the customer was deleted")


async def test_every_open_case_is_closed_and_no_other(pool: Pool, db: Database) -> None:
    events = [told("failed 1", 0, invoice=f"in_{n}") for n in (1, 2, 3)]
    events += [told("paid 1", 1, invoice="in_2"), customer_deleted(2)]
    assert await _quiet(pool, db, [events]) == [
        ("in_1", "closed", "given"),
        ("in_2", "recovered", "given"),
        ("in_3", "closed", "given"),
    ]
    assert len(await sent(db, topics.DUNNING_TIMERS)) == 2


async def test_somebody_elses_cases_stay_open(pool: Pool, db: Database) -> None:
    other = told("failed 1", 0)
    other.data["data"]["object"]["customer"] = "cus_2"
    assert await _quiet(pool, db, [[other, customer_deleted(2)]]) == [("in_1", "grace", "given")]


async def test_a_payment_that_is_told_later_still_recovers(pool: Pool, db: Database) -> None:
    await _quiet(pool, db, [[told("failed 1", 0), customer_deleted(2)]])
    assert await _quiet(pool, db, [[told("paid 1", 1)]]) == [("in_1", "recovered", "given")]


LIVES = {
    "a deadline that moves": [told("failed 1", 0), told("declined lost_card", 0), told("paid 1", 1)],
    "a case that opens and ends after the departure": [customer_deleted(2), told("failed 1", 0), told("paid 1", 1)],
    "a case that ends before the departure": [told("failed 1", 0), told("paid 1", 1), customer_deleted(2)],
    "two cases around the departure": [
        told("failed 1", 0), customer_deleted(2), told("failed 1", 1, invoice="in_2"),
        told("failed 2", 3), told("paid 1", 4, invoice="in_2"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
async def test_which_timers_are_set_does_not_depend_on_where_batches_are_cut(
    life: list[Event], pool: Pool, db: Database
) -> None:
    """A rebuild cuts them otherwise, and has to end with the same timers, set by the same events."""
    traced = [replace(event, trace=f"00-{n:032x}-{n:016x}-01") for n, event in enumerate(life, 1)]
    ends = set()
    for size in range(1, len(life) + 1):
        await owner_fetch(db, FORGET)
        consumer = Batches(pool, fold(lambda: POLICIES))
        for start in range(0, len(life), size):
            await consumer.apply([record(event) for event in traced[start : start + size]])
        rows = await owner_fetch(
            db, "select account, invoice, timer, customer, due_at, trace from dunning.timer"
        )
        ends.add(tuple(sorted(tuple(row) for row in rows)))
    [end] = ends
    assert end
