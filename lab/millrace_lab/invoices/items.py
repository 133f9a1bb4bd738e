"""Invoice items: what waits to be billed on the next invoice of a customer or of a subscription.

Source: docs.stripe.com/api/invoiceitems, docs.stripe.com/billing/invoices/subscription.
"""

from __future__ import annotations

from fractions import Fraction

from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.invoices import lines
from millrace_lab.invoices.lines import Line


def add(
    step: Step, customer: str, line: Line, subscription: Body | None = None, *, invoice: str | None = None
) -> Body:
    """A waiting item, told. `invoice` is the draft that it was made for, if any."""
    id_ = subscription["id"] if subscription else line.subscription
    item = step.add(
        {
            "id": step.new_id("ii"),
            "object": "invoiceitem",
            **fields(line),
            "customer": customer,
            "customer_account": None,
            "date": step.now,
            "frozen_fields": [],
            "invoice": invoice,
            "livemode": step.account.livemode,
            "parent": _parent(id_, line),
            "proration": line.proration,
            **_proration_details(line),
            "test_clock": step.get("customer", customer).get("test_clock"),
            "_subscription": id_,
        },
        customer,
        id_,
        invoice,
    )
    step.tell("invoiceitem.created", item)
    return item


def fields(line: Line) -> Body:
    """What of an item follows from its line and can be changed while it waits."""
    return {
        "amount": line.amount,
        "currency": line.currency,
        "description": line.description,
        "discountable": line.discountable,
        "discounts": list(line.discounts),
        "metadata": line.metadata,
        "net_amount": line.amount,
        "period": {"end": line.period[1], "start": line.period[0]},
        "pricing": lines.pricing(line.price, line.unit_amount_decimal),
        "quantity": int(line.quantity or 0),
        "quantity_decimal": lines.decimal(line.quantity or 0),
        "tax_rates": list(line.tax_rates),
        "_price": line.price,
    }


def _parent(subscription: str | None, line: Line) -> Body | None:
    if subscription is None:
        return None
    item = {"subscription_item": line.subscription_item} if line.subscription_item else {}
    details = {"subscription": subscription, **item}
    return {"subscription_details": details, "type": "subscription_details"}


def _proration_details(line: Line) -> Body:
    """What a proration gives back, and the discounts that are already inside its amount."""
    if not line.proration:
        return {}
    off = [{"amount": amount, "discount": discount} for discount, amount in line.discounted]
    return {"proration_details": {"credited_items": _credited(line), "discount_amounts": off}}


def _credited(line: Line) -> Body | None:
    """As an item tells it: the lines of an invoice."""
    if line.credited is None:
        return None
    return {"invoice_line_item_details": lines.credited(line), "type": "invoice_line_items"}


def pending(step: Step, *, subscription: str | None = None, customer: str | None = None) -> list[Body]:
    """What waits, oldest first: of a subscription, or of a customer and of no subscription."""
    parent = subscription or customer
    assert parent is not None
    return [
        item
        for item in step.of("invoiceitem", parent)
        if item["invoice"] is None and item["_subscription"] == subscription
    ]


def take(
    step: Step, *, subscription: str | None = None, customer: str | None = None, currency: str | None = None
) -> list[Line]:
    """The lines of what waits; the items are bound once a draft is made with them.

    Newest first, as Stripe describes `invoice.lines`; those of one second in the order they were made.
    """
    waiting = pending(step, subscription=subscription, customer=customer)
    return [
        line_of(item)
        for item in sorted(waiting, key=lambda item: -int(item["date"]))
        if currency is None or item["currency"] == currency
    ]


def line_of(item: Body) -> Line:
    """A waiting item as a line for an invoice."""
    details = (item["parent"] or {}).get("subscription_details", {})
    return Line(
        amount=item["amount"],
        currency=item["currency"],
        description=item["description"],
        period=(item["period"]["start"], item["period"]["end"]),
        price=item["_price"],
        quantity=Fraction(item["quantity_decimal"]),
        unit_amount_decimal=(item["pricing"] or {}).get("unit_amount_decimal"),
        subscription=item["_subscription"],
        subscription_item=details.get("subscription_item"),
        invoice_item=item["id"],
        proration=item["proration"],
        credited=_given_back(item),
        discountable=item["discountable"],
        discounts=tuple(item["discounts"]),
        tax_rates=tuple(item["tax_rates"]),
        metadata=item["metadata"],
    )


def _given_back(item: Body) -> tuple[str, tuple[str, ...]] | None:
    named = (item.get("proration_details") or {}).get("credited_items")
    if named is None:
        return None
    details = named["invoice_line_item_details"]
    return details["invoice"], tuple(details["invoice_line_items"])


def discard(step: Step, *, subscription: str) -> None:
    """The subscription has ended: what still waits for its next invoice goes, each item told."""
    for item in pending(step, subscription=subscription):
        step.tell("invoiceitem.deleted", item)
        step.remove(item["id"])
