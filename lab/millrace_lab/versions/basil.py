"""What 2025-03-31.basil changed: the largest break of all. Source: docs.stripe.com/changelog/basil, facts §3.

Some of what older versions show is not in the new bodies. Hidden keys keep it: `_payment_intent`, `_charge`
and `_paid_out_of_band` on invoices, `_price` and `_tax_rates` on lines, `_invoice` on charges and intents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from millrace_lab.catalog.prices import plan_of

Body = dict[str, Any]
Find = Callable[[str], Body | None]


def subscription(body: Body, find: Find) -> Body:
    """One period for all items, beside those on the items (facts §7.2); one discount, whole."""
    items = body["items"]["data"]
    return {
        **body,
        "current_period_start": min(
            (item["current_period_start"] for item in items), default=body["start_date"]
        ),
        "current_period_end": max((item["current_period_end"] for item in items), default=body["start_date"]),
        "discount": _first(body["discounts"], find),
    }


def invoice(body: Body, find: Find) -> Body:
    """Who is billed, who paid and how much tax it is were fields of the invoice itself."""
    parent = body["parent"] or {}
    follows = parent.get("subscription_details") or {}
    taxes = body["total_taxes"] or []
    old = _without(body, "parent", "total_taxes", "amount_overpaid", "confirmation_secret", "payments")
    return {
        **old,
        "application_fee_amount": None,
        "charge": body["_charge"],
        "discount": _first(body["discounts"], find),
        "paid": body["status"] == "paid",
        "paid_out_of_band": body["_paid_out_of_band"],
        "payment_intent": body["_payment_intent"],
        "quote": (parent.get("quote_details") or {}).get("quote"),
        "subscription": follows.get("subscription"),
        "subscription_details": {"metadata": follows.get("metadata")},
        "tax": sum(each["amount"] for each in taxes) if taxes else None,
        "total_tax_amounts": _tax_amounts(taxes),
        "transfer_data": None,
    }


def line_item(body: Body, find: Find) -> Body:
    """Price and plan whole; where the line comes from, spread over it."""
    parent = body["parent"] or {}
    of_sub = parent.get("subscription_item_details")
    details = of_sub or parent.get("invoice_item_details") or {}
    price = body.get("_price")
    proration = details.get("proration_details") or {}
    old = _without(body, "parent", "pricing", "taxes")
    return {
        **old,
        "amount_excluding_tax": body["amount"] - _inclusive(body["taxes"]),
        "invoice_item": details.get("invoice_item"),
        "plan": _plan(price),
        "price": price,
        "proration": details.get("proration", False),
        "proration_details": {"credited_items": proration.get("credited_items")},
        "subscription": details.get("subscription"),
        "subscription_item": details.get("subscription_item"),
        "tax_amounts": _tax_amounts(body["taxes"]),
        "tax_rates": body.get("_tax_rates", []),
        "type": "subscription" if of_sub else "invoiceitem",
        "unit_amount_excluding_tax": (body["pricing"] or {}).get("unit_amount_decimal"),
    }


def invoiceitem(body: Body, _: Find) -> Body:
    details = (body["parent"] or {}).get("subscription_details") or {}
    price = body.get("_price")
    decimal = (body["pricing"] or {}).get("unit_amount_decimal")
    return {
        **_without(body, "parent", "pricing"),
        "plan": _plan(price),
        "price": price,
        "subscription": details.get("subscription"),
        "subscription_item": details.get("subscription_item"),
        "unit_amount": int(decimal) if decimal is not None and "." not in decimal else None,
        "unit_amount_decimal": decimal,
    }


def charge(body: Body, _: Find) -> Body:
    return {**body, "invoice": body.get("_invoice")}


def payment_intent(body: Body, _: Find) -> Body:
    return {**body, "invoice": body.get("_invoice")}


def credit_note(body: Body, _: Find) -> Body:
    """One refund at most."""
    refunds = body["refunds"]
    old = _without(body, "refunds", "total_taxes", "post_payment_amount", "pre_payment_amount")
    return {
        **old,
        "refund": refunds[0]["refund"] if refunds else None,
        "tax_amounts": _tax_amounts(body["total_taxes"] or []),
    }


def credit_note_line_item(body: Body, _: Find) -> Body:
    taxes = body["taxes"] or []
    return {
        **_without(body, "taxes"),
        "amount_excluding_tax": body["amount"] - _inclusive(taxes),
        "tax_amounts": _tax_amounts(taxes),
        "unit_amount_excluding_tax": body["unit_amount_decimal"],
    }


def session(body: Body, _: Find) -> Body:
    collected = body.get("collected_information") or {}
    return {**body, "shipping_details": collected.get("shipping_details")}


def _first(ids: Iterable[Any], find: Find) -> Body | None:
    """The first discount, whole: there was only one."""
    first = next(iter(ids), None)
    return find(first) if isinstance(first, str) else first


def _tax_amounts(taxes: Iterable[Body]) -> list[Body]:
    return [
        {
            "amount": each["amount"],
            "inclusive": each["tax_behavior"] == "inclusive",
            "tax_rate": (each["tax_rate_details"] or {}).get("tax_rate"),
            "taxability_reason": each["taxability_reason"],
            "taxable_amount": each["taxable_amount"],
        }
        for each in taxes
    ]


def _inclusive(taxes: Iterable[Body]) -> int:
    return sum(each["amount"] for each in taxes if each["tax_behavior"] == "inclusive")


def _plan(price: Body | None) -> Body | None:
    return plan_of(price) if price and price["recurring"] else None


def _without(body: Body, *names: str) -> Body:
    return {key: value for key, value in body.items() if key not in names}
