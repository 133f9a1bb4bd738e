"""Invoice numbers: the customer's prefix and the next number of its own.

Source: docs.stripe.com/invoicing/customize.
"""

from __future__ import annotations

from millrace_lab.account import Step

SHORTEST = 4  # digits


def next_number(step: Step, customer_id: str) -> str:
    """The number of the customer's next invoice, taken: no other will have it. Nothing is told."""
    customer = step.get("customer", customer_id)
    sequence = customer["next_invoice_sequence"]
    step.change(customer_id, next_invoice_sequence=sequence + 1)
    return f"{customer['invoice_prefix']}-{sequence:0{SHORTEST}d}"
