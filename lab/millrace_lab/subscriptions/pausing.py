"""Pausing, in both of Stripe's ways, and going on.

`pause_collection` leaves the status and says what becomes of new invoices. The status `paused` stops
billing altogether: asked for at endive's own endpoint, or by a trial without a payment method, or by the
account's setting after the last failed payment. Sources: docs.stripe.com/billing/subscriptions/pause,
docs.stripe.com/billing/revenue-recovery/smart-retries, docs.stripe.com/api/subscriptions/resume.
"""

from __future__ import annotations

from millrace_lab.account import HOUR, Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.invoices import collection, items
from millrace_lab.invoices.lines import Line
from millrace_lab.periods import period_around, period_end
from millrace_lab.subscriptions import asking, billing, bodies, prorating
from millrace_lab.subscriptions.lifecycle import alive, change, due, refuse_unless_flexible, told

RESUMED_WITHIN = 23 * HOUR


def pause(step: Step, params: asking.Pause, id_: str) -> Body:
    """Stop now: unused time is given back and usage so far billed, later or on an invoice of its own."""
    sub = alive(step, id_)
    refuse_unless_flexible(sub, "Pausing a subscription")
    refuse_unless(
        sub["schedule"] is None, "Subscriptions with a schedule can't be paused. Release the schedule first."
    )
    refuse_unless(
        sub["status"] in ("active", "trialing", "past_due"),
        f"Only subscriptions that are active, trialing or past_due can be paused. Status: {sub['status']}.",
    )
    lines = [line for item in bodies.items_of(sub) for line in _settled(step, params.bill_for, sub, item)]
    for line in lines:
        items.add(step, sub["customer"], line, sub)
    invoice = _invoiced(step, sub) if lines and params.invoicing_behavior == "invoice" else None
    paused(step, id_, "pause_requested")
    if invoice is not None:
        step.tell("invoice.created", step.get("invoice", invoice))
        collection.collect_now(step, invoice)
    return step.get("subscription", id_)


def _settled(step: Step, bill_for: asking.BillFor, sub: Body, item: Body) -> list[Line]:
    lines: list[Line] = []
    if sub["status"] != "trialing" and bill_for.unused_time_from.type != "none":
        whole = bill_for.unused_time_from.type == "item_current_period_start"
        lines += prorating.credit(step, sub, item, item["current_period_start"] if whole else step.now)
    if bill_for.outstanding_usage_through.type == "now":
        lines += [line for line in billing.usage_lines(step, sub, item, step.now) if line.amount]
    return lines


def _invoiced(step: Step, sub: Body) -> str:
    invoice = billing.draft(step, sub["id"], [], "subscription_update", (bodies.period_of(sub)[0], step.now))
    return str(invoice["id"])


def paused(step: Step, id_: str, why: str) -> Body:
    """The status and its reason; nothing is billed from here on."""
    details = {"subscription": {"type": why}, "transitioned_at": step.now, "type": "subscription"}
    change(step, id_, status="paused", status_details={"paused": details})
    sub = step.get("subscription", id_)
    step.tell("customer.subscription.paused", sub)
    return sub


def resume(step: Step, params: asking.Resume, id_: str) -> Body:
    """Go on: with a new period from now, or in the cycle as it was; at once, or once that is paid."""
    sub = alive(step, id_)
    refuse_unless(
        sub["status"] == "paused",
        f"The subscription cannot be resumed because it is not paused. Its status is {sub['status']}.",
    )
    anchor = params.billing_cycle_anchor
    unchanged = anchor is not None and anchor.type == "unchanged"
    lines = _again_in_cycle(step, sub, params) if unchanged else _anew(step, sub)
    wait = params.payment_behavior == "resume_on_payment_success"
    if not lines and not items.pending(step, subscription=id_):
        return resumed(step, sub)
    reason = "subscription_update" if unchanged else "subscription_cycle"
    invoice = billing.draft(step, id_, lines, reason, (step.now, step.now))["id"]
    if wait:
        step.change(id_, _pending={"resume": invoice})
        told(step, sub)
        due(step, id_, "resume_expires", step.now + RESUMED_WITHIN)
    else:
        resumed(step, sub)
    step.tell("invoice.created", step.get("invoice", invoice))
    collection.collect_now(step, invoice)
    return step.get("subscription", id_)


def _anew(step: Step, sub: Body) -> list[Line]:
    """Every item begins a new period now, which becomes the anchor."""
    changed = [_from_now(step, item) for item in bodies.items_of(sub)]
    now = bodies.keep_items(step, sub["id"], changed)
    step.change(sub["id"], billing_cycle_anchor=step.now)
    return [line for item in bodies.items_of(now) for line in billing.period_lines(step, now, item)]


def _from_now(step: Step, item: Body) -> Body:
    recurring = item["price"]["recurring"]
    end = period_end(step.now, step.now, recurring["interval"], recurring["interval_count"])
    return {**item, "current_period_start": step.now, "current_period_end": end}


def _again_in_cycle(step: Step, sub: Body, params: asking.Resume) -> list[Line]:
    """The period that surrounds now, of which the rest is charged."""
    at = params.proration_date or step.now
    changed = []
    for item in bodies.items_of(sub):
        rhythm = (item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"])
        start, end = period_around(sub["billing_cycle_anchor"], step.now, *rhythm)
        changed.append({**item, "current_period_start": start, "current_period_end": end})
    now = bodies.keep_items(step, sub["id"], changed)
    if params.proration_behavior == "none":
        return []
    return [line for item in bodies.items_of(now) for line in prorating.debit(step, now, item, at)]


def resumed(step: Step, before: Body) -> Body:
    """Active again, told against what it was `before`."""
    id_ = before["id"]
    step.change(id_, status="active", status_details=None, _pending=None)
    sub = told(step, before)
    step.tell("customer.subscription.resumed", sub)
    due(step, id_, "renew", min(item["current_period_end"] for item in bodies.items_of(sub)))
    return sub


def resume_expires(step: Step, sub: Body) -> None:
    """What would have resumed it was not paid in time: that invoice is voided, the pause goes on."""
    waiting = (sub["_pending"] or {}).get("resume")
    if sub["status"] == "paused" and waiting is not None:
        step.change(sub["id"], _pending=None)
        billing.give_up(step, waiting)


def collect_again(step: Step, sub: Body) -> None:
    """`resumes_at` of a paused collection has come."""
    paused_ = sub["pause_collection"]
    if paused_ is not None and paused_["resumes_at"] is not None and paused_["resumes_at"] <= step.now:
        change(step, sub["id"], pause_collection=None)
