"""What invoices tell the books: a claim, its end, and what is still learned after its end.

finalized     Receivable → Deferred revenue (lines with a period), Revenue (lines without), Tax payable
voided        the exact reversal of what still stands; revenue recognised at once goes to Voids
uncollectible Bad debt → Receivable, what remained
recovered     a payment after the write-off, added by whichever of the two comes second
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.domain.chart import Account
from ledger.domain.journal import (
    Book,
    Line,
    Nothing,
    Posting,
    Tags,
    Told,
    Wait,
    credit,
    debit,
    enter,
    posting,
    reversal,
)
from ledger.domain.readings import currency_of, moment, net_of, period_of, whole_or_zero
from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import (
    Object,
    customer_of,
    id_of,
    listed,
    object_of,
    subscription_item_of_line,
    taxes_of,
    text,
    whole,
)
from millrace.money import Money

PAYMENTS = ("invoice.payment", "invoice.paid_out_of_band")
ON_VOIDING = {Account.REVENUE: Account.VOIDS}


def finalized(book: Book, event: Event) -> Told:
    """The claim, and what the customer's balance pays of it. A claim of nothing is a fact without lines.

    Source: docs.stripe.com/api/invoices. The amounts are Stripe's and must agree with the total that Stripe states.
    """
    invoice = object_of(event)
    return settled(book, [_claim(invoice, event), *_from_balance(invoice, event)])


def _claim(invoice: Object, event: Event) -> Posting:
    id, currency = text(invoice, "id"), currency_of(invoice)
    total, earned = whole(invoice, "total"), list(_earned(invoice))
    tax = sum(amount for amount, _ in taxes_of(invoice))
    stated = sum(-line.money.amount_minor for line in earned) + tax
    if stated != total:
        raise Poison(f"invoice.total is {total}, but its lines and taxes come to {stated}")
    tags = Tags(customer_of(invoice), id)
    return posting(
        f"invoice:{id}:finalized",
        "invoice.finalized",
        moment(invoice, event, "finalized_at"),
        [
            debit(Account.RECEIVABLE, Money(total, currency), tags),
            *earned,
            credit(Account.TAX_PAYABLE, Money(tax, currency), tags),
        ],
    )


def _earned(invoice: Object) -> Iterator[Line]:
    """A credit for each line: deferred when it is earned over a period, revenue when it is earned at once."""
    id, currency, customer = text(invoice, "id"), currency_of(invoice), customer_of(invoice)
    for line in listed(invoice, "lines"):
        start, end = period_of(line)
        yield credit(
            Account.DEFERRED_REVENUE if start else Account.REVENUE,
            Money(net_of(line), currency),
            Tags(customer, id, id_of(line), subscription_item_of_line(line), None, start, end),
        )
    if shipping := whole_or_zero(invoice, "shipping_cost.amount_subtotal"):
        yield credit(Account.REVENUE, Money(shipping, currency), Tags(customer, id))


def _from_balance(invoice: Object, event: Event) -> Iterator[Posting]:
    """What the customer's balance gives (positive) or takes: Stripe tells it by no event but this."""
    if invoice.get("ending_balance") is None:
        return
    moved = whole(invoice, "ending_balance") - whole_or_zero(invoice, "starting_balance")
    if moved == 0:
        return
    id, applied = text(invoice, "id"), Money(moved, currency_of(invoice))
    if (left := whole(invoice, "total") - applied.amount_minor) != whole(invoice, "amount_due"):
        raise Poison(f"invoice.amount_due is {invoice['amount_due']}, but the balance leaves {left}")
    tags = Tags(customer_of(invoice), id)
    yield posting(
        f"invoice:{id}:balance",
        "invoice.balance_applied",
        moment(invoice, event, "finalized_at"),
        [debit(Account.CUSTOMER_BALANCE, applied, tags), credit(Account.RECEIVABLE, applied, tags)],
    )


