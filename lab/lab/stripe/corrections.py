"""Money given back and claims given up: refunds, credit notes, voids, write-offs."""

from __future__ import annotations

from dataclasses import replace

from lab.stripe import closing, collection
from lab.stripe.lifecycle import change_invoice, expire_subscription
from lab.stripe.model import (
    BalanceTransaction,
    Charge,
    CreditNote,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    Refund,
    Refused,
    Subscription,
    TaxRate,
)
from lab.stripe.proration import tax_within
from lab.stripe.settlement import return_refund, settle_refund
from lab.stripe.world import Outcome, Step, World


def charge_of(world: World, invoice: str) -> Charge:
    """The charge that paid an invoice."""
    paid = [charge for charge in world.of(Charge, invoice) if charge.status == "succeeded"]
    if not paid:
        raise Refused("no charge has paid this invoice")
    return paid[-1]


def refund(
    world: World,
    at: int,
    charge: str,
    amount: int,
    *,
    reason: str | None = "requested_by_customer",
    settles_after: int = 0,
    fails_after: int | None = None,
) -> Outcome:
    """Give money back. `fails_after` seconds the bank may refuse it, and the money returns."""
    step = Step(world, at)
    made = _refund(step, charge, amount, reason, settles_after, fails_after)
    return step.done(made.id)


def _refund(
    step: Step, charge_id: str, amount: int, reason: str | None, settles_after: int, fails_after: int | None
) -> Refund:
    charge = step.get(Charge, charge_id)
    if charge.status != "succeeded" or not 0 < amount <= charge.amount - charge.amount_refunded:
        raise Refused("the charge does not have that much left to refund")
    if charge.balance_transaction is None:
        raise Refused("a charge is refunded here only once it has settled")
    made = Refund(
        id=step.new_id("re"),
        created=step.at,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        currency=charge.currency,
        amount=amount,
        reason=reason,
        settles_at=step.at + settles_after,
        fails_at=None if fails_after is None else step.at + max(fails_after, settles_after + 1),
    )
    step.add(made)
    if settles_after == 0:
        step.save(replace(made, balance_transaction=settle_refund(step, made)))
    step.save(replace(charge, amount_refunded=charge.amount_refunded + amount))
    step.tell("refund.created", made.id)
    step.tell("charge.refunded", charge.id)
    return made


def settle_later(step: Step, refund_id: str) -> None:
    before = step.look(refund_id)
    made = step.get(Refund, refund_id)
    step.save(replace(made, balance_transaction=settle_refund(step, made)))
    step.updated("refund.updated", before)


def fail_refund(step: Step, refund_id: str) -> None:
    """The customer's bank will not take the money: it comes back, and the customer is still owed it."""
    made, before = step.get(Refund, refund_id), step.look(refund_id)
    if made.balance_transaction is None:
        raise Refused("a refund fails only after it left the balance")
    settled = step.get(BalanceTransaction, made.balance_transaction)
    step.save(
        replace(
            made,
            status="failed",
            failure_reason="lost_or_stolen_card",
            failure_balance_transaction=return_refund(step, made, settled),
        )
    )
    charge = step.get(Charge, made.charge)
    step.save(replace(charge, amount_refunded=charge.amount_refunded - made.amount))
    step.updated("refund.updated", before)
    step.tell("refund.failed", made.id)


def credit_note(world: World, at: int, invoice: str, amount: int, reason: str = "order_change") -> Outcome:
    """Credit part or all of an invoice: an open one asks for less, a paid one is refunded."""
    step = Step(world, at)
    billed = step.get(Invoice, invoice)
    match billed.status:
        case "open":
            note = _pre_payment(step, billed, amount, reason)
        case "paid":
            note = _post_payment(step, world, billed, amount, reason)
        case _:
            raise Refused(f"an invoice that is {billed.status} takes no credit note here")
    return step.done(note.id)


