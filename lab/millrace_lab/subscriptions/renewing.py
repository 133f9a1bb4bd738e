"""A period ends: usage is billed, the next period begins and is billed in advance, a trial turns into money.

The renewal's invoice stays a draft for an hour, while the subscription is already in its new period.
Source: docs.stripe.com/billing/subscriptions/billing-cycle, docs.stripe.com/billing/subscriptions/trials.
"""

from __future__ import annotations

from millrace_lab.account import Step
from millrace_lab.customers import paying
from millrace_lab.errors import Body
from millrace_lab.periods import period_end
from millrace_lab.subscriptions import billing, bodies, canceling, pausing, schedules
from millrace_lab.subscriptions.lifecycle import ENDED, told
from millrace_lab.subscriptions.starting import next_renewal

RENEWED = ("active", "trialing", "past_due", "unpaid")


def renew(step: Step, sub: Body) -> None:
    """Whatever ends now begins again, unless the subscription itself ends now."""
    if sub["status"] not in RENEWED:
        return
    if sub["schedule"] is not None:  # a phase that begins now is entered before its period is billed
        schedules.turn(step, step.get("subscription_schedule", sub["schedule"]))
        sub = step.get("subscription", sub["id"])
        if sub["status"] in ENDED:
            return
    if sub["cancel_at"] is not None and sub["cancel_at"] <= step.now:
        canceling.at_end(step, sub)
        return
    if sub["status"] == "trialing" and _nothing_to_charge(step, sub):
        return
    begin(step, sub)


def _nothing_to_charge(step: Step, sub: Body) -> bool:
    """A trial that ends without a payment method ends as its settings say. Whether that was done."""
    if sub["collection_method"] == "send_invoice" or paying.method_for(step, sub["customer"], sub):
        return False
    match sub["trial_settings"]["end_behavior"]["missing_payment_method"]:
        case "cancel":
            canceling.end(step, sub["id"], None)
        case "pause":
            pausing.paused(step, sub["id"], "trial_end_without_payment_method")
        case _:
            return False
    return True


def begin(step: Step, sub: Body) -> None:
    """The next period of every item whose period is over, with the draft that bills it."""
    before = step.get("subscription", sub["id"])
    over = [item for item in bodies.items_of(before) if item["current_period_end"] <= step.now]
    if not over:
        return
    period = (over[0]["current_period_start"], over[0]["current_period_end"])
    used = [
        line for item in over for line in billing.usage_lines(step, before, item, item["current_period_end"])
    ]
    if before["status"] == "trialing":
        step.change(sub["id"], status="active")
    now = _moved_on(step, before, {item["id"] for item in over})
    ahead = [
        line
        for item in bodies.items_of(now)
        if item["id"] in {each["id"] for each in over}
        for line in billing.period_lines(step, now, item)
    ]
    invoice = billing.draft(step, sub["id"], [*used, *ahead], "subscription_cycle", period, hold=held(now))
    told(step, before)
    step.tell("invoice.created", step.get("invoice", invoice["id"]))
    next_renewal(step, now)


def held(sub: Body) -> bool:
    """Whether new invoices stay drafts: of unpaid subscriptions, and while collection is paused that way."""
    paused = sub["pause_collection"] or {}
    return bool(sub["status"] == "unpaid" or paused.get("behavior") == "keep_as_draft")


def _moved_on(step: Step, sub: Body, over: set[str]) -> Body:
    items = [next_period(sub, item) if item["id"] in over else item for item in bodies.items_of(sub)]
    return bodies.keep_items(step, sub["id"], items)


def next_period(sub: Body, item: Body) -> Body:
    """The item in the period that follows."""
    recurring = item["price"]["recurring"]
    start = item["current_period_end"]
    end = period_end(sub["billing_cycle_anchor"], start, recurring["interval"], recurring["interval_count"])
    return {**item, "current_period_start": start, "current_period_end": end}
