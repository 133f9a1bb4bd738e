"""Starting a subscription: on trial, on send_invoice, or with a first payment that decides.

(new) → trialing | active | incomplete. Source: docs.stripe.com/billing/subscriptions/overview.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_lab.account import DAY, HOUR, Step, refuse_unless
from millrace_lab.catalog import discounts, promotion_codes
from millrace_lab.customers import paying
from millrace_lab.errors import Body, StripeError, absent
from millrace_lab.invoices import collection
from millrace_lab.invoices.lines import Line
from millrace_lab.periods import day_of_month, moment, period_before, period_end
from millrace_lab.subscriptions import asking, billing, bodies, canceling, extras, prorating
from millrace_lab.subscriptions.lifecycle import due, flexible

NOTICE = 3 * DAY  # how long before its end a trial is announced to end
FIRST_PAYMENT_WITHIN = 23 * HOUR


@dataclass(frozen=True, slots=True)
class Cycle:
    """When a new subscription's periods begin and end. `stub`: the first one is shorter than natural."""

    start: int
    anchor: int
    trial_end: int | None = None
    stub: bool = False


def start(step: Step, params: asking.Create) -> Body:
    """Make it, tell it, and collect what is due now. Raises StripeError 402 only where that was asked for."""
    buyer = step.get("customer", params.customer, "customer")
    prices = [bodies.price_of(step, price_id(each), params.currency) for each in params.items]
    currency = params.currency or prices[0]["currency"]
    _check(step, params, buyer, prices, currency)
    cycle = _cycle(step, params, prices)
    sub = _made(step, params, prices, cycle, currency)
    _keep_currency(step, buyer, currency)
    invoice = _first_invoice(step, params, sub, cycle)
    _schedule(step, params, sub["id"])
    _tell(step, sub["id"], invoice)
    if invoice is not None:
        _collect(step, params, sub["id"], invoice["id"])
    return step.get("subscription", sub["id"])


def price_id(given: asking.ItemGiven) -> str:
    id_ = given.price or given.plan
    refuse_unless(
        id_ is not None, "Missing required param: items[0][price].", "items[0][price]", "parameter_missing"
    )
    return str(id_)


def _check(step: Step, params: asking.Create, buyer: Body, prices: list[Body], currency: str) -> None:
    ids = [price["id"] for price in prices]
    refuse_unless(
        len(set(ids)) == len(ids),
        f"Cannot add multiple subscription items with the same plan: {ids[-1]}",
        "items",
    )
    refuse_unless_one_interval(prices, params.billing_mode.type)
    refuse_unless(
        buyer["currency"] in (None, currency) or not _bound(step, buyer),
        "You cannot combine currencies on a single customer. This customer has an active subscription, "
        f"subscription schedule, discount, quote, or invoice item with currency {buyer['currency']}",
    )
    if params.collection_method == "send_invoice":
        refuse_unless(
            params.days_until_due is not None,
            "If 'collection_method' is 'send_invoice', then 'days_until_due' is required.",
            "days_until_due",
        )


def refuse_unless_one_interval(prices: list[Body], mode: str) -> None:
    """Mixed intervals are for the flexible mode. Source: docs.stripe.com/billing/subscriptions/mixed-interval."""
    rhythms = {(price["recurring"]["interval"], price["recurring"]["interval_count"]) for price in prices}
    refuse_unless(
        len(rhythms) == 1 or mode == "flexible",
        "Currency and interval fields must match across all plans on this subscription.",
        "items",
    )


def _bound(step: Step, buyer: Body) -> bool:
    """Whether something alive holds the customer to its currency."""
    subs = step.of("subscription", buyer["id"])
    return any(sub["status"] not in ("canceled", "incomplete_expired") for sub in subs) or any(
        item["invoice"] is None for item in step.of("invoiceitem", buyer["id"])
    )


def _refuse_without_method(step: Step, params: asking.Create, sub: Body, invoice: Body) -> None:
    """Somebody who is charged automatically, now, needs something to charge."""
    charged = sub["collection_method"] == "charge_automatically" and invoice["amount_due"] > 0
    tried = params.payment_behavior in ("allow_incomplete", "error_if_incomplete")
    refuse_unless(
        not (charged and tried) or paying.method_for(step, params.customer, sub) is not None,
        "This customer has no attached payment source or default payment method. Please consider adding a "
        "default payment method. For more information, visit "
        "https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
        code="resource_missing",
    )


