"""What pays an invoice: Payment clearing (or Out-of-band clearing) → Receivable.

Since basil every payment is an object of its own, `invoice_payment.paid`. Before it, the invoice itself names
the one charge that paid it. Both name the payment intent, so the cash side finds either.
"""

from __future__ import annotations

from ledger.domain.chart import Account
from ledger.domain.invoice import settled
from ledger.domain.journal import Book, Nothing, Posting, Tags, Told, credit, debit, posting
from ledger.domain.readings import currency_of, moment, whole_or_zero
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import Object, customer_of, dig, id_of, object_of, paying_object, text, whole
from millrace.money import Money


def invoice_payment_paid(book: Book, event: Event) -> Told:
    """One payment of an invoice. Source: docs.stripe.com/changelog/basil/2025-03-31."""
    payment = object_of(event)
    id, by = text(payment, "id"), paying_object(payment)
    invoice = id_of(payment.get("invoice"))
    if by is None or invoice is None:
        raise Poison(f"invoice_payment.{'payment' if by is None else 'invoice'} names nothing")
    if whole(payment, "amount_paid") == 0:
        return Nothing("nothing was paid with it")
    if other := _told_by(book, by, f"inpay:{id}:paid"):
        return Nothing(f"the payment {by} is posted already as {other}")
    outside = dig(payment, "payment.type") == "payment_record"
    paid = _payment(
        f"inpay:{id}:paid",
        Account.OUT_OF_BAND_CLEARING if outside else Account.PAYMENT_CLEARING,
        Money(whole(payment, "amount_paid"), currency_of(payment)),
        invoice,
        by,
        payment,
        event,
    )
    return settled(book, [paid])


def invoice_paid(book: Book, event: Event) -> Told:
    """The invoice is settled: what that says about payments depends on the API version that rendered it."""
    invoice = object_of(event)
    outside = _outside(invoice)
    if outside:
        return settled(book, [_out_of_band(invoice, outside, event)])
    if "charge" not in invoice:
        return Nothing("its payments are told by invoice_payment.paid")
    if id_of(invoice.get("charge")) is None or whole(invoice, "amount_paid") == 0:
        return Nothing("nothing was charged for it")
    return _paid_by_charge(book, invoice, event)


def _paid_by_charge(book: Book, invoice: Object, event: Event) -> Told:
    """The shape before basil: the invoice names its charge."""
    id, by = text(invoice, "id"), paying_object(invoice)
    fact = f"invoice:{id}:charge:{id_of(invoice['charge'])}"
    if by is None:
        raise Poison("invoice.charge names nothing")
    if other := _told_by(book, by, fact):
        return Nothing(f"the payment {by} is posted already as {other}")
    amount = Money(whole(invoice, "amount_paid"), currency_of(invoice))
    return settled(book, [_payment(fact, Account.PAYMENT_CLEARING, amount, id, by, invoice, event)])


def _payment(
    fact: str, clearing: Account, amount: Money, invoice: str, by: str, told_in: Object, event: Event
) -> Posting:
    return posting(
        fact,
        "invoice.payment",
        moment(told_in, event, "paid_at"),
        [
            debit(clearing, amount, Tags(invoice=invoice, open_item=by)),
            credit(Account.RECEIVABLE, amount, Tags(invoice=invoice)),
        ],
    )


def _told_by(book: Book, by: str, fact: str) -> str | None:
    """Another fact that is the same payment: one account may be rendered in two API versions."""
    same = (p.fact for p in book.of("invoice.payment") if p.fact != fact and p.lines[0].tags.open_item == by)
    return next(same, None)


def _outside(invoice: Object) -> int:
    """What was paid outside Stripe: since dahlia a field of its own, before basil a flag on the whole."""
    if amount := whole_or_zero(invoice, "amount_paid_off_stripe"):
        return amount
    return whole(invoice, "amount_due") if invoice.get("paid_out_of_band") is True else 0


def _out_of_band(invoice: Object, outside: int, event: Event) -> Posting:
    id, amount = text(invoice, "id"), Money(outside, currency_of(invoice))
    customer = customer_of(invoice)
    return posting(
        f"invoice:{id}:oob",
        "invoice.paid_out_of_band",
        moment(invoice, event, "paid_at"),
        [
            debit(Account.OUT_OF_BAND_CLEARING, amount, Tags(customer, id, open_item=id)),
            credit(Account.RECEIVABLE, amount, Tags(customer, id)),
        ],
    )
