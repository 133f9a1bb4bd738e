"""What rides along: things sold once, discounts of one item, and invoices between renewals."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import discounts, prices, tax_rates
from millrace_lab.catalog.costs import charges
from millrace_lab.errors import Body
from millrace_lab.invoices import items
from millrace_lab.invoices.lines import Line
from millrace_lab.periods import period_end
from millrace_lab.subscriptions import asking, billing, bodies
from millrace_lab.subscriptions.lifecycle import due, told


def item_discounts(step: Step, given: asking.ItemGiven, customer: str, item: Body) -> list[str]:
    """Discounts of one item alone."""
    made = discounts.attach(
        step,
        given.discounts,
        customer=customer,
        subscription=item["subscription"],
        subscription_item=item["id"],
    )
    return [each["id"] for each in made]


def lines(step: Step, sub: Body, given: Iterable[asking.InvoiceItemGiven]) -> list[Line]:
    """Lines for what is sold once beside the subscription."""
    return [line for each in given for line in _lines(step, sub, each)]


def _lines(step: Step, sub: Body, given: asking.InvoiceItemGiven) -> list[Line]:
    price = step.get("price", given.price, "add_invoice_items[0][price]")
    refuse_unless(
        price["type"] == "one_time",
        f"The price specified is set to `type=recurring` but this field only accepts prices with "
        f"`type=one_time`. (price: `{price['id']}`)",
        "add_invoice_items[0][price]",
    )
    own = discounts.attach(step, given.discounts, customer=sub["customer"])
    product = step.find(price["product"]) or {}
    return [
        Line(
            amount=charge.amount,
            currency=sub["currency"],
            description=str(product.get("name", price["product"])),
            period=(step.now, step.now),
            price=price,
            quantity=charge.quantity,
            unit_amount_decimal=charge.unit_amount_decimal,
            subscription=sub["id"],
            discountable=given.discountable,
            discounts=tuple(each["id"] for each in own),
            tax_rates=tuple(tax_rates.named(step, given.tax_rates)),
            metadata=given.metadata or {},
        )
        for charge in charges(prices.in_currency(price, sub["currency"]), Fraction(given.quantity))
    ]


# Invoices between renewals. Source: docs.stripe.com/billing/invoices/subscription#pending-invoice-items.


def next_collection(step: Step, sub: Body) -> None:
    """When what waits is invoiced next, for subscriptions that ask for it more often than they renew."""
    rhythm = sub["pending_invoice_item_interval"]
    at = None
    if rhythm is not None:
        at = period_end(step.now, step.now, rhythm["interval"], rhythm["interval_count"])
    step.change(sub["id"], next_pending_invoice_item_invoice=at)
    due(step, sub["id"], "pending_items", at)


def collect_pending(step: Step, sub: Body) -> None:
    """Invoice what waits, if anything does; like a renewal's invoice it stays a draft for its hour."""
    if sub["status"] not in ("active", "trialing", "past_due"):
        return
    before = sub
    period = (bodies.period_of(sub)[0], step.now)
    invoice = None
    if items.pending(step, subscription=sub["id"]):
        invoice = billing.draft(step, sub["id"], [], "subscription_cycle", period)
    next_collection(step, sub)
    told(step, before)
    if invoice is not None:
        step.tell("invoice.created", step.get("invoice", invoice["id"]))
