"""The consumer on a real PostgreSQL, in a database of the test's own; only Kafka is replaced."""

from __future__ import annotations

from millrace.testing import Harness, stripe_event
from millrace.testing.fixtures import Migrated

from newcomer.fold import fold
from newcomer.store import SCHEMA


async def test_it_dies_at_every_await_and_counts_each_invoice_once(migrated: Migrated) -> None:
    pool = await migrated(SCHEMA)
    harness = Harness(fold(), pool=pool)
    for id in ("in_1", "in_2"):
        harness.bus.send(stripe_event("invoice.paid", {"id": id, "customer": "cus_1", "amount_paid": 4900}))
    assert await harness.crash_everywhere() > 3
    assert await pool.fetchval("select invoices_paid from newcomer.customer") == 2
