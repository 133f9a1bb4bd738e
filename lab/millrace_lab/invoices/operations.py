"""What the invoices' room offers, does when time comes, and reacts to: its entries in the composition."""

from __future__ import annotations

from collections.abc import Callable

from millrace_lab.account import Reaction, Step
from millrace_lab.errors import Body
from millrace_lab.invoices import (
    closing,
    collection,
    credit_notes,
    drafts,
    editing,
    invoice_payments,
    invoiceitems,
    invoices,
    settling,
)
from millrace_lab.operations import DueAction, Operation

OPERATIONS: tuple[Operation, ...] = (
    *drafts.OPERATIONS,
    *invoices.OPERATIONS,
    *editing.OPERATIONS,
    *invoiceitems.OPERATIONS,
    *invoice_payments.OPERATIONS,
    *credit_notes.OPERATIONS,
)
DUE: dict[str, DueAction] = {
    "invoice.finalize": collection.finalize_due,
    "invoice.retry": collection.retry,
    "invoice.overdue": collection.overdue,
    "invoice.will_be_due": collection.will_be_due,
}
REACTIONS: dict[str, tuple[Reaction, ...]] = {
    "payment_intent.succeeded": (settling.intent_succeeded,),
    "payment_intent.payment_failed": (settling.intent_failed,),
    "payment_intent.requires_action": (settling.intent_failed,),
    "payment_intent.processing": (settling.intent_processing,),
    "payment_intent.canceled": (settling.intent_canceled,),
    "customer.deleted": (closing.customer_deleted,),
}
INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Body | None]] = {
    ("invoice", "payments"): invoice_payments.included,
    ("invoice", "confirmation_secret"): invoice_payments.confirmation_secret,
}