def _refuse_below_minimum(step: Step, sub: Body, invoice: Body) -> None:
    """A promotion code may ask for a least order."""
    for discount in discounts.live(step, sub["discounts"]):
        if discount["promotion_code"] is not None:
            code = step.get("promotion_code", discount["promotion_code"])
            refuse_unless(
                invoice["subtotal"] >= promotion_codes.minimum_of(code, sub["currency"]),
                "This promotion code cannot be redeemed because the order does not meet its minimum amount.",
                "discounts",
            )


def trial_asked(step: Step, params: asking.Create) -> int | None:
    """When the trial that was asked for ends; None without one."""
    refuse_unless(
        params.trial_end is None or params.trial_period_days is None,
        "You can only pass one of `trial_end` and `trial_period_days`.",
        "trial_end",
    )
    if params.trial_period_days is not None:
        return step.now + params.trial_period_days * DAY
    if params.trial_end in (None, "now"):
        return None
    refuse_unless(int(params.trial_end) > step.now, "Invalid timestamp: must be an integer Unix timestamp in the "
                  "future.", "trial_end")  # fmt: skip
    return int(params.trial_end)


# The cycle.


def _cycle(step: Step, params: asking.Create, prices: list[Body]) -> Cycle:
    began = step.now if params.backdate_start_date is None else params.backdate_start_date
    refuse_unless(began <= step.now, "`backdate_start_date` must be in the past.", "backdate_start_date")
    if any(_natural(price, began) <= step.now for price in prices):
        raise absent("backdate of more than one period", ("backdate_start_date within the first period",))
    trial_end = trial_asked(step, params)
    anchor = _asked_anchor(step, params)
    if trial_end is not None:
        return Cycle(step.now, anchor or trial_end, trial_end)
    if anchor is None:
        return Cycle(began, began)
    natural = max(_natural(price, began) for price in prices)
    refuse_unless(
        began < anchor <= natural,
        f"`billing_cycle_anchor` cannot be later than next natural billing date ({natural}) for plan.",
        "billing_cycle_anchor",
    )
    return Cycle(began, anchor, stub=anchor < natural)


def _natural(price: Body, start: int) -> int:
    recurring = price["recurring"]
    return period_end(start, start, recurring["interval"], recurring["interval_count"])


def _asked_anchor(step: Step, params: asking.Create) -> int | None:
    config = params.billing_cycle_anchor_config
    if config is None:
        return params.billing_cycle_anchor
    refuse_unless(
        params.billing_cycle_anchor is None,
        "You may only specify one of these parameters: billing_cycle_anchor, billing_cycle_anchor_config.",
    )
    now = moment(step.now)
    given = (config.hour, config.minute, config.second)
    clock = (now.hour, now.minute, now.second)
    if any(each is not None for each in given):
        clock = (config.hour or 0, config.minute or 0, config.second or 0)
    return day_of_month(step.now, config.day_of_month, month=config.month, clock=clock)


def _end(cycle: Cycle, price: Body) -> int:
    """The end of an item's first period."""
    if cycle.trial_end is not None:
        return cycle.trial_end
    recurring = price["recurring"]
    rhythm = (recurring["interval"], recurring["interval_count"])
    if cycle.anchor > cycle.start:
        return min(cycle.anchor, period_end(cycle.start, cycle.start, *rhythm))
    return period_end(cycle.anchor, cycle.start, *rhythm)


# The object.


def _made(step: Step, params: asking.Create, prices: list[Body], cycle: Cycle, currency: str) -> Body:
    id_ = step.new_id("sub")
    body = bodies.subscription(
        step,
        params,
        id_,
        billing_cycle_anchor=cycle.anchor,
        billing_cycle_anchor_config=_config(params),
        currency=currency,
        start_date=cycle.start,
        status=_first_status(params, cycle),
        trial_start=step.now if cycle.trial_end else None,
        trial_end=cycle.trial_end,
        _billed={},
        _pending=None,
    )
    if params.default_payment_method is not None:
        step.get("payment_method", params.default_payment_method, "default_payment_method")
    step.add(body, params.customer)
    made = discounts.attach(step, params.discounts, customer=params.customer, subscription=id_)
    step.change(id_, discounts=[each["id"] for each in made])
    items = [_item(step, params, id_, *each, cycle) for each in zip(params.items, prices, strict=True)]
    return bodies.keep_items(step, id_, items)


def _item(
    step: Step, params: asking.Create, sub: str, given: asking.ItemGiven, price: Body, cycle: Cycle
) -> Body:
    item = bodies.new_item(step, sub, price, given, cycle.start, _end(cycle, price))
    return {**item, "discounts": extras.item_discounts(step, given, params.customer, item)}


def _config(params: asking.Create) -> Body | None:
    config = params.billing_cycle_anchor_config
    return config.model_dump() if config else None


