"""Bodies of what is billed: invoices and their lines, waiting items, invoice payments."""

from __future__ import annotations

from lab.stripe.model import Invoice, InvoiceItem, InvoicePayment, Line
from lab.stripe.personal import person
from lab.stripe.render_catalog import address
from lab.stripe.render_parts import SELF, Body, Objects, customer_of, listed, rates_of


def invoice(it: Invoice, objects: Objects) -> Body:
    buyer = customer_of(objects, it.customer)
    return {
        "id": it.id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Northwind Boards",
        "account_tax_ids": None,
        "amount_due": it.amount_due,
        "amount_overpaid": 0,
        "amount_paid": it.amount_paid,
        "amount_paid_off_stripe": 0,
        "amount_remaining": it.amount_remaining,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": it.attempt_count,
        "attempted": it.attempted,
        "auto_advance": it.auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": it.finalizes_at if it.status == "draft" else None,
        "billing_reason": it.billing_reason,
        "collection_method": "charge_automatically",
        "created": it.created,
        "currency": it.currency,
        "custom_fields": None,
        "customer": it.customer,
        "customer_account": None,
        "customer_address": address(buyer),
        "customer_email": buyer.email,
        "customer_name": buyer.name,
        "customer_phone": person(buyer).phone,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": rates_of(objects, it.tax_rate),
        "description": None,
        "discounts": [it.discount] if it.discount else [],
        "due_date": None,
        "effective_at": it.finalized_at,
        "ending_balance": None if it.finalized_at is None else 0,
        "footer": None,
        "from_invoice": None,
        **_documents(it),
        "issuer": SELF,
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": listed([_line(line, it) for line in it.lines], f"/v1/invoices/{it.id}/lines"),
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": it.next_payment_attempt,
        "number": it.number,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": it.subscription},
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": it.period_end,
        "period_start": it.period_start,
        "post_payment_credit_notes_amount": it.post_payment_credit,
        "pre_payment_credit_notes_amount": it.pre_payment_credit,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": it.status,
        "status_details": _uncollectible(it),
        "status_transitions": {
            "finalized_at": it.finalized_at,
            "marked_uncollectible_at": it.uncollectible_at,
            "paid_at": it.paid_at,
            "voided_at": it.voided_at,
        },
        "subtotal": it.subtotal,
        "subtotal_excluding_tax": it.total + it.discounted - it.tax,
        "test_clock": None,
        "total": it.total,
        "total_discount_amounts": [{"amount": it.discounted, "discount": it.discount}] if it.discount else [],
        "total_excluding_tax": it.total - it.tax,
        "total_pretax_credit_amounts": [],
        "total_taxes": [_tax(it, it.tax, sum(line.taxable for line in it.lines))] if it.tax_rate else [],
        "webhooks_delivered_at": it.created,
    }


def _documents(it: Invoice) -> Body:
    if it.finalized_at is None:
        return {"hosted_invoice_url": None, "invoice_pdf": None}
    page = f"https://invoice.stripe.com/i/acct_lab/test_{it.id}"
    return {"hosted_invoice_url": f"{page}?s=ap", "invoice_pdf": f"{page}/pdf?s=ap"}


def _uncollectible(it: Invoice) -> Body | None:
    if it.uncollectible_at is None:
        return None
    return {"uncollectible": {"reason": it.uncollectible_why}}


def _tax(it: Invoice, amount: int, taxable: int) -> Body:
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if it.tax_inclusive else "exclusive",
        "tax_rate_details": {"tax_rate": it.tax_rate},
        "taxability_reason": "not_available",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def _line(line: Line, it: Invoice) -> Body:
    discounted = bool(it.discount) and not line.proration
    return {
        "id": line.id,
        "object": "line_item",
        "amount": line.amount,
        "currency": it.currency,
        "description": line.description,
        "discount_amounts": [{"amount": line.discount_amount, "discount": it.discount}] if discounted else [],
        "discountable": not line.proration,
        "discounts": [],
        "invoice": it.id,
        "livemode": False,
        "metadata": {},
        "parent": _parent(line, it),
        "period": {"end": line.period_end, "start": line.period_start},
        "pretax_credit_amounts": [],
        "pricing": _pricing(line),
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "subscription": it.subscription,
        "subtotal": line.amount,
        "taxes": [_tax(it, line.tax, line.taxable)] if it.tax_rate else [],
    }


def _parent(line: Line, it: Invoice) -> Body:
    details = {
        "invoice_item": line.invoice_item,
        "proration": line.proration,
        "proration_details": {"credited_items": _credited(line)},
        "subscription": it.subscription,
        "subscription_item": line.item,
    }
    return {
        "invoice_item_details": None,
        "subscription_item_details": details,
        "type": "subscription_item_details",
    }


def _credited(line: Line) -> Body | None:
    if line.credited_invoice is None:
        return None
    return {"invoice": line.credited_invoice, "invoice_line_items": list(line.credited_lines)}


def _pricing(line: Line) -> Body:
    return {
        "price_details": {"price": line.price, "product": line.product},
        "type": "price_details",
        "unit_amount_decimal": str(line.unit_amount),
    }


def invoice_item(it: InvoiceItem, objects: Objects) -> Body:
    line = it.line
    return {
        "id": it.id,
        "object": "invoiceitem",
        "amount": line.amount,
        "currency": it.currency,
        "customer": it.customer,
        "customer_account": None,
        "date": it.created,
        "description": line.description,
        "discountable": False,
        "discounts": [],
        "frozen_fields": [],
        "invoice": it.invoice,
        "livemode": False,
        "metadata": {},
        "net_amount": line.amount,
        "parent": {
            "subscription_details": {"subscription": it.subscription, "subscription_item": line.item},
            "type": "subscription_details",
        },
        "period": {"end": line.period_end, "start": line.period_start},
        "pricing": _pricing(line),
        "proration": True,
        "proration_details": {"discount_amounts": []},
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "tax_rates": rates_of(objects, None),
        "test_clock": None,
    }


def invoice_payment(it: InvoicePayment, _objects: object) -> Body:
    return {
        "id": it.id,
        "object": "invoice_payment",
        "amount_paid": it.amount_paid,
        "amount_requested": it.amount_requested,
        "created": it.created,
        "currency": it.currency,
        "invoice": it.invoice,
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": it.payment_intent, "type": "payment_intent"},
        "status": it.status,
        "status_transitions": {"canceled_at": it.canceled_at, "paid_at": it.paid_at},
    }
