"""Deliveries made by hand, for tests in which every one of them is to be seen."""

from __future__ import annotations

from typing import Any

from millrace_lab.storm.arrivals import Arrival

DAY0 = 1_782_864_000  # 1 July 2026
Body = dict[str, Any]


def arrival(
    number: int,
    type_: str,
    body: Body,
    *,
    id: str = "",
    second: int | None = None,
    late: int = 0,
    attempt: int = 1,
) -> Arrival:
    """Something that happened as the `number`-th thing, a second after the one before it, unless told otherwise."""
    created = DAY0 + (number if second is None else second)
    event = {
        "id": id or f"evt_{number}",
        "object": "event",
        "type": type_,
        "created": created,
        "data": {"object": body},
    }
    return Arrival(number, created + late, event, attempt)


def subscription(status: str, quantity: int = 1, **fields: Any) -> Body:
    items = [{"price": {"id": "price_team"}, "quantity": quantity, "current_period_end": DAY0 + 999}]
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": status,
        "items": {"data": items},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "pause_collection": None,
    } | fields


def invoice(status: str, **fields: Any) -> Body:
    """1,000 usd, all of it still owed, unless told otherwise."""
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "status": status,
        "billing_reason": "subscription_cycle",
        "currency": "usd",
        "total": 1000,
        "amount_paid": 0,
        "amount_remaining": 1000,
        "starting_balance": 0,
        "ending_balance": 0,
        "pre_payment_credit_notes_amount": 0,
        "status_transitions": {"marked_uncollectible_at": DAY0 + 50},
    } | fields


def payment(amount: int, id: str = "inpay_1", type_: str = "payment_intent", at: int = 0) -> Body:
    return {
        "id": id,
        "object": "invoice_payment",
        "invoice": "in_1",
        "amount_paid": amount,
        "currency": "usd",
        "payment": {"type": type_},
        "status_transitions": {"paid_at": DAY0 + at},
    }


def note(amount: int, id: str = "cn_1", **fields: Any) -> Body:
    return {
        "id": id,
        "object": "credit_note",
        "invoice": "in_1",
        "total": amount,
        "currency": "usd",
        "pre_payment_amount": amount,
    } | fields


def refund(status: str, amount: int = 300, **fields: Any) -> Body:
    return {"id": "re_1", "object": "refund", "amount": amount, "currency": "usd", "status": status} | fields


def moved(id: str, net: int) -> Body:
    return {"id": id, "object": "balance_transaction", "net": net, "currency": "usd"}


def charge(transaction: Any) -> Body:
    return {
        "id": "ch_1",
        "object": "charge",
        "amount": 1000,
        "currency": "usd",
        "payment_intent": "pi_1",
        "balance_transaction": transaction,
    }
