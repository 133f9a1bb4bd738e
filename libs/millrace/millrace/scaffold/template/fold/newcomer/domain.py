"""What a customer has paid: how many invoices, and which was the last.

Nothing here awaits, reads a clock or draws a random number: time arrives with the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Customer:
    """What the paid invoices of one customer come to."""

    invoices_paid: int
    last_invoice: str
    last_paid_at: datetime  # the latest that Stripe told; late news never lowers it


def paid(customer: Customer | None, invoice: str, at: datetime) -> Customer:
    """The customer after one more invoice."""
    if customer is None:
        return Customer(1, invoice, at)
    last = max((at, invoice), (customer.last_paid_at, customer.last_invoice))
    return Customer(customer.invoices_paid + 1, last[1], last[0])
