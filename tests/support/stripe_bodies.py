"""Check a body against what stripe-python knows of its type: no unknown key, none missing, known words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args, get_origin

import stripe

KINDS: dict[str, type] = {
    "balance": stripe.Balance,
    "balance_transaction": stripe.BalanceTransaction,
    "charge": stripe.Charge,
    "coupon": stripe.Coupon,
    "credit_note": stripe.CreditNote,
    "credit_note_line_item": stripe.CreditNoteLineItem,
    "customer": stripe.Customer,
    "discount": stripe.Discount,
    "event": stripe.Event,
    "invoice": stripe.Invoice,
    "invoice_payment": stripe.InvoicePayment,
    "invoiceitem": stripe.InvoiceItem,
    "line_item": stripe.InvoiceLineItem,
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "plan": stripe.Plan,
    "price": stripe.Price,
    "product": stripe.Product,
    "refund": stripe.Refund,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "tax_rate": stripe.TaxRate,
}
# Sent by Stripe although the library no longer names them.
UNNAMED = {
    "subscription": {"plan", "quantity"},
    "charge": {"source"},
}


def complaints(body: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a whole body, by path; nothing if it could have come from Stripe."""
    yield from _object(body, KINDS[body["object"]], body["object"])


def _object(body: dict[str, Any], kind: type, path: str) -> Iterator[str]:
    known = _fields(kind)
    for name in body.keys() - known.keys() - UNNAMED.get(body.get("object", ""), set()):
        yield f"{path}.{name}: not a field of {kind.__qualname__}"
    for name, hint in known.items():
        if name not in body:
            if not _nullable(hint):
                yield f"{path}.{name}: missing"
        else:
            yield from _value(body[name], hint, _inner(kind, name), f"{path}.{name}")


def _inner(kind: type, name: str) -> type | None:
    inner: dict[str, type] = getattr(kind, "_inner_class_types", {})
    return inner.get(name)


def _value(value: Any, hint: object, inner: type | None, path: str) -> Iterator[str]:
    if value is None:
        if not _nullable(hint):
            yield f"{path}: null, but {hint}"
    elif isinstance(value, dict):
        yield from _nested(value, inner, path)
    elif isinstance(value, list):
        for item in value:
            yield from _value(item, Any, inner, f"{path}[]")
    elif (words := _words(hint)) and value not in words:
        yield f"{path}: {value!r} is not one of Stripe's words"


def _nested(value: dict[str, Any], inner: type | None, path: str) -> Iterator[str]:
    if value.get("object") == "list":
        for item in value["data"]:
            yield from _nested(item, None, f"{path}.data[]")
    elif value.get("object") in KINDS:
        yield from _object(value, KINDS[value["object"]], path)
    elif inner is not None:
        yield from _object(value, inner, path)


@cache
def _fields(kind: type) -> dict[str, object]:
    hints = kind.__annotations__.items()
    return {name: hint for name, hint in hints if not name.startswith("_") and name != "OBJECT_NAME"}


@cache
def _nullable(hint: object) -> bool:
    return "None" in str(hint) or "Optional" in str(hint)


@cache
def _words(hint: object) -> frozenset[object]:
    """The words of every Literal inside a hint."""
    if get_origin(hint) is Literal:
        return frozenset(get_args(hint))
    return frozenset(word for part in get_args(hint) for word in _words(part))
