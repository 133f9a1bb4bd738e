"""The consumer on a real PostgreSQL, in a database of the test's own; only Kafka is replaced."""

from __future__ import annotations

from millrace.testing import Harness, stripe_event
from millrace.testing.fixtures import Migrated

from newcomer.handlers import each
from newcomer.store import SCHEMA


async def test_it_dies_at_every_await_and_plans_each_letter_once(migrated: Migrated) -> None:
    pool = await migrated(SCHEMA)
    harness = Harness(each(), pool=pool)
    for id in ("cus_1", "cus_2"):
        harness.bus.send(stripe_event("customer.created", {"id": id, "created": 1_782_864_000}))
    assert await harness.crash_everywhere() > 3
    assert await pool.fetchval("select count(*) from newcomer.letter") == 2
