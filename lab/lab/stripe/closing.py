"""Giving up a claim: voiding an invoice, writing it off, releasing the payment that waited for it."""

from __future__ import annotations

from dataclasses import replace

from lab.stripe.lifecycle import change_invoice
from lab.stripe.model import Invoice, InvoicePayment, PaymentIntent, Refused
from lab.stripe.world import Step


def write_off(step: Step, id_: str, why: str | None) -> None:
    if step.get(Invoice, id_).status != "open":
        raise Refused("only an open invoice can be marked uncollectible")
    change_invoice(
        step,
        id_,
        status="uncollectible",
        uncollectible_at=step.at,
        uncollectible_why=why,
        auto_advance=False,
        next_payment_attempt=None,
    )
    step.tell("invoice.marked_uncollectible", id_)


def void(step: Step, id_: str) -> None:
    invoice = step.get(Invoice, id_)
    if invoice.status not in ("open", "uncollectible"):
        raise Refused(f"an invoice that is {invoice.status} cannot be voided")
    release_payment(step, invoice)
    change_invoice(step, id_, status="void", voided_at=step.at, auto_advance=False, next_payment_attempt=None)
    step.tell("invoice.voided", id_)


def release_payment(step: Step, invoice: Invoice) -> None:
    """Nothing will be collected: the intent and the expected payment are canceled."""
    if invoice.payment_intent is None or invoice.payment is None:
        return
    intent, payment = (
        step.get(PaymentIntent, invoice.payment_intent),
        step.get(InvoicePayment, invoice.payment),
    )
    step.save(replace(intent, status="canceled", canceled_at=step.at, cancellation_reason="void_invoice"))
    step.save(replace(payment, status="canceled", canceled_at=step.at))
    step.tell("payment_intent.canceled", intent.id)
