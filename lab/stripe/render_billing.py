"""Bodies of what is owed: subscriptions, invoices and their lines, invoice payments, credit notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.stripe.model import (
    CreditNote,
    Customer,
    Invoice,
    InvoiceItem,
    InvoicePayment,
    Item,
    Line,
    Object,
    Price,
    Subscription,
    TaxRate,
)
from lab.stripe.render_catalog import address, plan, price, tax_rate

Body = dict[str, Any]
Objects = Mapping[str, Object]
SELF = {"type": "self"}


def listed(data: list[Body], url: str) -> Body:
    return {"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url}


def _price(objects: Objects, id_: str) -> Price:
    found = objects[id_]
    assert isinstance(found, Price)
    return found


def _customer(objects: Objects, id_: str) -> Customer:
    found = objects[id_]
    assert isinstance(found, Customer)
    return found


def _rates(objects: Objects, id_: str | None) -> list[Body]:
    found = objects[id_] if id_ else None
    return [tax_rate(found, objects)] if isinstance(found, TaxRate) else []


def subscription(it: Subscription, objects: Objects) -> Body:
    first = it.items[0]
    return {
        "id": it.id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": it.billing_cycle_anchor,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": it.created,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": it.cancel_at,
        "cancel_at_period_end": it.cancel_at_period_end,
        "canceled_at": it.canceled_at,
        "cancellation_details": {
            "comment": it.cancellation.comment,
            "feedback": it.cancellation.feedback,
            "reason": it.cancellation.reason,
        },
        "collection_method": "charge_automatically",
        "created": it.created,
        "currency": it.currency,
        "customer": it.customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": it.default_payment_method,
        "default_source": None,
        "default_tax_rates": _rates(objects, _customer(objects, it.customer).tax_rate),
        "description": None,
        "discounts": [it.discount.id] if it.discount else [],
        "ended_at": it.ended_at,
        "invoice_settings": {"account_tax_ids": None, "issuer": SELF},
        "items": listed(
            [_item(item, it, objects) for item in it.items],
            f"/v1/subscription_items?subscription={it.id}",
        ),
        "latest_invoice": it.latest_invoice,
        "livemode": False,
        "managed_payments": None,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": _pause_collection(it),
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "on_subscription",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        # Still sent, no longer documented; see facts/stripe.md §7.
        "plan": plan(_price(objects, first.price)),
        "quantity": first.quantity,
        "schedule": None,
        "start_date": it.created,
        "status": it.status,
        "status_details": _paused(it),
        "test_clock": None,
        "transfer_data": None,
        "trial_end": it.trial_end,
        "trial_settings": {"end_behavior": {"missing_payment_method": it.missing_payment_method}},
        "trial_start": it.trial_start,
    }


def _item(item: Item, sub: Subscription, objects: Objects) -> Body:
    sold = _price(objects, item.price)
    return {
        "id": item.id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": item.created,
        "current_period_end": item.period_end,
        "current_period_start": item.period_start,
        "discounts": [],
        "metadata": {},
        "plan": plan(sold),
        "price": price(sold, objects),
        "quantity": item.quantity,
        "subscription": sub.id,
        "tax_rates": [],
    }


def _pause_collection(it: Subscription) -> Body | None:
    if it.pause_collection is None:
        return None
    return {"behavior": it.pause_collection, "resumes_at": it.pause_resumes_at}


def _paused(it: Subscription) -> Body | None:
    if it.status != "paused":
        return None
    why = {"subscription": {"type": it.paused_why}, "transitioned_at": it.paused_at, "type": "subscription"}
    return {"paused": why}


def invoice(it: Invoice, objects: Objects) -> Body:
    buyer = _customer(objects, it.customer)
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
        "customer_address": address(buyer.country),
        "customer_email": buyer.email,
        "customer_name": buyer.name,
        "customer_phone": None,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": _rates(objects, it.tax_rate),
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
        "tax_rates": _rates(objects, None),
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


def credit_note(it: CreditNote, objects: Objects) -> Body:
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
