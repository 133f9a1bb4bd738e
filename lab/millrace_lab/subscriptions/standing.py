"""How the fate of an invoice moves its subscription. Rooms below announce; nothing here is asked for by a caller.

Source: docs.stripe.com/billing/subscriptions/overview.
"""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.invoices import closing, dunning
from millrace_lab.subscriptions import billing, canceling, pausing, pending
from millrace_lab.subscriptions.lifecycle import ENDED, change, due, flexible


def _subscription(step: Step, invoice: Body) -> Body | None:
    """The subscription that an invoice is for, while it lives."""
    id_ = invoice["_subscription"]
    sub = step.find(id_) if id_ else None
    return sub if sub is not None and sub["status"] not in ENDED else None


def finalized(step: Step, invoice: Body, **_: Any) -> None:
    """While collection is paused, an invoice is given up the moment it is final."""
    sub = _subscription(step, invoice)
    if sub is None or sub["pause_collection"] is None or invoice["status"] != "open":
        return
    match sub["pause_collection"]["behavior"]:
        case "void":
            billing.give_up(step, invoice["id"])
        case "mark_uncollectible":
            closing.write_off(step, invoice["id"], "subscription_paused")


def paid(step: Step, invoice: Body, **_: Any) -> None:
    """The first payment activates; a payment of the latest invoice ends all arrears."""
    sub = _subscription(step, invoice)
    if sub is None:
        return
    waiting = sub["_pending"] or {}
    if waiting.get("resume") == invoice["id"]:
        pausing.resumed(step, sub)
    elif waiting.get("invoice") == invoice["id"]:
        pending.apply(step, sub)
    elif sub["status"] == "incomplete":
        due(step, sub["id"], "expire", None)
        change(step, sub["id"], status="active", **_method_kept(step, sub, invoice))
    else:
        _in_good_standing(step, sub, invoice)


def _method_kept(step: Step, sub: Body, invoice: Body) -> Body:
    """Where it was asked for, what paid the first invoice becomes the subscription's own method."""
    if sub["payment_settings"]["save_default_payment_method"] != "on_subscription":
        return {}
    intent = step.find(invoice["_payment_intent"]) if invoice["_payment_intent"] else None
    return {"default_payment_method": intent["payment_method"]} if intent else {}


def _in_good_standing(step: Step, sub: Body, invoice: Body) -> None:
    if sub["status"] in ("past_due", "unpaid") and sub["latest_invoice"] == invoice["id"]:
        change(step, sub["id"], status="active")


def failed(step: Step, invoice: Body, **_: Any) -> None:
    """A payment failed or waits for the customer: what was active is past due."""
    sub = _subscription(step, invoice)
    if sub is None or (sub["_pending"] or {}).get("invoice") == invoice["id"]:
        return
    if sub["status"] == "active":
        change(step, sub["id"], status="past_due")


def processing(step: Step, invoice: Body, **_: Any) -> None:
    """A bank debit takes days; the subscription that it is to pay for is given meanwhile."""
    sub = _subscription(step, invoice)
    if sub is not None and sub["status"] == "incomplete":
        due(step, sub["id"], "expire", None)
        change(step, sub["id"], status="active")


def exhausted(step: Step, invoice: Body, **_: Any) -> None:
    """No further attempt is planned: the end that the account's settings choose."""
    sub = _subscription(step, invoice)
    if sub is None or sub["status"] not in ("active", "past_due"):
        return
    match dunning.plan(step, sub["id"]).subscription:
        case "canceled":
            canceling.end(step, sub["id"], "payment_failed")
        case "unpaid":
            change(step, sub["id"], status="unpaid")
        case "paused" if flexible(sub):
            pausing.paused(step, sub["id"], "final_payment_failure")


def given_up(step: Step, invoice: Body, **_: Any) -> None:
    """Voided: a subscription that never began ends; of the latest invoice nothing is owed any more."""
    sub = _subscription(step, invoice)
    if sub is None:
        return
    if sub["status"] == "incomplete":
        canceling.expire(step, sub)
    elif (sub["_pending"] or {}).get("invoice") == invoice["id"]:
        pending.drop(step, sub)
    else:
        _in_good_standing(step, sub, invoice)


def method_detached(step: Step, method: Body, **_: Any) -> None:
    """A payment method that is gone is no subscription's own any more; the customer's default is next."""
    for sub in step.of("subscription", method["customer"]) if method["customer"] else ():
        if sub["status"] not in ENDED and sub["default_payment_method"] == method["id"]:
            change(step, sub["id"], default_payment_method=None)


def overdue(step: Step, invoice: Body, **_: Any) -> None:
    """An invoice that was sent is not paid by its day."""
    failed(step, invoice)