def _first_status(params: asking.Create, cycle: Cycle) -> str:
    if cycle.trial_end is not None:
        return "trialing"
    return "active" if params.collection_method == "send_invoice" else "incomplete"


def _keep_currency(step: Step, buyer: Body, currency: str) -> None:
    """A customer's first subscription decides the currency they are billed in."""
    if buyer["currency"] != currency:
        before = step.get("customer", buyer["id"])
        step.change(buyer["id"], currency=currency)
        step.updated("customer.updated", before)


# The first invoice.


def _first_invoice(step: Step, params: asking.Create, sub: Body, cycle: Cycle) -> Body | None:
    """What is due at the start; nothing at all, and no invoice, where only usage is billed later."""
    lines = [line for item in bodies.items_of(sub) for line in _first_lines(step, params, sub, item, cycle)]
    lines += extras.lines(step, sub, params.add_invoice_items)
    if not lines:
        if sub["status"] == "incomplete":
            step.change(sub["id"], status="active")
        return None
    invoice = billing.draft(step, sub["id"], lines, "subscription_create", (step.now, step.now))
    _refuse_without_method(step, params, sub, invoice)
    _refuse_below_minimum(step, sub, invoice)
    if sub["status"] == "incomplete" and invoice["amount_due"] == 0:
        step.change(sub["id"], status="active")
    return invoice


def _first_lines(step: Step, params: asking.Create, sub: Body, item: Body, cycle: Cycle) -> list[Line]:
    if bodies.is_metered(item["price"]) and not flexible(sub):
        return [billing.nothing_used_yet(step, sub, item)]
    if not cycle.stub:
        return billing.period_lines(step, sub, item, free=sub["status"] == "trialing")
    if params.proration_behavior == "none":
        return []
    recurring = item["price"]["recurring"]
    end = item["current_period_end"]
    whole = (period_before(end, recurring["interval"], recurring["interval_count"]), end)
    return prorating.debit(step, sub, item, cycle.start, whole)


def _tell(step: Step, id_: str, invoice: Body | None) -> None:
    sub = step.get("subscription", id_)
    step.tell("customer.subscription.created", sub)
    step.announce("subscription.changed", sub)
    if invoice is not None:
        step.tell("invoice.created", step.get("invoice", invoice["id"]))
    if sub["status"] == "trialing":
        announce_trial_end(step, sub)


def _schedule(step: Step, params: asking.Create, id_: str) -> None:
    """What time will do to it; nothing is told."""
    if params.cancel_at is not None or params.cancel_at_period_end:
        step.change(id_, **canceling.asked(step, id_, params.cancel_at, params.cancel_at_period_end))
    sub = step.get("subscription", id_)
    next_renewal(step, sub)
    extras.next_collection(step, sub)
    if sub["status"] == "incomplete":
        due(step, id_, "expire", step.now + FIRST_PAYMENT_WITHIN)


def next_renewal(step: Step, sub: Body) -> None:
    at = min(item["current_period_end"] for item in bodies.items_of(sub))
    due(step, sub["id"], "renew", at)
    if days := step.settings["upcoming_days"]:
        due(step, sub["id"], "upcoming", at - days * DAY if at - days * DAY > step.now else None)


def announce_trial_end(step: Step, sub: Body) -> None:
    """Three days before, or at once for a shorter trial."""
    at = sub["trial_end"] - NOTICE
    if at <= step.now:
        step.tell("customer.subscription.trial_will_end", sub)
    else:
        due(step, sub["id"], "trial_will_end", at)


def _collect(step: Step, params: asking.Create, id_: str, invoice: str) -> None:
    sub = step.get("subscription", id_)
    if sub["collection_method"] == "send_invoice" and sub["status"] == "active":
        return  # it finalizes by itself after its hour
    if params.payment_behavior == "default_incomplete":
        collection.finalize(step, invoice)
        return
    collection.collect_now(step, invoice, off_session=params.off_session)
    refuse_if_unpaid(step, params.payment_behavior, invoice)


def refuse_if_unpaid(step: Step, behavior: str, invoice: str) -> None:
    """Where the caller asked for all or nothing, a failed payment takes the whole request back."""
    unpaid = step.get("invoice", invoice)["status"] == "open"
    if behavior == "error_if_incomplete" and unpaid:
        raise StripeError(402, "Your card was declined.", type="card_error", code="card_declined")


# What time does.


def trial_will_end(step: Step, sub: Body) -> None:
    if sub["status"] == "trialing":
        step.tell("customer.subscription.trial_will_end", sub)


def expire(step: Step, sub: Body) -> None:
    """The first payment did not come within 23 hours: its invoice is voided, and nothing brings it back."""
    if sub["status"] == "incomplete":
        canceling.expire(step, sub)
