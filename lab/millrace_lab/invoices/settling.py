"""What became of a payment: the invoice is paid, in part or in full, or the payment failed.

These are the invoices' reactions to what `payments` announces about an intent.
"""

from __future__ import annotations

from millrace_lab.account import Step
from millrace_lab.customers import balance
from millrace_lab.errors import Body
from millrace_lab.invoices import closing, dunning, invoice_payments


def intent_succeeded(step: Step, intent: Body, **_: object) -> None:
    """The money came in: every invoice payment that waits for this intent is paid."""
    for payment in step.of("invoice_payment", intent["id"]):
        if payment["status"] == "open":
            received(step, payment, intent["amount_received"], intent["latest_charge"])


def intent_failed(step: Step, intent: Body, **_: object) -> None:
    if (invoice := _expecting(step, intent)) is not None:
        failed(step, invoice["id"], intent)


def intent_processing(step: Step, intent: Body, **_: object) -> None:
    """A bank debit takes days: the attempt is made, and its end will be heard later."""
    if (invoice := _expecting(step, intent)) is not None:
        step.change(invoice["id"], attempted=True)
        step.updated("invoice.updated", invoice)
        step.announce("invoice.payment_processing", step.get("invoice", invoice["id"]))


def intent_canceled(step: Step, intent: Body, **_: object) -> None:
    """A payment that was attached to an invoice will not come."""
    for payment in step.of("invoice_payment", intent["id"]):
        if payment["status"] == "open":
            invoice_payments.cancel(step, payment)


def _expecting(step: Step, intent: Body) -> Body | None:
    """The invoice whose default payment is this intent."""
    for payment in step.of("invoice_payment", intent["id"]):
        if payment["is_default"] and payment["status"] == "open":
            return step.get("invoice", payment["invoice"])
    return None


def received(step: Step, payment: Body, amount: int, charge: str | None) -> None:
    """Book one payment. What is too much is a credit on the customer's balance.

    Source: docs.stripe.com/invoicing/overpayments.
    """
    before = step.get("invoice", payment["invoice"])
    used = min(amount, before["amount_remaining"])
    invoice_payments.settle(step, payment, amount)
    changed = step.change(
        before["id"],
        amount_paid=before["amount_paid"] + used,
        amount_remaining=before["amount_remaining"] - used,
        amount_overpaid=before["amount_overpaid"] + amount - used,
        _charge=charge,
    )
    if changed["amount_remaining"] == 0:
        paid_up(step, before, by_payment=True)
    else:
        invoice_payments.follow(step, changed)
        step.updated("invoice.updated", before)
    if amount > used:
        _overpaid(step, before, amount - used)


def _overpaid(step: Step, invoice: Body, amount: int) -> None:
    balance.move(
        step, invoice["customer"], -amount, invoice["currency"], "invoice_overpaid", invoice=invoice["id"]
    )
    step.tell("invoice.overpaid", step.get("invoice", invoice["id"]))


def paid_up(step: Step, before: Body, *, by_payment: bool) -> Body:
    """Nothing remains. `by_payment`: not by a credit note, and not outside Stripe.

    A first invoice paid at its creation was attempted and yet counts no attempt. Source: docs/lab/behaviours.md.
    """
    id_ = before["id"]
    now = step.get("invoice", id_)
    counts = now["_trying"] == "plan" and now["billing_reason"] != "subscription_create"
    invoice_payments.release(step, now)
    closing.rest(step, id_)
    step.change(
        id_,
        attempted=True if by_payment else now["attempted"],
        attempt_count=now["attempt_count"] + (by_payment and counts),
        status="paid",
        status_details=None,
        status_transitions={**now["status_transitions"], "paid_at": step.now},
        _trying=None,
    )
    step.updated("invoice.updated", before)
    tell_paid(step, id_, by_payment=by_payment)
    return step.get("invoice", id_)


def tell_paid(step: Step, id_: str, *, by_payment: bool) -> None:
    """`invoice.paid` is told in any case, `invoice.payment_succeeded` of payments only."""
    invoice = step.get("invoice", id_)
    step.tell("invoice.paid", invoice)
    if by_payment:
        step.tell("invoice.payment_succeeded", invoice)
    _delinquent(step, invoice["customer"], False)
    step.announce("invoice.paid", invoice)


def failed(step: Step, id_: str, intent: Body | None) -> None:
    """The payment failed, or there was nothing to pay with.

    Any attempt counts as the first one; afterwards only the schedule's own. The failure of a first invoice
    of a subscription starts no schedule: the customer has to act.
    """
    before = step.get("invoice", id_)
    on_schedule = _on_schedule(before)
    following = _count_failure(step, before, on_schedule, intent)
    told = step.updated("invoice.updated", before)
    needs_the_customer = _needs_the_customer(intent)
    if needs_the_customer:
        step.tell("invoice.payment_action_required", told)
    step.tell("invoice.payment_failed", told)
    _delinquent(step, told["customer"], True)
    if needs_the_customer:
        step.announce("invoice.payment_action_required", told)
    step.announce("invoice.payment_failed", told)
    if on_schedule and following is None:
        exhausted(step, id_)


def _on_schedule(invoice: Body) -> bool:
    """Whether the attempt that is being made is one of the schedule's."""
    first = invoice["billing_reason"] == "subscription_create"
    return bool(invoice["_trying"] == "plan" and invoice["auto_advance"] and not first)


def _count_failure(step: Step, invoice: Body, on_schedule: bool, intent: Body | None) -> int | None:
    """Count the attempt and put the next one on the agenda. Returns when that is; tells nothing."""
    counts = invoice["_trying"] == "plan" or invoice["attempt_count"] == 0
    following = dunning.next_retry(step, invoice) if on_schedule else invoice["next_payment_attempt"]
    step.due(invoice["id"], "invoice.retry", following)
    step.change(
        invoice["id"],
        attempted=True,
        attempt_count=invoice["attempt_count"] + counts,
        auto_advance=invoice["auto_advance"] and (following is not None or not on_schedule),
        next_payment_attempt=following,
        _retries=invoice["_retries"] + on_schedule,
        _trying=None,
        _charge=intent["latest_charge"] if intent else invoice["_charge"],
    )
    return following


def exhausted(step: Step, id_: str) -> None:
    """Every try is spent: the invoice stays open or is written off, then its subscription ends its way."""
    invoice = step.get("invoice", id_)
    if (
        invoice["status"] == "open"
        and dunning.plan(step, invoice["_subscription"]).invoice == "uncollectible"
    ):
        closing.write_off(step, id_, "max_payment_attempts")
    step.announce("invoice.exhausted", step.get("invoice", id_))


def _needs_the_customer(intent: Body | None) -> bool:
    if intent is None:
        return False
    error = intent.get("last_payment_error") or {}
    return intent["status"] == "requires_action" or error.get("decline_code") == "authentication_required"


def _delinquent(step: Step, customer: str, is_so: bool) -> None:
    before = step.get("customer", customer)
    if before["delinquent"] != is_so:
        step.change(customer, delinquent=is_so)
        step.updated("customer.updated", before)
