"""How an object looks in API version 2026-10-28.endive, and what an event says around it.

Source: the typed resources of stripe-python 16.1.0 and the recorded bodies behind facts/stripe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab.stripe import (
    render_catalog,
    render_credit_notes,
    render_invoices,
    render_payments,
    render_subscriptions,
)
from lab.stripe.model import (
    BalanceTransaction,
    Card,
    Charge,
    CreditNote,
    Customer,
    Invoice,
    InvoiceItem,
    InvoicePayment,
    Object,
    PaymentIntent,
    Price,
    Product,
    Refund,
    Subscription,
    TaxRate,
)

API_VERSION = "2026-10-28.endive"
Body = dict[str, Any]
Objects = Mapping[str, Object]

RENDER: dict[type, Callable[[Any, Objects], Body]] = {
    Product: render_catalog.product,
    Price: render_catalog.price,
    TaxRate: render_catalog.tax_rate,
    Customer: render_catalog.customer,
    Card: render_catalog.payment_method,
    Subscription: render_subscriptions.subscription,
    Invoice: render_invoices.invoice,
    InvoiceItem: render_invoices.invoice_item,
    InvoicePayment: render_invoices.invoice_payment,
    CreditNote: render_credit_notes.credit_note,
    PaymentIntent: render_payments.payment_intent,
    Charge: render_payments.charge,
    Refund: render_payments.refund,
    BalanceTransaction: render_payments.balance_transaction,
}
EXPANDABLE = ("balance_transaction", "failure_balance_transaction")


def body(objects: Objects, id_: str, expand_balance_transactions: bool = False) -> Body:
    """One object as Stripe would send it."""
    thing = objects[id_]
    rendered = RENDER[type(thing)](thing, objects)
    if expand_balance_transactions:
        for name in EXPANDABLE:
            if rendered.get(name) is not None:
                rendered[name] = body(objects, rendered[name])
    return rendered


def envelope(
    id_: str, type_: str, created: int, object_: Body, previous: Body | None, request: Body
) -> dict[str, Any]:
    data: Body = {"object": object_}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": id_,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": request,
        "type": type_,
    }


def changed_from(before: Body, after: Body) -> Body:
    """Stripe's `previous_attributes`: old values of changed keys; of a changed array, the whole array."""
    changed: Body = {}
    for key, old in before.items():
        new = after[key]
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
            inner = changed_from(old, new)
            if inner:
                changed[key] = inner
        elif old != new:
            changed[key] = old
    return changed


def before_change(after: Body, previous: Body) -> Body:
    """The snapshot before an update, from the snapshot after it and its `previous_attributes`."""
    restored = dict(after)
    for key, old in previous.items():
        new = after.get(key)
        nested = isinstance(old, dict) and isinstance(new, dict) and old.keys() <= new.keys()
        restored[key] = before_change(new, old) if nested and isinstance(new, dict) else old
    return restored
