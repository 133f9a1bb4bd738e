"""The consumer as it runs, in memory: no Kafka, no PostgreSQL, milliseconds."""

from __future__ import annotations

from typing import Any

from millrace.events import Event
from millrace.testing import Harness, permutations, stripe_event

from newcomer.fold import fold


def invoice_paid(id: str, **fields: Any) -> Event:
    body = {"id": id, "customer": "cus_1", "amount_paid": 4900, "currency": "eur", **fields}
    return stripe_event("invoice.paid", body, id=f"evt_{id}")


async def test_an_event_that_comes_twice_counts_once() -> None:
    harness = Harness(fold())
    await harness.run(invoice_paid("in_1"), invoice_paid("in_1"), invoice_paid("in_2"))
    assert harness.states["acct_test/cus_1"].invoices_paid == 2
    await harness.redeliver()
    assert harness.states["acct_test/cus_1"].invoices_paid == 2


async def test_an_invoice_over_nothing_is_no_payment() -> None:
    harness = Harness(fold())
    await harness.run(invoice_paid("in_1", amount_paid=0))
    assert harness.outcomes == {"evt_in_1": "noop"}
    assert harness.reasons == {"evt_in_1": "an invoice over nothing is no payment"}


async def test_an_invoice_without_its_amount_is_parked_and_holds_nobody() -> None:
    harness = Harness(fold())
    await harness.run(invoice_paid("in_1", amount_paid=None), invoice_paid("in_2"))
    assert harness.outcomes == {"evt_in_1": "parked poison", "evt_in_2": "applied"}


async def test_every_order_of_arrival_ends_alike() -> None:
    await permutations([invoice_paid(f"in_{n}") for n in range(4)], lambda: Harness(fold()))
