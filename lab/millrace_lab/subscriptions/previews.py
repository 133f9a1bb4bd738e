"""What the next invoice would be: of a new subscription, of a changed one, of a renewal, of waiting items.

A preview does what would be done, in a step that is thrown away, and shows the draft that it comes to.
Source: docs.stripe.com/api/invoices/create_preview, docs.stripe.com/billing/subscriptions/prorations#preview-proration.
"""

from __future__ import annotations

from typing import Literal

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import discounts
from millrace_lab.catalog.amounts import SignedDecimalAmount
from millrace_lab.catalog.asking import AutomaticTax, Discounts, Rates
from millrace_lab.errors import Body, StripeError
from millrace_lab.invoices import asking as billed
from millrace_lab.invoices import drafting, items, previews
from millrace_lab.operations import Operation
from millrace_lab.params import Currency, NotHere, Params, Second
from millrace_lab.subscriptions import asking, bodies, changing, renewing, starting
from millrace_lab.subscriptions.lifecycle import ENDED


class InvoiceItem(billed.LineTerms):
    currency: Currency | None = None
    price: str | None = None
    unit_amount: int | None = None
    unit_amount_decimal: SignedDecimalAmount | None = None
    invoiceitem: NotHere = None
    tax_behavior: NotHere = None
    tax_code: NotHere = None


class Details(Params):
    """What would change of the subscription, or what a new one would be."""

    billing_cycle_anchor: asking.AnchorGiven = None
    cancel_at: Second | Literal[""] | None = None
    cancel_at_period_end: bool | None = None
    default_tax_rates: Rates = None
    items: list[asking.ItemChange] = []
    metadata: dict[str, str] | None = None
    proration_behavior: asking.ProrationBehavior = "create_prorations"
    proration_date: Second | None = None
    trial_end: Second | Literal["now"] | None = None
    billing_mode: NotHere = None
    billing_schedules: NotHere = None
    cancel_now: NotHere = None
    resume_at: NotHere = None
    start_date: NotHere = None


class Preview(Params):
    automatic_tax: AutomaticTax | None = None
    currency: Currency | None = None
    customer: str | None = None
    discounts: Discounts = None
    invoice_items: list[InvoiceItem] = []
    subscription: str | None = None
    subscription_details: Details | None = None


def create_preview(step: Step, params: Preview) -> Body:
    aside = step.aside()
    sub = aside.get("subscription", params.subscription, "subscription") if params.subscription else None
    customer = params.customer or (sub or {}).get("customer")
    refuse_unless(bool(customer), "Missing required param: customer.", "customer", "parameter_missing")
    buyer = aside.get("customer", str(customer), "customer")
    _add_items(aside, params, buyer, sub)
    if sub is not None:
        shown = _of_subscription(aside, sub, params)
    elif params.subscription_details is not None:
        shown = _of_new(aside, buyer, params)
    else:
        shown = _of_items(aside, buyer, params)
    return previews.as_draft(shown)


def upcoming(step: Step, sub: Body) -> Body | None:
    """The draft of the next renewal as things stand; None if there will be none."""
    ends = [item["current_period_end"] for item in bodies.items_of(sub)]
    if sub["status"] in ENDED or not ends:
        return None
    later = step.aside(at=max(step.now, min(ends)))
    renewing.renew(later, later.get("subscription", sub["id"]))
    latest = later.get("subscription", sub["id"])["latest_invoice"]
    return None if latest == sub["latest_invoice"] else later.get("invoice", latest)


def tell_upcoming(step: Step, sub: Body) -> None:
    """A renewal is some days away, as many as the account's settings say: `invoice.upcoming`."""
    if (found := upcoming(step, sub)) is not None:
        step.tell("invoice.upcoming", previews.as_draft(found))


def _add_items(aside: Step, params: Preview, buyer: Body, sub: Body | None) -> None:
    for asked in params.invoice_items:
        whole = _item(asked)
        price = billed.price_of(aside, whole)
        currency = billed.currency_of(
            aside, buyer, asked.currency or params.currency or (sub or {}).get("currency"), price
        )
        items.add(aside, buyer["id"], billed.line(aside, whole, currency, price), sub)


def _item(asked: InvoiceItem) -> billed.ItemAsked:
    """As an invoice item is asked for, which names its price in another place."""
    unit = asked.unit_amount_decimal or (None if asked.unit_amount is None else str(asked.unit_amount))
    terms = {name: getattr(asked, name) for name in billed.LineTerms.model_fields}
    pricing = billed.Pricing(price=asked.price) if asked.price else None
    return billed.ItemAsked.model_construct(**terms, pricing=pricing, unit_amount_decimal=unit)


def _of_subscription(aside: Step, sub: Body, params: Preview) -> Body:
    """The invoice that the change asks for at once, else the next renewal's with what waits for it."""
    before = sub["latest_invoice"]
    if params.subscription_details is not None:
        given = params.subscription_details
        changes = {name: getattr(given, name) for name in given.given}
        changing.update(aside, asking.Update(**changes), sub["id"])
    now = _discounted(aside, aside.get("subscription", sub["id"]), params)
    if now["latest_invoice"] != before:
        return aside.get("invoice", now["latest_invoice"])
    found = upcoming(aside, now)
    if found is None:
        raise StripeError(
            404,
            f"No upcoming invoices for customer: {sub['customer']}",
            code="invoice_upcoming_none",
        )
    return found


def _discounted(aside: Step, sub: Body, params: Preview) -> Body:
    if "discounts" not in params.given:
        return sub
    made = discounts.attach(aside, params.discounts, customer=sub["customer"], subscription=sub["id"])
    return aside.change(sub["id"], discounts=[each["id"] for each in made])


def _of_new(aside: Step, buyer: Body, params: Preview) -> Body:
    """The first invoice of a subscription that does not exist."""
    given = params.subscription_details
    assert given is not None
    asked = asking.Create(
        customer=buyer["id"],
        items=[asking.ItemGiven(price=each.price, quantity=each.quantity) for each in given.items],
        currency=params.currency,
        discounts=params.discounts,
        trial_end=given.trial_end,
        payment_behavior="default_incomplete",
    )
    made = starting.start(aside, asked)
    return aside.get("invoice", made["latest_invoice"])


def _of_items(aside: Step, buyer: Body, params: Preview) -> Body:
    waiting = items.take(aside, customer=buyer["id"], currency=params.currency)
    made = discounts.attach(aside, params.discounts, customer=buyer["id"], invoice="upcoming")
    return previews.preview(
        aside,
        customer=buyer["id"],
        currency=waiting[0].currency if waiting else billed.currency_of(aside, buyer, params.currency, None),
        lines=waiting,
        period=(aside.now, aside.now),
        terms=drafting.Terms(
            discounts=tuple(each["id"] for each in made) if made else None,
            automatic_tax=params.automatic_tax.enabled if params.automatic_tax else None,
        ),
    )


NOT_HERE = frozenset({"customer_account", "customer_details", "issuer", "on_behalf_of", "preview_mode", "schedule",
                      "schedule_details"})  # fmt: skip
OPERATIONS = (Operation("POST /v1/invoices/create_preview", create_preview, Preview, NOT_HERE),)
