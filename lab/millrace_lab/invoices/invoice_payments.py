"""Invoice payments: which payment pays how much of which invoice.

Finalising an invoice makes the default one with a payment intent; it follows what remains to be paid. Other
intents can be attached. Source: docs.stripe.com/api/invoice-payment, docs.stripe.com/invoicing/partial-payments.
"""

from __future__ import annotations

from typing import Literal

from millrace_lab import lists
from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams, Params, Times
from millrace_lab.payments import intents


class Payment(Params):
    type: Literal["payment_intent", "payment_record"]
    payment_intent: str | None = None
    payment_record: str | None = None


class ListInvoicePayments(ListParams):
    created: Times | None = None
    invoice: str | None = None
    payment: Payment | None = None
    status: Literal["canceled", "open", "paid"] | None = None


def expect(step: Step, invoice: Body, intent: str, amount: int, *, default: bool) -> Body:
    """A payment that is still to come."""
    return step.add(
        {
            "id": step.new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": amount,
            "created": step.now,
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": default,
            "livemode": step.account.livemode,
            "payment": {"payment_intent": intent, "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        },
        invoice["id"],
        intent,
    )


def default_of(step: Step, invoice_id: str) -> Body | None:
    """The payment that Stripe made itself and that is still open."""
    every = step.of("invoice_payment", invoice_id)
    return next((each for each in every if each["is_default"] and each["status"] == "open"), None)


def ask(step: Step, invoice: Body) -> Body:
    """Make the default payment with its intent. Returns the invoice that knows its intent."""
    intent = intents.for_invoice(
        step,
        invoice=invoice["id"],
        customer=invoice["customer"],
        amount=invoice["amount_remaining"],
        currency=invoice["currency"],
    )
    expect(step, invoice, intent["id"], invoice["amount_remaining"], default=True)
    return step.change(invoice["id"], _payment_intent=intent["id"])


def follow(step: Step, invoice: Body) -> None:
    """The default payment and its intent ask for what remains."""
    if (payment := default_of(step, invoice["id"])) is not None:
        step.change(payment["id"], amount_requested=invoice["amount_remaining"])
        intents.change_amount(step, payment["payment"]["payment_intent"], invoice["amount_remaining"])


def settle(step: Step, payment: Body, amount: int) -> Body:
    paid = step.change(
        payment["id"],
        amount_paid=amount,
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": step.now},
    )
    step.tell("invoice_payment.paid", paid)
    return paid


def cancel(step: Step, payment: Body) -> None:
    canceled = {"canceled_at": step.now, "paid_at": None}
    step.change(payment["id"], status="canceled", status_transitions=canceled)


def release(step: Step, invoice: Body, reason: str = "void_invoice") -> None:
    """Nothing more will be collected: the open payments and the default intent are canceled."""
    for payment in step.of("invoice_payment", invoice["id"]):
        if payment["status"] != "open":
            continue
        cancel(step, payment)
        if payment["is_default"]:
            intents.cancel(step, payment["payment"]["payment_intent"], reason)


def included(step: Step, invoice: Body) -> Body:
    """The list that `expand[]=payments` puts into an invoice."""
    every = step.of("invoice_payment", invoice["id"])[::-1]
    return lists.listed(every, f"/v1/invoice_payments?invoice={invoice['id']}", most=10)


def confirmation_secret(step: Step, invoice: Body) -> Body | None:
    """What a page needs to confirm the first payment; shown when it is expanded."""
    intent = step.find(invoice["_payment_intent"] or "")
    if intent is None:
        return None
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("invoice_payment", id_)


def listing(step: Step, params: ListInvoicePayments) -> Page:
    def wanted(payment: Body) -> bool:
        asked = params.payment
        return asked is None or payment["payment"].get(asked.type) == getattr(asked, asked.type)

    by = ("created", "status")
    return lists.page(step, "invoice_payment", params, "/v1/invoice_payments", wanted, params.invoice, by=by)


OPERATIONS = (
    Operation("GET /v1/invoice_payments/{invoice_payment}", retrieve),
    Operation("GET /v1/invoice_payments", listing, ListInvoicePayments),
)
