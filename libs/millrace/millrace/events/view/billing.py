"""What is agreed and what is billed: subscriptions, schedules, invoices, credit notes."""

from __future__ import annotations

from datetime import datetime

from millrace.events import stripe
from millrace.events.view.catalog import Discount, PretaxCredit, Price, Reduction, Tax, discounts
from millrace.events.view.field import (
    BASIL,
    CLOVER,
    DAHLIA,
    ENDIVE,
    Field,
    View,
    as_instant,
    every,
    flag,
    identity,
    inherited,
    inner,
    instant,
    many,
    money,
    number,
    one,
    references,
    required,
    rule,
    since,
    text,
    told,
    until,
    whole,
)
from millrace.events.view.payments import InvoicePayment
from millrace.money import Money


class Item(View):
    """One price of a subscription, and how much of it."""

    id = required("the item's id")
    price = one("what is sold", Price, "price", until(BASIL, "plan"))
    quantity = number("how much; None for metered prices", since(DAHLIA, "quantity_decimal"), "quantity")
    period_start = instant(
        "since when it is paid for",
        since(BASIL, "current_period_start"),
        rule(
            "the subscription's `current_period_start`",
            lambda i: _of_whole(i, "current_period_start"),
            until=BASIL,
        ),
    )
    period_end = instant(
        "until when it is paid for",
        since(BASIL, "current_period_end"),
        rule(
            "the subscription's `current_period_end`",
            lambda i: _of_whole(i, "current_period_end"),
            until=BASIL,
        ),
    )
    billed_until = instant("until when it has been billed")
    trial_end = instant("until when this item is tried", "current_trial.end_date")
    discounts = discounts()
    deleted = flag("whether it was taken off")


def _of_whole(item: Item, name: str) -> datetime | None:
    whole = item.holder
    found = whole.body.get(name) if whole else None
    return as_instant(whole, found, name) if whole and found is not None else None


class Subscription(View):
    """A subscription as it was at that moment. An older event may arrive later: see `docs/consuming.md`."""

    id = required("the subscription's id")
    status = text("incomplete, trialing, active, past_due, unpaid, paused, canceled, incomplete_expired, …")
    customer = identity("who has it")
    customer_account = identity("who has it, as an account; beside or instead of `customer`")
    currency = text("what it is billed in")
    started_at = instant("when it began", "start_date", "created")
    items = many("what is sold", Item)
    period_start = instant(
        "since when it is paid for",
        rule("the earliest of its items", lambda it: min(_times(it, "period_start"), default=None)),
        until(BASIL, "current_period_start"),
    )
    period_end = instant(
        "until when all of it is paid for; items may end earlier",
        rule("the last of its items", lambda it: max(_times(it, "period_end"), default=None)),
        until(BASIL, "current_period_end"),
    )
    cancels_at = instant(
        "when it is going to end; None when nobody asked for it",
        "cancel_at",
        rule("`period_end`, where `cancel_at_period_end`", lambda it: _at_period_end(it)),
    )
    canceled_at = instant("when somebody asked for its end")
    ended_at = instant("when it ended")
    cancel_reason = text("who or what asked for its end", "cancellation_details.reason")
    cancel_feedback = text("why, as one of Stripe's words", "cancellation_details.feedback")
    pause = text(
        "why `status` is paused: final_payment_failure, pause_requested, …",
        since(ENDIVE, "status_details.paused.subscription.type"),
        rule(
            "trial_end_without_payment_method, the only way there was", lambda it: _paused(it), until=ENDIVE
        ),
    )
    paused_at = instant(
        "since when `status` is paused", since(ENDIVE, "status_details.paused.transitioned_at")
    )
    pause_collection = text(
        "what becomes of invoices while payment is not collected: keep_as_draft, mark_uncollectible, void",
        "pause_collection.behavior",
    )
    collection_resumes_at = instant("when payment is collected again", "pause_collection.resumes_at")
    trial_start = instant("since when it is tried")
    trial_end = instant("until when it is tried")
    trial_ends_without_payment_method = text(
        "what a trial without a payment method ends in: cancel, create_invoice, pause",
        "trial_settings.end_behavior.missing_payment_method",
    )
    billing_mode = text("classic or flexible", since(BASIL, "billing_mode.type"))
    collection_method = text("charge_automatically or send_invoice")
    latest_invoice = identity("its newest invoice")
    default_payment_method = identity(
        "what pays it; None: what the customer's invoices are paid with",
        "default_payment_method",
        "default_source",
    )
    discounts = discounts()
    schedule = identity("the schedule that drives it")
    pending_update_expires_at = instant(
        "until when an update waits for its payment", "pending_update.expires_at"
    )


