"""Reading Stripe's bodies, whatever API version rendered them.

A body is read through the functions here and nowhere else: each canonical field is one total function with
its fallbacks from the newest shape to the oldest. Every body keeps its own `api_version`; nothing is upgraded.

Source: docs.stripe.com/changelog (basil 2025-03-31, clover 2025-09-30, dahlia 2026-03-25, endive 2026-09-30).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from millrace.errors import Poison
from millrace.events import Event

Object = Mapping[str, Any]


def object_of(event: Event) -> Object:
    """The object the event is about, as it was at that moment. Raises Poison."""
    data = event.data.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise Poison("data.object is missing or not an object")
    return found


def previous_of(event: Event) -> Object:
    """The old values of what changed; empty for types that carry none."""
    data = event.data.get("data")
    found = data.get("previous_attributes") if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def at(seconds: int) -> datetime:
    """Stripe's seconds since 1970 as an instant in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def text(obj: Object, path: str) -> str:
    """The string at a dotted path. Raises Poison, naming the path."""
    found = dig(obj, path)
    if not isinstance(found, str) or not found:
        raise Poison(f"{obj.get('object', 'object')}.{path} is missing or not a string")
    return found


def whole(obj: Object, path: str) -> int:
    """The integer at a dotted path: an amount in minor units, a time in seconds. Raises Poison."""
    found = dig(obj, path)
    if type(found) is not int:
        raise Poison(f"{obj.get('object', 'object')}.{path} is missing or not a whole number")
    return found


def dig(obj: Any, path: str) -> Any:
    """Whatever stands at a dotted path, or None when the way there ends."""
    for name in path.split("."):
        if not isinstance(obj, (dict, Mapping)):  # an event's data is a mapping of its own
            return None
        obj = obj.get(name)
    return obj


def id_of(found: Any) -> str | None:
    """The id of a reference, which Stripe writes as a string or, expanded, as the object itself."""
    if isinstance(found, dict):
        found = found.get("id")
    return found if isinstance(found, str) and found else None


def listed(obj: Object, name: str) -> list[Object]:
    """The elements of a list, be it Stripe's list object or a plain array. Raises Poison when it is cut short."""
    found = obj.get(name)
    if isinstance(found, dict):
        if found.get("has_more"):
            raise Poison(f"{obj.get('object', 'object')}.{name} is cut short: has_more is true")
        found = found.get("data")
    return [element for element in found if isinstance(element, dict)] if isinstance(found, list) else []


def customer_of(obj: Object) -> str | None:
    """The customer an object belongs to; a customer belongs to itself."""
    if obj.get("object") == "customer":
        return id_of(obj)
    return id_of(obj.get("customer")) or id_of(obj.get("customer_account"))


def subscription_of_invoice(invoice: Object) -> str | None:
    """The subscription an invoice bills. Since basil it is below `parent`; null for one-off invoices."""
    found = id_of(dig(invoice, "parent.subscription_details.subscription")) or id_of(
        invoice.get("subscription")
    )
    return found or next(subscriptions_of_lines(invoice), None)


def subscriptions_of_lines(invoice: Object) -> Iterator[str]:
    """The subscriptions that the lines of an invoice name, as far as its lines are shown."""
    for line in listed({**invoice, "lines": _loose(invoice.get("lines"))}, "lines"):
        for path in (
            "parent.subscription_item_details.subscription",
            "parent.invoice_item_details.subscription",
            "subscription",
        ):
            if found := id_of(dig(line, path)):
                yield found


def _loose(lines: Any) -> Any:
    """The lines of a list that may be cut short: enough to find one name in."""
    return lines.get("data") if isinstance(lines, dict) else lines


def invoice_of_payment(payment: Object) -> str | None:
    """The invoice a payment intent or charge pays.

    Before basil it is `invoice`; since then only `payment_details.order_reference` names it, on every
    succeeded or failed invoice payment recorded so far, but by no documented contract.
    """
    if found := id_of(payment.get("invoice")):
        return found
    reference = dig(payment, "payment_details.order_reference")
    return reference if isinstance(reference, str) and reference.startswith("in_") else None


