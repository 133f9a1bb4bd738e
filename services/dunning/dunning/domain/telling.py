"""What each event tells about an invoice: facts, or the sentence that says why there are none."""

from __future__ import annotations

from datetime import UTC

from dunning.domain.decline import Decline, kind_of
from dunning.domain.facts import Attempt, End, Facts
from millrace.events import Event, stripe
from millrace.events.ours import DunningTimerDue

Told = Facts | str

CUSTOMER_GONE = "customer-gone"  # the timer that a deleted customer's open cases get, due at once

# Why Stripe says that it marked an invoice uncollectible: status_details.uncollectible.reason, open-ended.
ATTEMPTS_RAN_OUT = "max_payment_attempts"


def payment_failed(event: Event) -> Told:
    """An attempt failed; without a `next_payment_attempt` it was the last.

    Source: docs.stripe.com/billing/revenue-recovery.
    """
    invoice = stripe.object_of(event)
    if _is_first(invoice):
        return "a first invoice that was never paid is not dunned"
    number = stripe.whole(invoice, "attempt_count")
    return Facts(
        customer=_customer(invoice),
        subscription=stripe.subscription_of_invoice(invoice) or "",
        sold=stripe.sold_on_invoice(invoice),
        attempts=number,
        failed_at=event.time,
        latest=Attempt(number, event.time, event.id, final=_is_final(invoice)),
    )


def plan_changed(event: Event) -> Told:
    """Whether Stripe will try again. After a hard decline its retries pass without an attempt, so without a
    failure: only the invoice's own change tells that the last one has passed.
    """
    invoice = stripe.object_of(event)
    number = _count(invoice, "attempt_count")
    if _is_first(invoice):
        return "a first invoice is not dunned"
    if invoice.get("status") != "open" or number == 0:
        return "the change does not concern the retries of an open invoice"
    return Facts(
        customer=_customer(invoice),
        subscription=stripe.subscription_of_invoice(invoice) or "",
        attempts=number,
        latest=Attempt(number, event.time, event.id, final=_is_final(invoice)),
    )


def decline_learned(event: Event) -> Told:
    """Why the bank said no: only the payment intent carries it, and it may come before the failure."""
    intent = stripe.object_of(event)
    error = stripe.dig(intent, "last_payment_error")
    if not isinstance(error, dict):
        return "the payment intent does not say why it failed"
    words = {name: _text(error.get(name)) for name in ("code", "decline_code")}
    return Facts(
        customer=_customer(intent),
        decline=Decline(
            event.time,
            event.id,
            words["decline_code"] or words["code"] or "unknown",
            kind_of(
                codes=frozenset(filter(None, words.values())),
                advice=_text(error.get("advice_code")),
                network_advice=_text(error.get("network_advice_code")),
            ),
        ),
    )


def paid(event: Event) -> Told:
    """Nothing is owed any more. An invoice settled by credit notes alone was never paid: it is closed.

    A first invoice paid at its creation has attempt_count 0 (seen in recorded bodies).
    """
    invoice = stripe.object_of(event)
    if _is_first(invoice):
        return "a first invoice is not dunned"
    credited = _count(invoice, "pre_payment_credit_notes_amount") > 0 and _count(invoice, "amount_paid") == 0
    return _ended(event, End.CREDITED if credited else End.PAID)


def voided(event: Event) -> Told:
    """The invoice is void: it was never owed."""
    if _is_first(stripe.object_of(event)):
        return "a first invoice is not dunned"
    return _ended(event, End.VOIDED)


def marked_uncollectible(event: Event) -> Told:
    """Somebody gave the debt up; or Stripe did, its attempts having run out, and grace is kept as promised.

    Where collection was paused nothing has failed, so there is no case to end.
    """
    reason = _text(stripe.dig(stripe.object_of(event), "status_details.uncollectible.reason"))
    if reason == ATTEMPTS_RAN_OUT:
        return Facts(customer=_customer(stripe.object_of(event)), gave_up=True)
    return _ended(event, End.WRITTEN_OFF)


def credited(event: Event) -> Told:
    """A credit note ends the matter when it tells that nothing remains. It rarely does: the invoice in it is
    mostly an id, and `invoice.paid` follows.
    """
    note = stripe.object_of(event)
    if stripe.dig(note, "invoice.amount_remaining") != 0:
        return "the credit note does not tell that nothing remains to be paid"
    if _count(note, "pre_payment_amount") == 0:
        return "the credit note gives back what was paid; the invoice is settled already"
    return Facts(customer=_customer(note), end=End.CREDITED)


def timer_due(event: Event) -> Told:
    """A deadline has passed, and what that means depends on which deadline stands now; or the customer is gone."""
    timer = DunningTimerDue.of(event)
    if timer.timer == CUSTOMER_GONE:
        return Facts(customer=timer.customer, end=End.CUSTOMER_GONE)
    return Facts(customer=timer.customer, grace_ended=timer.due_at.astimezone(UTC))


def _ended(event: Event, end: End) -> Facts:
    invoice = stripe.object_of(event)
    return Facts(
        customer=_customer(invoice),
        subscription=stripe.subscription_of_invoice(invoice) or "",
        attempts=_count(invoice, "attempt_count"),
        end=end,
    )


def _is_first(invoice: stripe.Object) -> bool:
    return invoice.get("billing_reason") == "subscription_create"


def _is_final(invoice: stripe.Object) -> bool:
    """An invoice that is sent has no planned attempts at all: a missing one says nothing there."""
    return invoice.get("next_payment_attempt") is None and invoice.get("collection_method") != "send_invoice"


def _customer(obj: stripe.Object) -> str:
    return stripe.customer_of(obj) or ""


def _count(obj: stripe.Object, name: str) -> int:
    found = obj.get(name)
    return found if type(found) is int else 0


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""