def _note(step: Step, invoice: Invoice, amount: int, reason: str) -> CreditNote:
    rate = step.get(TaxRate, invoice.tax_rate) if invoice.tax_rate else None
    fitting = [line.id for line in invoice.lines if line.amount >= amount]
    earlier = len(step.of(CreditNote, invoice.id))
    return CreditNote(
        id=step.new_id("cn"),
        created=step.at,
        customer=invoice.customer,
        invoice=invoice.id,
        currency=invoice.currency,
        number=f"{invoice.number}-CN-{earlier + 1:02d}",
        reason=reason,
        amount=amount,
        tax=_credited_tax(step, invoice, amount, rate),
        tax_rate=invoice.tax_rate,
        tax_inclusive=invoice.tax_inclusive,
        line=step.new_id("cnli"),
        invoice_line=fitting[0] if fitting else None,
    )


def _credited_tax(step: Step, invoice: Invoice, amount: int, rate: TaxRate | None) -> int:
    """The tax inside a gross amount; the note that credits the last cent takes the rest of the tax."""
    if rate is None:
        return 0
    standing = [note for note in step.of(CreditNote, invoice.id) if note.status == "issued"]
    if sum(note.amount for note in standing) + amount == invoice.total:
        return invoice.tax - sum(note.tax for note in standing)
    return tax_within(amount, rate.percent)


def _pre_payment(step: Step, invoice: Invoice, amount: int, reason: str) -> CreditNote:
    if not 0 < amount <= invoice.amount_remaining:
        raise Refused("more than the invoice still asks for")
    note = replace(_note(step, invoice, amount, reason), pre_payment_amount=amount)
    step.add(note)
    step.tell("credit_note.created", note.id)
    lowered = change_invoice(step, invoice.id, pre_payment_credit=invoice.pre_payment_credit + amount)
    if lowered.amount_remaining == 0:
        closing.release_payment(step, lowered)
        collection.paid_in(step, lowered, 0, count=False)
        collection.clear_arrears(step, lowered)
    else:
        _ask_for(step, lowered)
    return note


def _ask_for(step: Step, invoice: Invoice) -> None:
    """The payment intent follows what the invoice still asks for."""
    if invoice.payment_intent is None or invoice.payment is None:
        return
    intent, payment = (
        step.get(PaymentIntent, invoice.payment_intent),
        step.get(InvoicePayment, invoice.payment),
    )
    step.save(replace(intent, amount=invoice.amount_remaining))
    step.save(replace(payment, amount_requested=invoice.amount_remaining))


def _post_payment(step: Step, world: World, invoice: Invoice, amount: int, reason: str) -> CreditNote:
    if not 0 < amount <= invoice.amount_paid - invoice.post_payment_credit:
        raise Refused("more than was paid")
    note = replace(_note(step, invoice, amount, reason), post_payment_amount=amount)
    given_back = _refund(step, charge_of(world, invoice.id).id, amount, None, 0, None)
    step.add(replace(note, refund=given_back.id))
    step.tell("credit_note.created", note.id)
    change_invoice(step, invoice.id, post_payment_credit=invoice.post_payment_credit + amount)
    return note


def void_credit_note(world: World, at: int, note: str) -> Outcome:
    step = Step(world, at)
    issued = step.get(CreditNote, note)
    invoice = step.get(Invoice, issued.invoice)
    if issued.status != "issued" or not issued.pre_payment_amount or invoice.status != "open":
        raise Refused("only a credit note on an open invoice can be voided")
    step.save(replace(issued, status="void", voided_at=at))
    step.tell("credit_note.voided", note)
    raised = change_invoice(
        step, invoice.id, pre_payment_credit=invoice.pre_payment_credit - issued.pre_payment_amount
    )
    _ask_for(step, raised)
    return step.done(note)


def void_invoice(world: World, at: int, invoice: str) -> Outcome:
    step = Step(world, at)
    closing.void(step, invoice)
    voided = step.get(Invoice, invoice)
    if step.get(Subscription, voided.subscription).status == "incomplete":
        expire_subscription(step, voided.subscription)
    else:
        collection.clear_arrears(step, voided)
    return step.done(invoice)


def mark_uncollectible(world: World, at: int, invoice: str) -> Outcome:
    step = Step(world, at)
    closing.write_off(step, invoice, "user_forgiven")
    return step.done(invoice)
