"""Bodies of money on the move: payment intents, charges, refunds, balance transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.stripe.model import (
    DAY,
    BalanceTransaction,
    Card,
    Charge,
    Decline,
    Object,
    PaymentIntent,
    Refund,
)
from lab.stripe.render_catalog import billing_details, card, payment_method
from lab.stripe.render_parts import customer_of

Body = dict[str, Any]
Objects = Mapping[str, Object]
MICRO = 1_000_000


def payment_intent(it: PaymentIntent, objects: Objects) -> Body:
    return {
        "id": it.id,
        "object": "payment_intent",
        "amount": it.amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": it.amount_received,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": it.canceled_at,
        "cancellation_reason": it.cancellation_reason,
        "capture_method": "automatic",
        "client_secret": f"{it.id}_secret_{it.id[-12:]}",
        "confirmation_method": "automatic",
        "created": it.created,
        "currency": it.currency,
        "customer": it.customer,
        "customer_account": None,
        "description": "Subscription payment",
        "excluded_payment_method_types": None,
        "last_payment_error": _last_error(it.error, objects),
        "latest_charge": it.latest_charge,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_details": _payment_details(it),
        "payment_method": it.payment_method,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": customer_of(objects, it.customer).email,
        "review": None,
        "setup_future_usage": "off_session",
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": it.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _payment_details(it: PaymentIntent) -> Body | None:
    """Recorded intents name their invoice once confirmed or canceled, never when just created."""
    if it.latest_charge is None and it.status != "canceled":
        return None
    return {"customer_reference": None, "order_reference": it.invoice}


def _last_error(error: Decline | None, objects: Objects) -> Body | None:
    if error is None:
        return None
    used = objects[error.payment_method]
    return {
        "advice_code": error.advice_code,
        "charge": error.charge,
        "code": error.code,
        "decline_code": error.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{error.code.replace('_', '-')}",
        "message": error.message,
        "network_advice_code": None,
        "network_decline_code": error.network_decline_code,
        "payment_method": payment_method(used, objects) if isinstance(used, Card) else None,
        "type": "card_error",
    }


def charge(it: Charge, objects: Objects) -> Body:
    buyer, used = customer_of(objects, it.customer), objects[it.payment_method]
    return {
        "id": it.id,
        "object": "charge",
        "amount": it.amount,
        "amount_captured": it.amount if it.status == "succeeded" else 0,
        "amount_refunded": it.amount_refunded,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": it.balance_transaction,
        "billing_details": billing_details(buyer),
        "calculated_statement_descriptor": "MILLRACE.EXAMPLE",
        "captured": it.status == "succeeded",
        "created": it.created,
        "currency": it.currency,
        "customer": it.customer,
        "description": "Subscription payment",
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": it.decline.code if it.decline else None,
        "failure_message": it.decline.message if it.decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": _outcome(it.decline),
        "paid": it.status == "succeeded",
        "payment_intent": it.payment_intent,
        "payment_method": it.payment_method,
        "payment_method_details": {"card": _card_used(used), "type": "card"},
        "radar_options": {},
        "receipt_email": buyer.email,
        "receipt_number": None,
        "receipt_url": f"https://pay.stripe.com/receipts/{it.id}" if it.status == "succeeded" else None,
        "refunded": it.amount_refunded == it.amount and it.status == "succeeded",
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": it.status,
        "transfer_data": None,
        "transfer_group": None,
    }


def _card_used(used: Object) -> Body:
    if not isinstance(used, Card):
        return {}
    known = card(used)
    same = (
        "brand",
        "checks",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "wallet",
    )
    return {name: known[name] for name in same} | {"network": used.brand, "three_d_secure": None}


def _outcome(decline: Decline | None) -> Body:
    return {
        "advice_code": decline.advice_code if decline else None,
        "network_advice_code": None,
        "network_decline_code": decline.network_decline_code if decline else None,
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": decline.decline_code if decline else None,
        "risk_level": "normal",
        "risk_score": 17,
        "seller_message": decline.message if decline else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }


def refund(it: Refund, objects: Objects) -> Body:
    """Names its customer and card since 2026-07-29."""
    paid = objects[it.charge]
    return {
        "id": it.id,
        "object": "refund",
        "amount": it.amount,
        "balance_transaction": it.balance_transaction,
        "charge": it.charge,
        "created": it.created,
        "currency": it.currency,
        "customer": paid.customer if isinstance(paid, Charge) else None,
        "customer_account": None,
        "destination_details": {"card": {"type": "refund"}, "type": "card"},
        "failure_balance_transaction": it.failure_balance_transaction,
        "failure_reason": it.failure_reason,
        "metadata": {},
        "payment_intent": it.payment_intent,
        "payment_method": paid.payment_method if isinstance(paid, Charge) else None,
        "reason": it.reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": it.status,
        "transfer_reversal": None,
    }


def balance_transaction(it: BalanceTransaction, _objects: object) -> Body:
    return {
        "id": it.id,
        "object": "balance_transaction",
        "amount": it.amount,
        "available_on": it.created + 2 * DAY,
        "balance_type": "payments",
        "created": it.created,
        "currency": it.currency,
        "description": None,
        "exchange_rate": None if it.rate_micro is None else it.rate_micro / MICRO,
        "fee": it.fee,
        "fee_details": _fee_details(it),
        "net": it.net,
        "reporting_category": it.type,
        "source": it.source,
        "status": "pending",
        "type": it.type,
    }


def _fee_details(it: BalanceTransaction) -> list[Body]:
    if it.fee == 0:
        return []
    fee = {"amount": it.fee, "application": None, "currency": it.currency, "type": "stripe_fee"}
    return [{**fee, "description": "Stripe processing fees"}]
