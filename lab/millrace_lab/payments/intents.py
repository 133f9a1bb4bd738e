"""Payment intents themselves: their body, their states, their end.

    requires_payment_method → requires_confirmation → requires_action → processing → succeeded
                                                    ↘ requires_capture ↗          ↘ canceled

Told here: payment_intent.created, canceled. What an attempt tells is in `charging`.
Source: docs.stripe.com/payments/paymentintents/lifecycle, docs/lab/behaviours.md.
"""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.payments import charges

CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def for_invoice(
    step: Step,
    *,
    invoice: str,
    customer: str,
    amount: int,
    currency: str,
    description: str | None = None,
) -> Body:
    """The intent that collects an invoice. It captures at once, as recorded invoice payments do."""
    return make(
        step,
        customer=customer,
        amount=amount,
        currency=currency,
        description=description,
        capture_method="automatic",
        setup_future_usage="off_session",
        _invoice=invoice,
    )


def make(step: Step, *, customer: str | None, amount: int, currency: str, **fields: Any) -> Body:
    """A new intent with some fields of its own, told as created."""
    id_ = step.new_id("pi")
    buyer = step.find(customer) if customer else None
    intent: Body = {
        "id": id_,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{id_}_secret_{step.new_id('s', 24)[2:]}",
        "confirmation_method": "automatic",
        "created": step.now,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": step.account.livemode,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_details": {"customer_reference": None, "order_reference": None},
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": buyer.get("email") if buyer else None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        "_invoice": None,
        "_off_session": False,
        **fields,
    }
    intent = step.add(intent, customer)
    step.tell("payment_intent.created", intent)
    return intent


def change_amount(step: Step, id_: str, amount: int) -> Body:
    """What is asked for follows what is still owed, as when a credit note lowers an open invoice. Untold."""
    return step.change(id_, amount=amount)


def named_order(intent: Body) -> Body:
    """Intents of invoices name their invoice once they were tried or canceled, never when they are created.

    Recorded of succeeded and canceled ones (docs/lab/behaviours.md); of failed ones it is our reading.
    """
    details: Body = intent["payment_details"]
    return {**details, "order_reference": intent["_invoice"]} if intent["_invoice"] else details


def require(intent: Body, allowed: tuple[str, ...], act: str) -> None:
    """Raises StripeError 400 unless the intent's status allows the act."""
    refuse_unless(
        intent["status"] in allowed,
        f"You cannot {act} this PaymentIntent because it has a status of {intent['status']}. "
        f"Only a PaymentIntent with one of the following statuses may be used: {', '.join(allowed)}.",
        None,
        "payment_intent_unexpected_state",
    )


def check_secret(intent: Body, secret: str | None) -> None:
    """Whoever names an intent's secret names the right one; of payment intents and setup intents alike."""
    kind = intent["object"]
    noun = "PaymentIntent" if kind == "payment_intent" else "SetupIntent"
    refuse_unless(
        secret in (None, intent["client_secret"]),
        f"The client_secret provided does not match the client_secret associated with this {noun}.",
        "client_secret",
        f"{kind}_invalid_parameter",
    )


def cancel(step: Step, id_: str, reason: str | None = None) -> Body:
    """End an intent that has not succeeded; money that was only held is released."""
    intent = step.get("payment_intent", id_)
    require(intent, CANCELABLE, "cancel")
    _let_go(step, intent)
    canceled = step.change(
        id_,
        amount_capturable=0,
        canceled_at=step.now,
        cancellation_reason=reason,
        next_action=None,
        payment_details=named_order(intent),
        status="canceled",
    )
    step.tell("payment_intent.canceled", canceled)
    step.announce("payment_intent.canceled", canceled)
    return canceled


def _let_go(step: Step, intent: Body) -> None:
    """The charge of an intent that ends too early: a hold is released, a debit is stopped."""
    if intent["latest_charge"] is None:
        return
    charge = step.get("charge", intent["latest_charge"])
    if intent["status"] == "requires_capture":
        charges.change(step, charge["id"], "charge.refunded", amount_refunded=charge["amount"], refunded=True)
    elif intent["status"] == "processing":
        charges.change(
            step,
            charge["id"],
            "charge.failed",
            status=charges.FAILED,
            failure_code="payment_intent_canceled",
            failure_message="The debit was stopped before it was sent.",
        )
