"""Bodies of credit notes: one line each, with its share of the tax."""

from __future__ import annotations

from lab.stripe.model import CreditNote
from lab.stripe.render_parts import Body, listed


def credit_note(it: CreditNote, _objects: object) -> Body:
    net = it.amount - it.tax
    subtotal = it.amount if it.tax_inclusive else net
    taxes = [_credited_tax(it)] if it.tax_rate else []
    return {
        "id": it.id,
        "object": "credit_note",
        "amount": it.amount,
        "amount_shipping": 0,
        "created": it.created,
        "currency": it.currency,
        "customer": it.customer,
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": 0,
        "discount_amounts": [],
        "effective_at": it.created,
        "invoice": it.invoice,
        "lines": listed([_credit_line(it, subtotal, taxes)], f"/v1/credit_notes/{it.id}/lines"),
        "livemode": False,
        "memo": None,
        "metadata": {},
        "number": it.number,
        "out_of_band_amount": None,
        "pdf": f"https://pay.stripe.com/credit_notes/acct_lab/{it.id}/pdf?s=ap",
        "post_payment_amount": it.post_payment_amount,
        "pre_payment_amount": it.pre_payment_amount,
        "pretax_credit_amounts": [],
        "reason": it.reason,
        "refunds": _refunds(it),
        "shipping_cost": None,
        "status": it.status,
        "subtotal": subtotal,
        "subtotal_excluding_tax": net,
        "total": it.amount,
        "total_excluding_tax": net,
        "total_taxes": taxes,
        "type": "pre_payment" if it.pre_payment_amount else "post_payment",
        "voided_at": it.voided_at,
    }


def _credited_tax(it: CreditNote) -> Body:
    return {
        "amount": it.tax,
        "tax_behavior": "inclusive" if it.tax_inclusive else "exclusive",
        "tax_rate_details": {"tax_rate": it.tax_rate},
        "taxability_reason": "not_available",
        "taxable_amount": it.amount - it.tax,
        "type": "tax_rate_details",
    }


def _credit_line(it: CreditNote, subtotal: int, taxes: list[Body]) -> Body:
    return {
        "id": it.line,
        "object": "credit_note_line_item",
        "amount": subtotal,
        "description": "Credit",
        "discount_amount": 0,
        "discount_amounts": [],
        "invoice_line_item": it.invoice_line,
        "livemode": False,
        "metadata": {},
        "pretax_credit_amounts": [],
        "quantity": 1,
        "tax_rates": [],
        "taxes": taxes,
        "type": "invoice_line_item" if it.invoice_line else "custom_line_item",
        "unit_amount": subtotal,
        "unit_amount_decimal": str(subtotal),
    }


def _refunds(it: CreditNote) -> list[Body]:
    if it.refund is None:
        return []
    paid_back = {"amount_refunded": it.post_payment_amount, "refund": it.refund}
    return [{**paid_back, "payment_record_refund": None, "type": "refund"}]
