"""From a draft to its end: finalising, charging, declining, retrying, voiding, writing off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.stripe.agenda import DRAFT_WINDOW
from lab.stripe.closing import write_off
from lab.stripe.declines import DECLINES, HARD
from lab.stripe.invoicing import totalled
from lab.stripe.lifecycle import (
    change_customer,
    change_invoice,
    change_subscription,
    end_subscription,
    pause_subscription,
)
from lab.stripe.model import (
    Card,
    Charge,
    Customer,
    Decline,
    Invoice,
    InvoicePayment,
    Line,
    PaymentIntent,
    Refused,
    Subscription,
    TaxRate,
)
from lab.stripe.settlement import settle_charge
from lab.stripe.world import Step


def draft(
    step: Step, sub: Subscription, lines: Sequence[Line], reason: str, period: tuple[int, int]
) -> Invoice:
    """Add a draft; its telling is left to the caller, who first points the subscription at it."""
    buyer = step.get(Customer, sub.customer)
    rate = step.get(TaxRate, buyer.tax_rate) if buyer.tax_rate else None
    invoice = Invoice(
        id=step.new_id("in"),
        created=step.at,
        customer=sub.customer,
        subscription=sub.id,
        currency=sub.currency,
        billing_reason=reason,
        lines=tuple(lines),
        period_start=period[0],
        period_end=period[1],
        tax_rate=buyer.tax_rate,
        discount=sub.discount.id if sub.discount else None,
        finalizes_at=step.at + DRAFT_WINDOW,
    )
    totals = totalled(invoice, sub.discount.percent_off if sub.discount else 0, rate)
    if totals.total < 0:
        raise Refused("a negative invoice needs a customer balance, which this account does not keep")
    step.add(totals)
    return totals


def finalize(step: Step, id_: str) -> None:
    """Number the invoice and open it; one that asks for nothing is paid at once."""
    invoice = step.get(Invoice, id_)
    if invoice.status != "draft":
        raise Refused("only a draft can be finalized")
    before, free = step.look(id_), invoice.amount_due == 0
    opened = replace(
        invoice,
        status="paid" if free else "open",
        number=_next_number(step, invoice.customer),
        finalized_at=step.at,
        finalizes_at=None,
        paid_at=step.at if free else None,
        attempted=free,
        auto_advance=not free,
    )
    step.save(opened if free else _ask_for_payment(step, opened))
    step.tell("invoice.finalized", id_)
    step.updated("invoice.updated", before)
    if free:
        step.tell("invoice.paid", id_)
        step.tell("invoice.payment_succeeded", id_)


def collect_now(step: Step, invoice: str, sub: Subscription) -> None:
    finalize(step, invoice)
    if step.get(Invoice, invoice).status == "open":
        attempt(step, invoice, scheduled=sub.status != "incomplete")
    elif sub.status == "incomplete":
        change_subscription(step, sub.id, status="active")


def _next_number(step: Step, customer: str) -> str:
    buyer = step.get(Customer, customer)
    step.save(replace(buyer, invoices=buyer.invoices + 1))
    return f"{buyer.invoice_prefix}-{buyer.invoices + 1:04d}"


def _ask_for_payment(step: Step, invoice: Invoice) -> Invoice:
    intent = PaymentIntent(
        step.new_id("pi"), step.at, invoice.customer, invoice.id, invoice.currency, invoice.amount_due
    )
    payment = InvoicePayment(
        step.new_id("inpay"), step.at, invoice.id, invoice.currency, intent.id, invoice.amount_due
    )
    step.add(intent)
    step.add(payment)
    step.tell("payment_intent.created", intent.id)
    return replace(invoice, payment_intent=intent.id, payment=payment.id)


def card_for(step: Step, sub: Subscription) -> Card | None:
    """The subscription's own card comes first: fixing the customer's default does not help it."""
    chosen = sub.default_payment_method or step.get(Customer, sub.customer).default_payment_method
    return step.get(Card, chosen) if chosen else None


def attempt(step: Step, id_: str, *, scheduled: bool) -> None:
    """Charge the invoice once. `scheduled`: by Stripe's own plan, not by a person on the invoice page."""
    invoice = step.get(Invoice, id_)
    if invoice.status not in ("open", "uncollectible"):
        raise Refused(f"an invoice that is {invoice.status} cannot be paid")
    card = card_for(step, step.get(Subscription, invoice.subscription))
    if card is None:
        return _failed(step, invoice, scheduled)
    step.save(replace(card, outcomes=card.outcomes[1:] or card.outcomes))
    if card.outcomes[0] == "ok":
        return _succeeded(step, invoice, card, scheduled)
    _declined(step, invoice, card)
    return _failed(step, step.get(Invoice, id_), scheduled)


def _new_charge(step: Step, invoice: Invoice, card: Card, decline: Decline | None = None) -> Charge:
    assert invoice.payment_intent is not None
    return Charge(
        id=decline.charge if decline else step.new_id("ch"),
        created=step.at,
        customer=invoice.customer,
        currency=invoice.currency,
        amount=invoice.amount_remaining,
        payment_intent=invoice.payment_intent,
        invoice=invoice.id,
        payment_method=card.id,
        status="failed" if decline else "succeeded",
        settles_at=None if decline else step.at + card.settles_after,
        settles_in=card.settles_in,
        decline=decline,
    )


