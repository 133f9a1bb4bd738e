"""Stripe Event objects about money, as small as the ledger's rules allow, in the current shape and older ones."""

from __future__ import annotations

import itertools
from typing import Any

import orjson

CURRENT, BEFORE_BASIL = "2026-10-28.endive", "2024-06-20"
T0 = 1_790_000_000  # 2026-09-21T13:33:20Z
DAY = 86_400

_ids = itertools.count(1)
Body = dict[str, Any]


def event(type: str, obj: Body, *, at: int = T0, id: str = "", version: str = CURRENT) -> Body:
    """The envelope around an object; a new event id each time unless one is given."""
    return {
        "id": id or f"evt_{next(_ids):06d}",
        "object": "event",
        "api_version": version,
        "created": at,
        "livemode": False,
        "type": type,
        "data": {"object": obj},
    }


def line(
    amount: int, *, id: str = "il_1", days: int = 30, discount: int = 0, tax: int = 0, inclusive: bool = False
) -> Body:
    """An invoice line; `days` 0 is something delivered at once."""
    return {
        "id": id,
        "object": "line_item",
        "amount": amount,
        "period": {"start": T0, "end": T0 + days * DAY},
        "parent": {"subscription_item_details": {"subscription": "sub_1", "subscription_item": "si_1"}},
        "discount_amounts": [{"amount": discount, "discount": "di_1"}] if discount else [],
        "taxes": [_tax(tax, inclusive)] if tax else [],
    }


def _tax(amount: int, inclusive: bool) -> Body:
    return {"amount": amount, "tax_behavior": "inclusive" if inclusive else "exclusive"}


def invoice(*lines: Body, id: str = "in_1", currency: str = "usd", **changed: Any) -> Body:
    """An invoice over these lines, just finalized; its totals are the sums of its lines."""
    taxes = [tax for one in lines for tax in one["taxes"]]
    outside = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")
    discounts = sum(part["amount"] for one in lines for part in one["discount_amounts"])
    total = sum(one["amount"] for one in lines) - discounts + outside
    return {
        "id": id,
        "object": "invoice",
        "customer": "cus_1",
        "currency": currency,
        "status": "open",
        "total": total,
        "amount_due": total,
        "amount_paid": 0,
        "amount_remaining": total,
        "amount_paid_off_stripe": 0,
        "starting_balance": 0,
        "ending_balance": 0,
        "pre_payment_credit_notes_amount": 0,
        "post_payment_credit_notes_amount": 0,
        "lines": {"object": "list", "data": list(lines), "has_more": False},
        "total_taxes": taxes,
        "status_transitions": {
            "finalized_at": T0,
            "paid_at": None,
            "voided_at": None,
            "marked_uncollectible_at": None,
        },
        **changed,
    }


def moved(obj: Body, name: str, at: int, **changed: Any) -> Body:
    """The object after a transition."""
    return {**obj, "status_transitions": {**obj["status_transitions"], name: at}, **changed}


def invoice_payment(
    amount: int,
    *,
    id: str = "inpay_1",
    invoice: str = "in_1",
    by: str = "pi_1",
    type: str = "payment_intent",
    currency: str = "usd",
    at: int = T0 + 60,
) -> Body:
    return {
        "id": id,
        "object": "invoice_payment",
        "invoice": invoice,
        "amount_paid": amount,
        "amount_requested": amount,
        "currency": currency,
        "status": "paid",
        "payment": {"type": type, type: by},
        "status_transitions": {"paid_at": at, "canceled_at": None},
    }


def transaction(
    amount: int, fee: int = 0, *, id: str = "txn_1", currency: str = "usd", at: int = T0 + 61
) -> Body:
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": amount,
        "fee": fee,
        "net": amount - fee,
        "currency": currency,
        "created": at,
    }


def charge(
    amount: int, settled: Body | str | None, *, id: str = "ch_1", by: str | None = "pi_1", **changed: Any
) -> Body:
    return {
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "captured": True,
        "currency": "usd",
        "customer": "cus_1",
        "payment_intent": by,
        "status": "succeeded",
        "created": T0 + 60,
        "balance_transaction": settled,
        **changed,
    }


def refund(amount: int, settled: Body | str | None, *, id: str = "re_1", **changed: Any) -> Body:
    return {
        "id": id,
        "object": "refund",
        "amount": amount,
        "currency": "usd",
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "status": "succeeded",
        "created": T0 + 5 * DAY,
        "balance_transaction": settled,
        "failure_balance_transaction": None,
        **changed,
    }


def note_line(amount: int, *, of: str | None = "il_1", tax: int = 0, inclusive: bool = False) -> Body:
    return {
        "id": "cnli_1",
        "object": "credit_note_line_item",
        "amount": amount,
        "invoice_line_item": of,
        "discount_amounts": [],
        "taxes": [_tax(tax, inclusive)] if tax else [],
    }


def credit_note(*lines: Body, before: int = 0, after: int = 0, id: str = "cn_1", **changed: Any) -> Body:
    """A note that lowers the claim by `before` and gives `after` back."""
    return {
        "id": id,
        "object": "credit_note",
        "customer": "cus_1",
        "invoice": "in_1",
        "currency": "usd",
        "status": "issued",
        "created": T0 + 2 * DAY,
        "voided_at": None,
        "total": before + after,
        "pre_payment_amount": before,
        "post_payment_amount": after,
        "refunds": [],
        "out_of_band_amount": None,
        "customer_balance_transaction": None,
        "lines": {"object": "list", "data": list(lines), "has_more": False},
        "total_taxes": [tax for one in lines for tax in one["taxes"]],
        **changed,
    }


def another(life: list[Body], number: int) -> list[Body]:
    """The same life of other objects, so that many fit into one database."""
    text = orjson.dumps(life).decode()
    for name in ("in_", "cn_", "inpay_", "ch_", "txn_", "pi_", "pr_", "il_", "re_", "evt_"):
        text = text.replace(f'"{name}', f'"{name}{number}x')
    renamed: list[Body] = orjson.loads(text)
    return renamed
