"""Ending: now, at a date, at the end of the period, by the portal, by the bank; and thinking again.

A scheduled end is spelled in two ways. The boolean `cancel_at_period_end` comes with the `cancel_at` that
follows from it; a portal cancellation in the flexible mode sets `cancel_at` alone. Sources:
docs.stripe.com/billing/subscriptions/cancel; stripe/stripe-node#2470; docs/lab/behaviours.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.invoices import closing, collection, items
from millrace_lab.invoices.lines import Line
from millrace_lab.subscriptions import asking, billing, bodies, prorating
from millrace_lab.subscriptions.lifecycle import ENDED, alive, change, due, flexible, quiet, told

Moment = int | str


def cancel(step: Step, params: asking.Cancel, id_: str) -> Body:
    """End it now; `prorate` gives the unused time back, `invoice_now` settles what waits and was used."""
    sub = alive(step, id_)
    lines = _settlement(step, sub, params.prorate, params.invoice_now)
    if params.invoice_now and (lines or items.pending(step, subscription=id_)):
        _final_invoice(step, sub, lines, (bodies.period_of(sub)[0], step.now), now=True)
    elif lines:
        for line in lines:
            items.add(step, sub["customer"], replace(line, subscription=None))
    details = params.cancellation_details
    step.change(
        id_, cancellation_details={**sub["cancellation_details"], **(details.changes() if details else {})}
    )
    if sub["status"] == "incomplete":
        return expire(step, step.get("subscription", id_))
    return end(step, id_, "cancellation_requested")


def _settlement(step: Step, sub: Body, prorate: bool, invoice_now: bool) -> list[Line]:
    lines = []
    for item in bodies.items_of(sub):
        if prorate and sub["status"] not in ("trialing", "incomplete"):
            lines += prorating.credit(step, sub, item, step.now)
        if invoice_now:
            lines += billing.usage_lines(step, sub, item, step.now)
    return lines


def _final_invoice(step: Step, sub: Body, lines: list[Line], period: tuple[int, int], *, now: bool) -> None:
    before = step.get("subscription", sub["id"])
    reason = "subscription_update" if now else "subscription_cycle"
    invoice = billing.draft(step, sub["id"], lines, reason, period)
    step.change(invoice["id"], _final=True)  # the end of the subscription does not stop it
    told(step, before)
    step.tell("invoice.created", step.get("invoice", invoice["id"]))
    if now:
        collection.collect_now(step, invoice["id"])


def end(step: Step, id_: str, reason: str | None) -> Body:
    """Over for good: told as `deleted`, what waits is dropped, and nothing open is collected any more."""
    sub = step.get("subscription", id_)
    details = sub["cancellation_details"]
    ended = step.change(
        id_,
        status="canceled",
        ended_at=step.now,
        canceled_at=sub["canceled_at"] or step.now,
        cancellation_details={**details, "reason": details["reason"] or reason},
        pause_collection=None,
        pending_update=None,
        status_details=None,
        schedule=None,
        _pending=None,
    )
    quiet(step, id_)
    step.tell("customer.subscription.deleted", ended)
    step.announce("subscription.changed", ended)
    step.announce("subscription.ended", sub)
    items.discard(step, subscription=id_)
    for invoice in step.of("invoice", id_):
        if invoice["status"] in ("draft", "open") and not invoice.get("_final"):
            closing.stop(step, invoice["id"])
    return step.get("subscription", id_)


def expire(step: Step, sub: Body) -> Body:
    """The first payment will never come: the invoice that asked for it is voided."""
    quiet(step, sub["id"])
    told_ = change(step, sub["id"], status="incomplete_expired", ended_at=step.now)
    step.announce("subscription.ended", sub)
    if sub["latest_invoice"]:
        billing.give_up(step, sub["latest_invoice"])
    return told_


# Scheduling the end.


def asked(
    step: Step, id_: str, cancel_at: Moment | None, at_period_end: bool | None, *, prorates: bool = True
) -> Body:
    """The fields of an end that was asked for, and its place on the agenda.

    Within the running period the unused rest is given back only if this request `prorates`; within a later
    one always. Source: docs.stripe.com/api/subscriptions/update (cancel_at).
    """
    sub = step.get("subscription", id_)
    ends = [int(item["current_period_end"]) for item in bodies.items_of(sub)]
    match cancel_at:
        case "min_period_end":
            at = min(ends)
        case "max_period_end":
            at = max(ends)
        case None:
            at = max(ends)
        case _:
            at = int(cancel_at)
    refuse_unless(at > step.now, "Subscription cannot be canceled in the past.", "cancel_at")
    due(step, id_, "cancel", at)
    return {
        "cancel_at": at,
        "cancel_at_period_end": bool(at_period_end),
        "canceled_at": step.now,
        "cancellation_details": {**sub["cancellation_details"], "reason": "cancellation_requested"},
        "_credited_at_end": prorates or at > min(ends),
    }


def kept(step: Step, id_: str) -> Body:
    """The fields of a subscription whose scheduled end was taken back."""
    due(step, id_, "cancel", None)
    return {
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": bodies.NOT_CANCELED,
    }


def in_portal(step: Step, id_: str, feedback: str | None = None, comment: str | None = None) -> Body:
    """A customer cancels in the portal: two updates a second apart, the second with what they said."""
    sub = alive(step, id_)
    refuse_unless(sub["cancel_at"] is None, "This subscription is already set to cancel.")
    change(step, id_, **asked(step, id_, None, not flexible(sub)))
    said = {**step.get("subscription", id_)["cancellation_details"], "comment": comment, "feedback": feedback}
    return change(step, id_, later=1, cancellation_details=said)


def customer_deleted(step: Step, customer: Body, **_: Any) -> None:
    """A deleted customer's subscriptions end at once. Source: docs.stripe.com/api/customers/delete."""
    for sub in step.of("subscription", customer["id"]):
        if sub["status"] not in ENDED:
            end(step, sub["id"], None)


def cancel_on_date(step: Step, sub: Body) -> None:
    """The date has come. At a period's end the renewal comes to the same second and asks `at_end` too."""
    if sub["cancel_at"] is not None and sub["cancel_at"] <= step.now and sub["ended_at"] is None:
        at_end(step, sub)


def at_end(step: Step, sub: Body) -> None:
    """End at a scheduled date: usage and waiting items are invoiced; time paid beyond it is given back."""
    lines = []
    for item in bodies.items_of(sub):
        if sub["status"] in ("active", "past_due"):
            lines += billing.usage_lines(step, sub, item, step.now)
            lines += prorating.credit(step, sub, item, step.now) if sub.get("_credited_at_end", True) else []
    if lines or items.pending(step, subscription=sub["id"]):
        _final_invoice(step, sub, lines, (bodies.period_of(sub)[0], step.now), now=False)
    end(step, sub["id"], None)


def refuse_dates(sub: Body, params: asking.Update) -> None:
    """Two ends at once, or one beside the schedule that decides it."""
    refuse_unless(
        params.cancel_at is None or not params.cancel_at_period_end,
        "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
    )
    refuse_unless(
        sub["schedule"] is None or not {"cancel_at", "cancel_at_period_end"} & params.given,
        f"The subscription is managed by the subscription schedule `{sub['schedule']}`, and updating any "
        "cancelation behavior directly is not allowed. Please update the schedule instead.",
    )
