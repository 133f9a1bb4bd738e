"""The ledger reads billing and payment events and keeps one book per family of facts.

A family is what must see each other: an invoice with its payments and credit notes; a charge; a refund.
Facts come in any order, so nothing waits behind a parked event: what depends on a fact waits for that fact.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger import metrics, store
from ledger.domain import charge, credit_note, invoice, payment, refund
from ledger.domain.journal import Book, Conflict, Nothing, Posting, Rule, Wait, enter
from millrace.consumer import Apply, Decision, Fold, applied, noop, waiting
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.ours import LedgerPosted
from millrace.events.stripe import customer_of, id_of, object_of, text

RULES: Mapping[str, Rule] = {
    "stripe.invoice.finalized": invoice.finalized,
    "stripe.invoice.voided": invoice.voided,
    "stripe.invoice.marked_uncollectible": invoice.marked_uncollectible,
    "stripe.invoice.paid": payment.invoice_paid,
    "stripe.invoice.payment_succeeded": payment.invoice_paid,
    "stripe.invoice_payment.paid": payment.invoice_payment_paid,
    "stripe.credit_note.created": credit_note.created,
    "stripe.credit_note.voided": credit_note.voided,
    "stripe.charge.succeeded": charge.charged,
    "stripe.charge.captured": charge.charged,
    "stripe.charge.updated": charge.charged,
    "stripe.charge.refunded": refund.told_by_refunds,
    "stripe.charge.refund.updated": refund.refunded,
    "stripe.refund.created": refund.refunded,
    "stripe.refund.updated": refund.refunded,
    "stripe.refund.failed": refund.refunded,
}


def family(event: Event) -> str:
    """The family of facts that an event belongs to. Raises Poison when its object names none."""
    obj = object_of(event)
    if obj.get("object") not in ("invoice_payment", "credit_note"):
        return text(obj, "id")
    found = id_of(obj.get("invoice"))
    if found is None:
        raise Poison(f"{obj['object']}.invoice is missing")
    return found


def judged(rule: Rule) -> Apply[Book, None]:
    """A rule as the runtime applies it: what it tells is entered once, and published."""

    def apply(known: Book | None, event: Event, _: None) -> Decision[Book]:
        try:
            return _decided(rule, known or Book(), event)
        except Conflict:
            metrics.FACT_CONFLICTS.inc()
            raise

    return apply


def _decided(rule: Rule, book: Book, event: Event) -> Decision[Book]:
    told = rule(book, event)
    if isinstance(told, Wait):
        return waiting(told.reason)
    if isinstance(told, Nothing):
        return noop(told.reason)
    after = enter(book, told)
    if not after.added:
        return noop(f"already posted: {', '.join(one.fact for one in told)}")
    names = ", ".join(one.fact for one in after.added)
    return applied(after, f"posted {names}", *(_published(one, event) for one in after.added))


def _published(one: Posting, event: Event) -> LedgerPosted:
    return LedgerPosted(
        account=event.account,
        customer=customer_of(object_of(event)) or "",
        fact=one.fact,
        kind=one.kind,
        effective_at=one.effective_at,
        entries=[
            {
                "account": str(int(line.account)),
                "currency": line.money.currency,
                "amount_minor": line.money.amount_minor,
                **({"invoice": line.tags.invoice} if line.tags.invoice else {}),
            }
            for line in one.lines
        ],
        cause=event.id,
    )


def fold() -> Fold[Book, None]:
    """The ledger's consumer."""
    return Fold(
        "ledger",
        apply={type: judged(rule) for type, rule in RULES.items()},
        key=family,
        load=store.load,
        save=store.save,
        rules=lambda: None,
        ordered=False,
    )