def _succeeded(step: Step, invoice: Invoice, card: Card, scheduled: bool) -> None:
    charge = _new_charge(step, invoice, card)
    step.add(charge)
    if card.settles_after == 0:
        step.save(replace(charge, balance_transaction=settle_charge(step, charge)))
    _intent_succeeded(step, charge)
    step.tell("charge.succeeded", charge.id)
    paid_in(step, invoice, charge.amount, count=scheduled and invoice.billing_reason != "subscription_create")
    _recovered(step, invoice, card)


def _intent_succeeded(step: Step, charge: Charge) -> None:
    intent = step.get(PaymentIntent, charge.payment_intent)
    step.save(
        replace(
            intent,
            status="succeeded",
            amount_received=charge.amount,
            latest_charge=charge.id,
            payment_method=charge.payment_method,
            error=None,
        )
    )
    step.tell("payment_intent.succeeded", intent.id)


def paid_in(step: Step, invoice: Invoice, amount: int, *, count: bool) -> None:
    """The invoice is settled, by a payment or, with amount 0, by a credit note over all of it."""
    if amount and invoice.payment:
        payment = step.get(InvoicePayment, invoice.payment)
        step.save(replace(payment, status="paid", amount_paid=amount, paid_at=step.at))
        step.tell("invoice_payment.paid", payment.id)
    change_invoice(
        step,
        invoice.id,
        status="paid",
        amount_paid=amount,
        paid_at=step.at,
        attempted=True,
        attempt_count=invoice.attempt_count + count,
        auto_advance=False,
        next_payment_attempt=None,
    )
    step.tell("invoice.paid", invoice.id)
    if amount:
        step.tell("invoice.payment_succeeded", invoice.id)


def _recovered(step: Step, invoice: Invoice, card: Card) -> None:
    sub = step.get(Subscription, invoice.subscription)
    if step.get(Customer, invoice.customer).delinquent:
        change_customer(step, invoice.customer, delinquent=False)
    if sub.status == "incomplete":
        change_subscription(step, sub.id, status="active", default_payment_method=card.id)
    else:
        clear_arrears(step, invoice)


def clear_arrears(step: Step, invoice: Invoice) -> None:
    """Nothing is owed on the latest invoice any more: the subscription is in good standing again."""
    sub = step.get(Subscription, invoice.subscription)
    if sub.status in ("incomplete", "past_due", "unpaid") and sub.latest_invoice == invoice.id:
        change_subscription(step, sub.id, status="active")


def _declined(step: Step, invoice: Invoice, card: Card) -> None:
    words = DECLINES[card.outcomes[0]]
    decline = Decline(
        code=words.code,
        decline_code=card.outcomes[0],
        message=words.message,
        advice_code=words.advice_code,
        network_decline_code=words.network_decline_code,
        charge=step.new_id("ch"),
        payment_method=card.id,
    )
    charge = _new_charge(step, invoice, card, decline)
    step.add(charge)
    intent = step.get(PaymentIntent, charge.payment_intent)
    step.save(replace(intent, error=decline, latest_charge=charge.id))
    step.tell("charge.failed", charge.id)
    step.tell("payment_intent.payment_failed", intent.id)


def _failed(step: Step, invoice: Invoice, scheduled: bool) -> None:
    first = invoice.attempt_count == 0
    on_plan = scheduled and invoice.billing_reason != "subscription_create"
    following = _next_retry(step, invoice) if on_plan else invoice.next_payment_attempt
    change_invoice(
        step,
        invoice.id,
        attempted=True,
        attempt_count=invoice.attempt_count + (scheduled or first),
        retries=invoice.retries + on_plan,
        next_payment_attempt=following,
        auto_advance=invoice.auto_advance if not on_plan else following is not None,
    )
    step.tell("invoice.payment_failed", invoice.id)
    change_customer(step, invoice.customer, delinquent=True)
    sub = step.get(Subscription, invoice.subscription)
    if sub.status == "active":
        change_subscription(step, sub.id, status="past_due")
    if on_plan and following is None:
        _exhausted(step, invoice.id)


def _next_retry(step: Step, invoice: Invoice) -> int | None:
    waits = step.get(Subscription, invoice.subscription).dunning.retry_after
    return step.at + waits[invoice.retries] if invoice.retries < len(waits) else None


def retry(step: Step, id_: str) -> None:
    """A scheduled retry; after a hard decline it is skipped while the card is the same."""
    invoice = step.get(Invoice, id_)
    if not _hopeless(step, invoice):
        return attempt(step, id_, scheduled=True)
    following = _next_retry(step, invoice)
    change_invoice(
        step,
        id_,
        retries=invoice.retries + 1,
        next_payment_attempt=following,
        auto_advance=following is not None,
    )
    return None if following else _exhausted(step, id_)


def _hopeless(step: Step, invoice: Invoice) -> bool:
    card = card_for(step, step.get(Subscription, invoice.subscription))
    error = step.get(PaymentIntent, invoice.payment_intent).error if invoice.payment_intent else None
    return bool(error and card and error.decline_code in HARD and error.payment_method == card.id)


def _exhausted(step: Step, id_: str) -> None:
    sub = step.get(Subscription, step.get(Invoice, id_).subscription)
    if sub.dunning.invoice == "uncollectible":
        write_off(step, id_, "max_payment_attempts")
    if sub.status in ("canceled", "paused"):
        return
    match sub.dunning.subscription:
        case "canceled":
            end_subscription(step, sub.id, "payment_failed")
        case "unpaid":
            change_subscription(step, sub.id, status="unpaid")
        case "paused":
            pause_subscription(step, sub.id, "final_payment_failure")
