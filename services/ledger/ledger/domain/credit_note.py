"""A credit note: Credit notes or Deferred revenue, and Tax payable, against what the customer gets for it.

Before payment it lowers the claim; after payment it is a refund (which the refund's own posting meets in
Refunds), customer balance, or money owed outside Stripe. One note can be all of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ledger.domain.chart import Account
from ledger.domain.invoice import settled
from ledger.domain.journal import Book, Line, Posting, Tags, Told, Wait, credit, debit, posting, reversal
from ledger.domain.readings import currency_of, moment, net_of, whole_or_zero
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import Object, customer_of, id_of, listed, object_of, taxes_of, text, whole
from millrace.money import Money


def created(book: Book, event: Event) -> Told:
    """What is credited, and how. It needs the claim: a line's credit comes off where the line was posted."""
    note = object_of(event)
    invoice = id_of(note.get("invoice"))
    claim = book.facts.get(f"invoice:{invoice}:finalized")
    if claim is None:
        return Wait(f"invoice {invoice} is not finalized here yet")
    taken, given = list(_taken(note, claim)), list(_given(note))
    if (stated := sum(line.money.amount_minor for line in taken)) != whole(note, "total"):
        raise Poison(f"credit_note.total is {note['total']}, but its lines and taxes come to {stated}")
    made = posting(
        f"cn:{text(note, 'id')}:created",
        "credit_note.created",
        moment(note, event, "created"),
        [*taken, *given],
    )
    return settled(book, [made])


def voided(book: Book, event: Event) -> Told:
    """The exact reversal."""
    note = object_of(event)
    made = book.facts.get(f"cn:{text(note, 'id')}:created")
    if made is None:
        return Wait(f"credit note {note['id']} is not here yet")
    undone = posting(
        f"cn:{note['id']}:voided",
        "credit_note.voided",
        moment(note, event, "voided_at"),
        reversal(made.lines),
        reverses=made.fact,
    )
    return settled(book, [undone])


def _taken(note: Object, claim: Posting) -> Iterator[Line]:
    """Debits: what is no longer earned, line by line, and its tax."""
    currency, tags = currency_of(note), _tags(note)
    deferred = {line.tags.line: line.tags for line in claim.lines if line.account is Account.DEFERRED_REVENUE}
    for line in listed(note, "lines"):
        amount, billed = Money(net_of(line), currency), id_of(line.get("invoice_line_item"))
        if billed in deferred:
            yield debit(Account.DEFERRED_REVENUE, amount, deferred[billed])
        else:
            yield debit(Account.CREDIT_NOTES, amount, replace(tags, line=billed))
    if shipping := whole_or_zero(note, "shipping_cost.amount_subtotal"):
        yield debit(Account.CREDIT_NOTES, Money(shipping, currency), tags)
    tax = sum(amount for amount, _ in taxes_of(note))
    yield debit(Account.TAX_PAYABLE, Money(tax, currency), tags)


def _given(note: Object) -> Iterator[Line]:
    """Credits: what the customer gets for it."""
    total, before = whole(note, "total"), _before_payment(note)
    refunds, outside = _refunds(note, total - before), whole_or_zero(note, "out_of_band_amount")
    balance = total - before - refunds - outside
    if balance and note.get("customer_balance_transaction") is None:
        raise Poison(f"credit_note.post_payment_amount leaves {balance} that nothing accounts for")
    for account, amount in (
        (Account.RECEIVABLE, before),
        (Account.REFUNDS, refunds),
        (Account.CUSTOMER_BALANCE, balance),
        (Account.REFUNDS_OWED, outside),
    ):
        yield credit(account, Money(amount, currency_of(note)), _tags(note))


def _before_payment(note: Object) -> int:
    """What lowers the claim. Before clover a note was wholly of one type."""
    if note.get("pre_payment_amount") is not None:
        return whole(note, "pre_payment_amount")
    return whole(note, "total") if note.get("type") == "pre_payment" else 0


def _refunds(note: Object, after_payment: int) -> int:
    """What is refunded. Before basil one refund was named without its amount: it is what nothing else takes."""
    if isinstance(note.get("refunds"), list):
        return sum(whole(part, "amount_refunded") for part in listed(note, "refunds"))
    if note.get("refund") is None:
        return 0
    if note.get("customer_balance_transaction") is not None:
        raise Poison("credit_note.refund does not say how much of the note it is")
    return after_payment - whole_or_zero(note, "out_of_band_amount")


def _tags(note: Object) -> Tags:
    return Tags(customer_of(note), id_of(note.get("invoice")))