def voided(book: Book, event: Event) -> Told:
    """The claim is withdrawn: what finalisation posted is undone, less what credit notes undid before."""
    invoice = object_of(event)
    id, noted = text(invoice, "id"), whole_or_zero(invoice, "pre_payment_credit_notes_amount")
    claim = book.facts.get(f"invoice:{id}:finalized")
    if claim is None:
        return Wait(f"invoice {id} is not finalized here yet")
    notes = _standing_notes(book)
    if (known := -sum(note.on(Account.RECEIVABLE) for note in notes)) != noted:
        return Wait(f"invoice {id} was credited {noted} before it was voided, of which {known} is here yet")
    undone = [claim, *book.of("invoice.balance_applied"), *notes]
    void = posting(
        f"invoice:{id}:voided",
        "invoice.voided",
        moment(invoice, event, "voided_at"),
        reversal((line for one in undone for line in one.lines), ON_VOIDING),
        reverses=claim.fact,
    )
    return settled(book, [void])


def _standing_notes(book: Book) -> list[Posting]:
    """Credit notes that took something off the claim and were not voided."""
    undone = {one.reverses for one in book.of("credit_note.voided")}
    notes = [one for one in book.of("credit_note.created") if one.fact not in undone]
    return [note for note in notes if note.on(Account.RECEIVABLE)]


def marked_uncollectible(book: Book, event: Event) -> Told:
    """The claim is given up: what remains of it is a loss."""
    invoice = object_of(event)
    id, currency = text(invoice, "id"), currency_of(invoice)
    if f"invoice:{id}:finalized" not in book.facts:
        return Wait(f"invoice {id} is not finalized here yet")
    remaining = Money(whole(invoice, "amount_remaining"), currency)
    if remaining.amount_minor == 0:
        return Nothing("nothing remained to be written off")
    tags = Tags(customer_of(invoice), id)
    loss = posting(
        f"invoice:{id}:uncollectible",
        "invoice.marked_uncollectible",
        moment(invoice, event, "marked_uncollectible_at"),
        [debit(Account.BAD_DEBT, remaining, tags), credit(Account.RECEIVABLE, remaining, tags)],
    )
    return settled(book, [loss])


def settled(book: Book, told: list[Posting]) -> list[Posting]:
    """These postings, and what follows from them and what is posted already, in whatever order they came."""
    whole_book = enter(book, told)
    return [*told, *_recovered(whole_book), *_claim_back(whole_book), *_told_twice(whole_book)]


def _recovered(book: Book) -> Iterator[Posting]:
    """Payments made after the claim was written off. The second of a tie is the payment: a paid invoice
    cannot be written off.
    """
    for loss in book.of("invoice.marked_uncollectible"):
        for paid in book.of(*PAYMENTS):
            if paid.effective_at >= loss.effective_at:
                amount = Money(-paid.on(Account.RECEIVABLE), paid.lines[0].money.currency)
                tags = Tags(invoice=loss.lines[0].tags.invoice)
                yield posting(
                    f"invoice:{tags.invoice}:recovered:{paid.fact}",
                    "invoice.recovered",
                    paid.effective_at,
                    [
                        debit(Account.RECEIVABLE, amount, tags),
                        credit(Account.RECOVERIES, amount, tags),
                    ],
                )


def _claim_back(book: Book) -> Iterator[Posting]:
    """An invoice voided after its write-off was no loss: it was never owed."""
    for void in book.of("invoice.voided"):
        for loss in book.of("invoice.marked_uncollectible"):
            yield posting(
                f"{loss.fact}:reversed",
                "invoice.write_off_reversed",
                void.effective_at,
                reversal(loss.lines),
                reverses=loss.fact,
            )


def _told_twice(book: Book) -> Iterator[Posting]:
    """An outside payment that Stripe told both as a payment record and in the invoice's total counts once."""
    if not book.of("invoice.paid_out_of_band"):
        return
    for record in book.of("invoice.payment"):
        if record.on(Account.OUT_OF_BAND_CLEARING):
            yield posting(
                f"{record.fact}:within",
                "invoice.payment_told_twice",
                record.effective_at,
                reversal(record.lines),
                reverses=record.fact,
            )
