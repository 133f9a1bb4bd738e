"""An update that waits for its payment: the subscription stays as it was until then, for 23 hours at most.

Source: docs.stripe.com/billing/subscriptions/pending-updates. Hidden in `_pending`: the invoice that has to be
paid, and what the update will change.
"""

from __future__ import annotations

from millrace_lab.account import HOUR, Step
from millrace_lab.errors import Body
from millrace_lab.subscriptions import billing, bodies
from millrace_lab.subscriptions.lifecycle import change, due, told
from millrace_lab.subscriptions.starting import next_renewal

PAID_WITHIN = 23 * HOUR


def hold(step: Step, sub: Body) -> Body:
    """Show what waits, and until when."""
    waiting = sub["_pending"]
    fields = waiting["fields"]
    shown = {
        "billing_cycle_anchor": fields.get("billing_cycle_anchor"),
        "discount": None,
        "discounts": fields.get("discounts"),
        "expires_at": step.now + PAID_WITHIN,
        "metadata": None,
        "subscription_items": waiting["items"],
        "trial_end": fields.get("trial_end"),
        "trial_from_plan": None,
    }
    due(step, sub["id"], "pending_expires", shown["expires_at"])
    return change(step, sub["id"], pending_update=shown)


def apply(step: Step, sub: Body) -> None:
    """It is paid: the update comes into force."""
    waiting, id_ = sub["_pending"], sub["id"]
    step.change(id_, **waiting["fields"], pending_update=None, _pending=None)
    now = bodies.keep_items(step, id_, waiting["items"])
    billed = billing.debited(now, step.get("invoice", waiting["invoice"]))
    step.change(id_, _billed={**now["_billed"], **billed})
    due(step, id_, "pending_expires", None)
    after = told(step, sub)
    next_renewal(step, after)
    if sub["pending_update"] is not None:
        step.tell("customer.subscription.pending_update_applied", after)


def drop(step: Step, sub: Body) -> None:
    """It will not be: the invoice is voided if it still stands, and the subscription stays as it is."""
    after = change(step, sub["id"], pending_update=None, _pending=None)
    due(step, sub["id"], "pending_expires", None)
    step.tell("customer.subscription.pending_update_expired", after)
    billing.give_up(step, sub["_pending"]["invoice"])


def expires(step: Step, sub: Body) -> None:
    if (sub["_pending"] or {}).get("invoice"):
        drop(step, sub)