def _times(it: Subscription, name: str) -> list[datetime]:
    return [time for item in it.items if (time := getattr(item, name))]


def _at_period_end(it: Subscription) -> datetime | None:
    return it.period_end if it.body.get("cancel_at_period_end") is True else None


def _paused(it: Subscription) -> str | None:
    """Before endive a trial's end was the only way there; a body with `status_details` speaks for itself."""
    before = "status_details" not in it.body
    return "trial_end_without_payment_method" if before and it.status == "paused" else None


class PhaseItem(View):
    """A price within a phase of a schedule."""

    price = identity("what is sold", "price", until(BASIL, "plan"))
    quantity = number("how much; None for metered prices")


class Phase(View):
    """A stretch of time in which a schedule sells the same."""

    start = instant("when it begins", "start_date")
    end = instant("when it ends", "end_date")
    trial_end = instant("until when it is tried")
    currency = text("what it is billed in")
    items = many("what is sold", PhaseItem)
    coupons = references(
        "what is given for less",
        rule("`discounts[].coupon`", lambda phase: _coupons(phase)),
        rule("`coupon`", lambda phase: _coupon(phase), until=BASIL),
    )


def _coupons(phase: View) -> tuple[str, ...] | None:
    if (found := phase.body.get("discounts")) is None:
        return None
    given = [discount.coupon for discount in every(Discount)(phase, found, "discounts")]
    return tuple(coupon.id for coupon in given if coupon) or None


def _coupon(phase: View) -> tuple[str, ...] | None:
    found = stripe.id_of(phase.body.get("coupon"))
    return (found,) if found else None


class Schedule(View):
    """Planned changes of a subscription."""

    id = required("the schedule's id")
    status = text("not_started, active, completed, released, canceled")
    customer = identity("whose subscription it drives")
    customer_account = identity("whose subscription it drives, as an account")
    subscription = identity(
        "the subscription it drives, or has let go", "subscription", "released_subscription"
    )
    phases = many("what is sold when", Phase)
    phase_start = instant("since when the phase of now is", "current_phase.start_date")
    phase_end = instant("until when the phase of now is", "current_phase.end_date")
    end_behavior = text("what comes after the last phase: release, cancel, …")
    canceled_at = instant("when it was canceled")
    completed_at = instant("when its last phase ended")
    released_at = instant("when it let the subscription go")


class Credited(View):
    """What a proration gives back."""

    invoice = identity("the invoice that billed it")
    lines = references("its lines on that invoice", "invoice_line_items")


class Line(View):
    """A line of an invoice."""

    id = required("the line's id")
    currency = inherited()
    amount = money("what it bills, before its discounts")
    subtotal = money("what it bills, before discounts and taxes", since(DAHLIA, "subtotal"))
    quantity = number("how much", since(DAHLIA, "quantity_decimal"), "quantity")
    price = identity(
        "the price it is billed by", since(BASIL, "pricing.price_details.price"), until(BASIL, "price"),
        until(BASIL, "plan"),
    )  # fmt: skip
    product = identity(
        "what is sold",
        since(BASIL, "pricing.price_details.product"),
        until(BASIL, "price.product"),
        until(BASIL, "plan.product"),
    )
    lookup_key = text(
        "the price's name; since basil only where the price is expanded",
        since(BASIL, "pricing.price_details.price.lookup_key"),
        until(BASIL, "price.lookup_key"),
    )
    unit_amount_decimal = number(
        "what one unit costs, in minor units and exact",
        since(BASIL, "pricing.unit_amount_decimal"),
        until(BASIL, "price.unit_amount_decimal"),
        until(BASIL, "plan.amount_decimal"),
    )
    period_start = instant("since when it is earned", "period.start")
    period_end = instant("until when it is earned", "period.end")
    subscription = identity(
        "the subscription it bills",
        since(BASIL, "parent.subscription_item_details.subscription"),
        since(BASIL, "parent.invoice_item_details.subscription"),
        "subscription",
    )
    subscription_item = identity(
        "the item of a subscription that it bills",
        since(BASIL, "parent.subscription_item_details.subscription_item"),
        since(BASIL, "parent.invoice_item_details.subscription_item"),
        until(BASIL, "subscription_item"),
    )
    invoice_item = identity(
        "the waiting item that it came from",
        since(BASIL, "parent.invoice_item_details.invoice_item"),
        since(BASIL, "parent.subscription_item_details.invoice_item"),
        until(BASIL, "invoice_item"),
    )
    proration = flag(
        "whether it is a share of a period",
        since(BASIL, "parent.subscription_item_details.proration"),
        since(BASIL, "parent.invoice_item_details.proration"),
        until(BASIL, "proration"),
    )
    credited = one(
        "what a negative proration gives back",
        Credited,
        since(BASIL, "parent.subscription_item_details.proration_details.credited_items"),
        since(BASIL, "parent.invoice_item_details.proration_details.credited_items"),
        until(BASIL, "proration_details.credited_items"),
    )
    taxes = many("its taxes", Tax, since(BASIL, "taxes"), until(BASIL, "tax_amounts"))
    reductions = many("what its discounts take off", Reduction, "discount_amounts")
    pretax_credits = many("what is taken off before tax", PretaxCredit, "pretax_credit_amounts")


