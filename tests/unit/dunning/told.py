"""Events in words, as Stripe or a timer of ours would tell them: "failed 2 last", "declined lost_card".

failed N [last] [first]   invoice.payment_failed; `last`: no further attempt; `first`: a new subscription
updated N [last]          invoice.updated of an open invoice; `last`: no further attempt
declined CODE             payment_intent.payment_failed
paid [N] [credited]       invoice.paid, attempt_count N; `credited`: settled by credit notes alone
voided                    invoice.voided
uncollectible WHY         invoice.marked_uncollectible; `-` gives no reason
credit-note REMAINING     credit_note.created with the invoice in it; `-` carries only its id
timer DAY                 our own millrace.dunning.timer.due for the deadline of that day
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dunning.jobs import event_of
from dunning.store import Due, grace_timer
from millrace.events import Event
from tests.support.events import ACCOUNT

DAY_0 = datetime(2026, 3, 1, tzinfo=UTC)
CUSTOMER, SUBSCRIPTION = "cus_1", "sub_1"
API_VERSION = "2026-10-28.endive"
DECLINES = {  # decline_code -> code, advice_code
    "insufficient_funds": ("card_declined", "try_again_later"),
    "lost_card": ("card_declined", "do_not_try_again"),
    "expired_card": ("expired_card", "confirm_card_data"),
    "authentication_required": ("authentication_required", None),
}


def day(number: float) -> datetime:
    return DAY_0 + timedelta(days=number)


def told(
    words: str, at: float, *, invoice: str = "in_1", id: str | None = None, price: str = "price_team"
) -> Event:
    """The event that these words describe, on a day."""
    what, *rest = words.split()
    name = id or f"evt_{invoice}_{what}_{'_'.join(rest)}_{at}".replace(".", "_")
    if what == "timer":
        return timer(float(rest[0]), invoice)
    type_, body = _BODIES[what](rest, invoice, price)
    return stripe_event(type_, body, day(at), name)


def timer(due: float, invoice: str = "in_1") -> Event:
    return due_event(invoice, day(due))


def due_event(invoice: str, at: datetime) -> Event:
    """The event of the timer of a deadline, as the process would write it."""
    due = Due(ACCOUNT, invoice, grace_timer(at), CUSTOMER, at, trace="")
    return event_of(due)


def customer_deleted(at: float) -> Event:
    body = {"id": CUSTOMER, "object": "customer", "deleted": True}
    return stripe_event("customer.deleted", body, day(at), "evt_gone")


def stripe_event(type_: str, body: dict[str, Any], at: datetime, id: str) -> Event:
    whole = {
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": int(at.timestamp()),
        "livemode": False,
        "type": type_,
        "data": {"object": body},
    }
    return Event(
        id=id,
        type=f"stripe.{type_}",
        source=f"stripe/{ACCOUNT}",
        subject=body["id"],
        time=at,
        key=f"{ACCOUNT}/{CUSTOMER}",
        schema=API_VERSION,
        data=whole,
    )


def invoice_body(id: str, price: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": id,
        "object": "invoice",
        "customer": CUSTOMER,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "amount_paid": 0,
        "amount_remaining": 4900,
        "pre_payment_credit_notes_amount": 0,
        "attempt_count": 0,
        "next_payment_attempt": None,
        "status": "open",
        "status_details": None,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": SUBSCRIPTION}},
        "lines": {
            "object": "list",
            "has_more": False,
            "data": [
                {
                    "object": "line_item",
                    "pricing": {"price_details": {"price": price, "product": f"prod_of_{price}"}},
                }
            ],
        },
        **fields,
    }


Made = tuple[str, dict[str, Any]]


def _failed(rest: list[str], invoice: str, price: str) -> Made:
    body = invoice_body(invoice, price, attempt_count=int(rest[0]))
    if "last" not in rest:
        body["next_payment_attempt"] = int(day(100).timestamp())
    if "first" in rest:
        body["billing_reason"] = "subscription_create"
    return "invoice.payment_failed", body


def _updated(rest: list[str], invoice: str, price: str) -> Made:
    return "invoice.updated", _failed(rest, invoice, price)[1]


def _declined(rest: list[str], invoice: str, _: str) -> Made:
    code, advice = DECLINES[rest[0]]
    error = {"code": code, "decline_code": rest[0], "advice_code": advice, "network_advice_code": None}
    body = {
        "id": "pi_1",
        "object": "payment_intent",
        "customer": CUSTOMER,
        "payment_details": {"customer_reference": None, "order_reference": invoice},
        "last_payment_error": error,
    }
    return "payment_intent.payment_failed", body


def _paid(rest: list[str], invoice: str, price: str) -> Made:
    numbers = [int(word) for word in rest if word.isdigit()]
    paid = {"amount_paid": 4900} if "credited" not in rest else {"pre_payment_credit_notes_amount": 4900}
    fields = {"status": "paid", "amount_remaining": 0, "attempt_count": numbers[0] if numbers else 0, **paid}
    return "invoice.paid", invoice_body(invoice, price, **fields)


def _voided(_: list[str], invoice: str, price: str) -> Made:
    return "invoice.voided", invoice_body(invoice, price, status="void")


def _uncollectible(rest: list[str], invoice: str, price: str) -> Made:
    details = None if rest[0] == "-" else {"uncollectible": {"reason": rest[0]}}
    body = invoice_body(invoice, price, status="uncollectible", status_details=details)
    return "invoice.marked_uncollectible", body


def _credit_note(rest: list[str], invoice: str, price: str) -> Made:
    whole = invoice if rest[0] == "-" else invoice_body(invoice, price, amount_remaining=int(rest[0]))
    body = {
        "id": "cn_1",
        "object": "credit_note",
        "customer": CUSTOMER,
        "invoice": whole,
        "pre_payment_amount": 4900,
    }
    return "credit_note.created", body


_BODIES = {
    "failed": _failed,
    "updated": _updated,
    "declined": _declined,
    "paid": _paid,
    "voided": _voided,
    "uncollectible": _uncollectible,
    "credit-note": _credit_note,
}
