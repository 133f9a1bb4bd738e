"""The rules, as a table."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

from newcomer.domain import Customer, paid

JUNE, JULY, AUGUST = (datetime(2026, month, 1, tzinfo=UTC) for month in (6, 7, 8))


def test_payments_in_any_order_come_to_the_same() -> None:
    payments = [("in_1", JUNE), ("in_2", JULY), ("in_3", AUGUST)]
    for order in itertools.permutations(payments):
        customer: Customer | None = None
        for invoice, at in order:
            customer = paid(customer, invoice, at)
        assert customer == Customer(3, "in_3", AUGUST)