def _taxes(older: str) -> Field[tuple[Tax, ...]]:
    return many(
        "its taxes, added up by rate",
        Tax,
        since(BASIL, "total_taxes"),
        until(BASIL, older),
        rule("`tax`, one amount", lambda view: _one_tax(view), until=BASIL),
    )


def _one_tax(view: View) -> tuple[Tax, ...] | None:
    found = view.body.get("tax")
    return None if found is None else (inner(Tax, view, {"amount": found, "inclusive": False}, "tax"),)


class Invoice(View):
    """An invoice as it was at that moment."""

    id = required("the invoice's id")
    number = text("the number people know it by")
    status = text("draft, open, paid, void, uncollectible")
    paid = flag(
        "whether nothing is owed any more",
        rule("`status` is paid", lambda it: None if it.status is None else it.status == "paid"),
        until(BASIL, "paid"),
    )
    paid_out_of_band = flag(
        "whether something was paid outside Stripe",
        rule("`paid_off_stripe` is more than nothing", lambda it: _outside(it)),
        until(BASIL, "paid_out_of_band"),
    )
    customer = identity("who owes it")
    customer_account = identity("who owes it, as an account; beside or instead of `customer`")
    subscription = identity(
        "the subscription it bills; None for a one-off",
        since(BASIL, "parent.subscription_details.subscription"),
        until(BASIL, "subscription"),
        rule(
            "the first of its lines that names one",
            lambda it: next(stripe.subscriptions_of_lines(it.body), None),
        ),
    )
    quote = identity("the quote it bills", since(BASIL, "parent.quote_details.quote"), until(BASIL, "quote"))
    billing_reason = text("subscription_create, subscription_cycle, subscription_update, manual, …")
    collection_method = text("charge_automatically or send_invoice")
    currency = text("the currency of its amounts")
    subtotal = money("its lines, before discounts of the invoice and exclusive taxes")
    total = money("its lines, after discounts and taxes")
    total_excluding_tax = money("its lines, after discounts and without taxes")
    amount_due = money("what is asked for: `total` with the customer's balance")
    amount_paid = money("what has been paid")
    amount_remaining = money("what is still owed")
    amount_overpaid = money("what was paid too much", since(BASIL, "amount_overpaid"))
    paid_off_stripe = money("what was paid outside Stripe", since(DAHLIA, "amount_paid_off_stripe"))
    starting_balance = money("the customer's balance before; a credit is negative")
    ending_balance = money("the customer's balance after; None until it is final")
    lines = many("what it bills", Line)
    taxes = _taxes("total_tax_amounts")
    discounts = discounts()
    reductions = many("what its discounts take off", Reduction, "total_discount_amounts")
    pretax_credits = many("what is taken off before tax", PretaxCredit, "total_pretax_credit_amounts")
    payments = told(
        "what paid it, or tries to; None: ask the events of invoice payments",
        InvoicePayment,
        since(BASIL, "payments"),
        rule("`payment_intent` or `charge`", lambda it: _paid_by(it), until=BASIL),
    )
    default_payment_method = identity("what pays it", "default_payment_method", "default_source")
    attempt_count = whole("attempts that Stripe made by itself; 0 for one that was paid when it was made")
    attempted = flag("whether payment was tried")
    next_payment_attempt = instant("when payment is tried again")
    auto_advance = flag("whether Stripe collects it by itself")
    created_at = instant("when it was made", "created")
    due_at = instant("when it is to be paid", "due_date")
    effective_at = instant("the date on it")
    finalized_at = instant("when it became final", "status_transitions.finalized_at", "finalized_at")
    paid_at = instant("when it was paid", "status_transitions.paid_at")
    voided_at = instant("when it was voided", "status_transitions.voided_at")
    uncollectible_at = instant("when it was given up", "status_transitions.marked_uncollectible_at")
    uncollectible_reason = text("why it was given up", since(ENDIVE, "status_details.uncollectible.reason"))
    finalization_error = text("why it could not become final", "last_finalization_error.code")
    revises = identity("the invoice that it takes the place of", "from_invoice.invoice")