def item_period(item: Object, subscription: Object) -> tuple[int, int] | None:
    """Start and end of an item's current period in seconds: on the item, before basil on the subscription."""
    for holder in (item, subscription):
        start, end = holder.get("current_period_start"), holder.get("current_period_end")
        if type(start) is int and type(end) is int:
            return start, end
    return None


def cancels_at(subscription: Object) -> int | None:
    """When a subscription is going to end, in seconds; None when nobody asked for it.

    Flexible billing sets only `cancel_at`, classic sets `cancel_at_period_end` with it.
    """
    found = subscription.get("cancel_at")
    if type(found) is int:
        return found
    if not subscription.get("cancel_at_period_end"):
        return None
    ends = [
        period[1] for item in listed(subscription, "items") if (period := item_period(item, subscription))
    ]
    return max(ends, default=None)


def sold_on_invoice(invoice: Object) -> frozenset[str]:
    """The ids of the prices and products on an invoice's lines, and their lookup keys where they are told.

    Since basil a line names them below `pricing.price_details`; before, `price` (or `plan`) was the object.
    A list that is cut short answers with what it shows.
    """
    found: set[str | None] = set()
    for line in listed({"lines": _loose(invoice.get("lines"))}, "lines"):
        for path in ("pricing.price_details.price", "price", "plan"):
            price = dig(line, path)
            found |= {id_of(price), id_of(dig(price, "lookup_key")), id_of(dig(price, "product"))}
        found.add(id_of(dig(line, "pricing.price_details.product")))
    return frozenset(name for name in found if name)


def transition(obj: Object, name: str) -> int | None:
    """When an object made a transition, in seconds: `paid_at`, `voided_at` and the like, wherever they stand."""
    found = dig(obj, f"status_transitions.{name}")
    found = obj.get(name) if found is None else found
    return found if type(found) is int else None


def taxes_of(obj: Object) -> list[tuple[int, bool]]:
    """(amount, inclusive) of each tax of an invoice, credit note or one of their lines.

    Since basil `total_taxes` and a line's `taxes`; before it `total_tax_amounts`, `tax_amounts`, and at first
    only `tax`. An inclusive tax is part of the amounts it stands beside.
    """
    for name in ("total_taxes", "taxes", "total_tax_amounts", "tax_amounts"):
        if isinstance(obj.get(name), list):
            return [
                (whole(tax, "amount"), tax.get("tax_behavior") == "inclusive" or tax.get("inclusive") is True)
                for tax in listed(obj, name)
            ]
    return [(whole(obj, "tax"), False)] if obj.get("tax") is not None else []


def discounts_of(line: Object) -> int:
    """What discounts take off a line, as Stripe split them; never recomputed."""
    return sum(whole(part, "amount") for part in listed(line, "discount_amounts"))


def credits_of(line: Object) -> int:
    """What prepaid credits take off a line before tax. Discounts, listed there again, are not counted twice."""
    return sum(
        whole(part, "amount")
        for part in listed(line, "pretax_credit_amounts")
        if part.get("type") == "credit_balance_transaction"
    )


def subscription_item_of_line(line: Object) -> str | None:
    """The subscription item that an invoice line bills."""
    for path in (
        "parent.subscription_item_details.subscription_item",
        "parent.invoice_item_details.subscription_item",
        "subscription_item",
    ):
        if found := id_of(dig(line, path)):
            return found
    return None


def paying_object(payment: Object) -> str | None:
    """What paid: the payment intent where there is one, else the charge or the record of an outside payment.

    Reads an invoice payment's `payment`, a charge, or an invoice from before basil, so that both sides of one
    payment give the same answer.
    """
    holder = payment.get("payment") if isinstance(payment.get("payment"), dict) else payment
    for name in ("payment_intent", "charge", "payment_record"):
        if found := id_of(dig(holder, name)):
            return found
    return id_of(payment) if payment.get("object") == "charge" else None
