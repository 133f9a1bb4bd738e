"""Small moves that several actions share: one object changes, and its update is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lab.stripe.agenda import ENDED
from lab.stripe.model import Cancellation, Customer, Invoice, InvoiceItem, Line, Refused, Subscription
from lab.stripe.world import Step


def alive(step: Step, id_: str) -> Subscription:
    sub = step.get(Subscription, id_)
    if sub.status in ENDED:
        raise Refused(f"the subscription has ended: {sub.status}")
    return sub


def change_subscription(step: Step, id_: str, *, later: int = 0, **changes: Any) -> Subscription:
    before = step.look(id_)
    changed = replace(step.get(Subscription, id_), **changes)
    step.save(changed)
    step.updated("customer.subscription.updated", before, later=later)
    return changed


def change_invoice(step: Step, id_: str, **changes: Any) -> Invoice:
    before = step.look(id_)
    changed = replace(step.get(Invoice, id_), **changes)
    step.save(changed)
    step.updated("invoice.updated", before)
    return changed


def change_customer(step: Step, id_: str, **changes: Any) -> None:
    before = step.look(id_)
    step.save(replace(step.get(Customer, id_), **changes))
    step.updated("customer.updated", before)


def end_subscription(step: Step, id_: str, reason: str | None) -> None:
    """Cancel for good: pending prorations go, and Stripe stops collecting what is open."""
    sub = step.get(Subscription, id_)
    why = replace(sub.cancellation, reason=sub.cancellation.reason or reason)
    step.save(
        replace(
            sub,
            status="canceled",
            ended_at=step.at,
            canceled_at=sub.canceled_at or step.at,
            cancellation=why,
            pause_collection=None,
            pause_resumes_at=None,
        )
    )
    step.tell("customer.subscription.deleted", id_)
    for pending in pending_items(step, id_):
        _delete_pending(step, pending)
    for invoice in step.of(Invoice, id_):
        if invoice.status in ("draft", "open"):
            change_invoice(step, invoice.id, auto_advance=False, next_payment_attempt=None, finalizes_at=None)


def pause_subscription(step: Step, id_: str, why: str) -> None:
    change_subscription(step, id_, status="paused", paused_at=step.at, paused_why=why)
    step.tell("customer.subscription.paused", id_)


def expire_subscription(step: Step, id_: str) -> None:
    """The first payment will never come."""
    change_subscription(step, id_, status="incomplete_expired", ended_at=step.at)


def pending_items(step: Step, subscription: str) -> list[InvoiceItem]:
    return [item for item in step.of(InvoiceItem, subscription) if item.invoice is None]


def take_pending(step: Step, sub: Subscription) -> list[Line]:
    return [item.line for item in pending_items(step, sub.id)]


def bind_pending(step: Step, sub: Subscription, invoice: str) -> None:
    for item in pending_items(step, sub.id):
        step.save(replace(item, invoice=invoice))


def _delete_pending(step: Step, pending: InvoiceItem) -> None:
    step.tell("invoiceitem.deleted", pending.id)
    step.remove(pending)


NOT_CANCELED = Cancellation()