def _outside(it: Invoice) -> bool | None:
    paid = it.paid_off_stripe
    return None if paid is None else paid.amount_minor > 0


def _paid_by(it: Invoice) -> tuple[InvoicePayment, ...] | None:
    """Before basil an invoice named what paid it; it is shown as the invoice payment it would be today."""
    names = {name: it.body[name] for name in ("payment_intent", "charge") if it.body.get(name)}
    kind = next(iter(names), None)
    return (inner(InvoicePayment, it, {"payment": {"type": kind, **names}}, kind),) if kind else None


class Refunded(View):
    """What a refund gives back of a credit note."""

    currency = inherited()
    refund = identity("the refund")
    amount = money("how much of it; before basil not told", since(BASIL, "amount_refunded"))


class CreditNoteLine(View):
    """A line of a credit note."""

    id = required("the line's id")
    currency = inherited()
    amount = money("what it credits")
    invoice_line = identity("the line that it credits", "invoice_line_item")
    quantity = number("how much")
    taxes = many("its taxes", Tax, since(BASIL, "taxes"), until(BASIL, "tax_amounts"))
    reductions = many("what its discounts take off", Reduction, "discount_amounts")
    pretax_credits = many("what is taken off before tax", PretaxCredit, "pretax_credit_amounts")


class CreditNote(View):
    """What is given back of an invoice."""

    id = required("the credit note's id")
    number = text("the number people know it by")
    status = text("issued or void")
    type = text("pre_payment, post_payment, mixed (since clover)")
    reason = text("duplicate, fraudulent, order_change, product_unsatisfactory")
    invoice = identity("the invoice it corrects")
    customer = identity("who gets it")
    customer_account = identity("who gets it, as an account; beside or instead of `customer`")
    currency = text("the currency of its amounts")
    subtotal = money("its lines, before discounts of the invoice and exclusive taxes")
    total = money("its lines, after discounts and taxes")
    pre_payment = money(
        "what is not owed any more",
        since(CLOVER, "pre_payment_amount"),
        rule("`total`, where `type` is pre_payment", lambda it: _wholly(it, "pre_payment"), until=CLOVER),
    )
    post_payment = money(
        "what is given back",
        since(CLOVER, "post_payment_amount"),
        rule("`total`, where `type` is post_payment", lambda it: _wholly(it, "post_payment"), until=CLOVER),
    )
    out_of_band = money("what is given back outside Stripe", "out_of_band_amount")
    refunds = many(
        "what is given back to where it came from",
        Refunded,
        since(BASIL, "refunds"),
        rule("`refund`, without its amount", lambda it: _refund(it), until=BASIL),
    )
    customer_balance_transaction = identity("what is put on the customer's balance")
    lines = many("what it credits", CreditNoteLine)
    taxes = _taxes("tax_amounts")
    reductions = many("what discounts take off", Reduction, "discount_amounts")
    pretax_credits = many("what is taken off before tax", PretaxCredit, "pretax_credit_amounts")
    created_at = instant("when it was made", "created")
    effective_at = instant("the date on it")
    voided_at = instant("when it was voided")


def _wholly(it: CreditNote, type_: str) -> Money | None:
    """Before clover a note was wholly of one type."""
    if it.type not in ("pre_payment", "post_payment") or (total := it.total) is None:
        return None
    return total if it.type == type_ else Money(0, total.currency)


def _refund(it: CreditNote) -> tuple[Refunded, ...] | None:
    refund = it.body.get("refund")
    return (inner(Refunded, it, {"refund": refund}, "refund"),) if refund else None
