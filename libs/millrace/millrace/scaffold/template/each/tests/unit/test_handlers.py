"""The handlers as they run, in memory: no Kafka, no PostgreSQL, milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime

from millrace.testing import Harness, stripe_event

from newcomer.handlers import each
from newcomer.store import DROP_LETTER, PLAN_LETTER

JULY = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
CREATED = stripe_event("customer.created", {"id": "cus_1", "created": JULY}, id="evt_1")
DELETED = stripe_event("customer.deleted", {"id": "cus_1"}, id="evt_2")
UNDATED = stripe_event("customer.created", {"id": "cus_1"}, id="evt_0")


class Written:
    """Notes what the handlers write; what the statements do is for the integration test."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []

    async def execute(self, statement: str, *values: object) -> None:
        self.rows.append((statement, *values))


async def test_an_event_that_comes_twice_is_handled_once() -> None:
    written = Written()
    harness = Harness(each(), tx=written)
    await harness.run(CREATED, CREATED)
    await harness.redeliver()
    assert written.rows == [(PLAN_LETTER, "acct_test", "cus_1", date(2026, 7, 6))]
    assert harness.reasons == {"evt_1": "a first letter on 2026-07-06"}


async def test_whoever_leaves_gets_no_letter() -> None:
    written = Written()
    await Harness(each(), tx=written).run(CREATED, DELETED)
    assert [statement for statement, *_ in written.rows] == [PLAN_LETTER, DROP_LETTER]


async def test_an_event_without_its_time_is_parked_and_later_ones_of_its_customer_wait() -> None:
    harness = Harness(each(), tx=Written())
    await harness.run(UNDATED, DELETED)
    assert harness.outcomes == {"evt_0": "parked poison", "evt_2": "parked behind"}
