"""From a draft to its end: finalising, charging, retrying.

draft → open → paid | uncollectible | void;  uncollectible → paid | void.

The payment itself happens in `payments`; what became of it is heard in `settling`, whoever asked for it:
the schedule, a person at the API, or the customer on the page.
Source: docs.stripe.com/invoicing/integration/workflow-transitions; docs/lab/behaviours.md.
"""

from __future__ import annotations

from millrace_lab.account import DAY, HOUR, Step, refuse_unless
from millrace_lab.customers import paying
from millrace_lab.errors import Body, StripeError
from millrace_lab.invoices import drafting, dunning, finalizing, invoice_payments, settling
from millrace_lab.payments import charging, declines

WARNED_BEFORE = 3 * DAY  # `invoice.will_be_due`: days that a person sets in the dashboard; ours are three


def finalize(step: Step, id_: str, *, later: bool = False) -> Body:
    """Number the invoice and open it; one that asks for nothing is paid at once.

    `later` leaves the first attempt to the agenda, an hour from now. Raises StripeError when automatic tax
    does not know the place: a larger request is refused as a whole, `finalize_alone` keeps the failure.
    """
    before = step.get("invoice", id_)
    refuse_unless(
        before["status"] == "draft",
        "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
        code="invoice_not_editable",
    )
    finalizing.locate(step, before)
    invoice = finalizing.opened(step, id_)
    if invoice["status"] == "open":
        invoice = _expected(step, invoice, later)
    step.tell("invoice.finalized", invoice)
    step.updated("invoice.updated", before)
    step.announce("invoice.finalized", invoice)
    if invoice["status"] == "paid":
        settling.tell_paid(step, id_, by_payment=True)
    return step.get("invoice", id_)


def finalize_alone(step: Step, id_: str, *, later: bool = False) -> Body:
    """Finalize as a request of its own: that it failed is told and stays on the draft."""
    try:
        return finalize(step, id_, later=later)
    except StripeError as error:
        error.keep = step.get("invoice", id_)["last_finalization_error"] is not None
        raise


def _expected(step: Step, invoice: Body, later: bool) -> Body:
    """The payment that is expected now, and what time will do about it."""
    invoice = invoice_payments.ask(step, invoice)
    if invoice["collection_method"] == "send_invoice":
        step.due(invoice["id"], "invoice.overdue", invoice["due_date"])
        if invoice["due_date"] - WARNED_BEFORE > step.now:
            step.due(invoice["id"], "invoice.will_be_due", invoice["due_date"] - WARNED_BEFORE)
        return step.change(invoice["id"], next_payment_attempt=None)
    at = step.now + HOUR if later and invoice["auto_advance"] else None
    step.due(invoice["id"], "invoice.retry", at)
    return step.change(invoice["id"], next_payment_attempt=at)


def collect_now(step: Step, id_: str, *, off_session: bool = True) -> Body:
    """Finalize and try at once: first invoices, and those that a change of plan asks for immediately.

    Where time asks for it and it cannot be finalized, it stays a draft that says why.
    """
    try:
        invoice = finalize(step, id_)
    except StripeError:
        if step.request["id"] is not None:
            raise
        return step.get("invoice", id_)
    if invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically":
        attempt(step, id_, by_plan=True, off_session=off_session)
    return step.get("invoice", id_)


def pay(step: Step, id_: str, payment_method: str | None = None, *, off_session: bool = False) -> Body:
    """Try once outside the schedule, as a person does. A decline is not raised: look at the status."""
    if step.get("invoice", id_)["status"] == "draft":
        finalize_alone(step, id_)
    if step.get("invoice", id_)["status"] in ("open", "uncollectible"):
        attempt(step, id_, by_plan=False, payment_method=payment_method, off_session=off_session)
    return step.get("invoice", id_)


def attempt(
    step: Step, id_: str, *, by_plan: bool, payment_method: str | None = None, off_session: bool = True
) -> None:
    """Charge what remains, once. `by_plan`: it counts as one of the schedule's own tries."""
    invoice = step.change(id_, _trying="plan" if by_plan else "hand")
    method = payment_method or method_of(step, invoice)
    if method is None:
        settling.failed(step, id_, None)
    else:
        charging.confirm(step, invoice["_payment_intent"], method, off_session=off_session)


def method_of(step: Step, invoice: Body) -> str | None:
    """The invoice's own method, else the chain from its subscription to its customer."""
    subscription = step.find(invoice["_subscription"]) if invoice["_subscription"] else None
    chain = paying.method_for(step, invoice["customer"], subscription)
    own: str | None = invoice["default_payment_method"]
    return own or chain


def finalize_due(step: Step, invoice: Body) -> None:
    """The draft's window is over; while its creation is not acknowledged it waits on, up to 72 hours."""
    id_ = invoice["id"]
    if invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    if drafting.waits(step, invoice):
        step.due(id_, "invoice.finalize", invoice["created"] + drafting.ACKNOWLEDGED_WITHIN)
        return
    try:
        opened = finalize(step, id_)
    except StripeError:
        return  # it is told and stays on the draft
    if opened["status"] != "open":
        return
    if opened["collection_method"] == "send_invoice":
        step.tell("invoice.sent", opened)
    else:
        attempt(step, id_, by_plan=True)


def retry(step: Step, invoice: Body) -> None:
    """A scheduled try. After a hard decline it waits for another payment method, but it still counts.

    Source: the description of `attempt_count` in docs.stripe.com/api/invoices/object.
    """
    if invoice["status"] != "open" or not invoice["auto_advance"]:
        return
    if _on_its_way(step, invoice):
        _put_off(step, invoice)
        return
    if not _hopeless(step, invoice):
        attempt(step, invoice["id"], by_plan=True)
        return
    following = dunning.next_retry(step, invoice)
    step.change(
        invoice["id"],
        attempt_count=invoice["attempt_count"] + 1,
        _retries=invoice["_retries"] + 1,
        next_payment_attempt=following,
    )
    step.due(invoice["id"], "invoice.retry", following)
    step.updated("invoice.updated", invoice)
    if following is None:
        settling.exhausted(step, invoice["id"])


def _on_its_way(step: Step, invoice: Body) -> bool:
    """A bank debit takes days; nothing else is tried meanwhile."""
    return (step.find(invoice["_payment_intent"] or "") or {}).get("status") == "processing"


def _put_off(step: Step, invoice: Body) -> None:
    step.change(invoice["id"], next_payment_attempt=step.now + DAY)
    step.due(invoice["id"], "invoice.retry", step.now + DAY)
    step.updated("invoice.updated", invoice)


def _hopeless(step: Step, invoice: Body) -> bool:
    intent = step.find(invoice["_payment_intent"] or "") or {}
    error = intent.get("last_payment_error") or {}
    refused_with = (error.get("payment_method") or {}).get("id")
    hard = error.get("decline_code") in declines.HARD
    return hard and refused_with == method_of(step, invoice)


def overdue(step: Step, invoice: Body) -> None:
    if invoice["status"] == "open":
        step.tell("invoice.overdue", invoice)
        step.announce("invoice.overdue", invoice)


def will_be_due(step: Step, invoice: Body) -> None:
    if invoice["status"] == "open":
        step.tell("invoice.will_be_due", invoice)
