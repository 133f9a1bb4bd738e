"""Bodies of what an account sells and to whom: products, prices, tax rates, customers, cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.stripe.model import Card, Customer, Object, Price, Product, TaxRate
from lab.stripe.personal import person

Body = dict[str, Any]


def product(it: Product, _objects: object) -> Body:
    return {
        "id": it.id,
        "object": "product",
        "active": True,
        "created": it.created,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": it.name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": "txcd_10103001",
        "type": "service",
        "unit_label": it.unit_label,
        "updated": it.created,
        "url": None,
    }


def price(it: Price, _objects: object) -> Body:
    return {
        "id": it.id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": it.created,
        "currency": it.currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": it.lookup_key,
        "metadata": {},
        "nickname": None,
        "product": it.product,
        "recurring": {
            "interval": it.interval,
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": it.unit_amount,
        "unit_amount_decimal": str(it.unit_amount),
    }


def plan(it: Price) -> Body:
    """The legacy twin of a price, which Stripe still sends on items."""
    return {
        "id": it.id,
        "object": "plan",
        "active": True,
        "amount": it.unit_amount,
        "amount_decimal": str(it.unit_amount),
        "billing_scheme": "per_unit",
        "created": it.created,
        "currency": it.currency,
        "interval": it.interval,
        "interval_count": 1,
        "livemode": False,
        "metadata": {},
        "meter": None,
        "nickname": None,
        "product": it.product,
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def tax_rate(it: TaxRate, _objects: object) -> Body:
    return {
        "id": it.id,
        "object": "tax_rate",
        "active": True,
        "country": it.country,
        "created": it.created,
        "description": None,
        "display_name": it.display_name,
        "effective_percentage": float(it.percent),
        "flat_amount": None,
        "inclusive": it.inclusive,
        "jurisdiction": it.country,
        "jurisdiction_level": "country",
        "livemode": False,
        "metadata": {},
        "percentage": float(it.percent),
        "rate_type": "percentage",
        "state": None,
        "tax_type": "vat",
    }


def address(of: Customer) -> Body:
    lives = person(of)
    return {
        "city": lives.city,
        "country": of.country,
        "line1": lives.line1,
        "line2": lives.line2,
        "postal_code": lives.postal_code,
        "state": None,
    }


def billing_details(of: Customer) -> Body:
    return {
        "address": address(of),
        "email": of.email,
        "name": of.name,
        "phone": person(of).phone,
        "tax_id": None,
    }


def customer(it: Customer, _objects: object) -> Body:
    contact = person(it)
    return {
        "id": it.id,
        "object": "customer",
        "address": address(it),
        "balance": 0,
        "created": it.created,
        "currency": it.currency,
        "customer_account": None,
        "default_source": None,
        "delinquent": it.delinquent,
        "description": contact.note,
        "email": it.email,
        "invoice_prefix": it.invoice_prefix,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": it.default_payment_method,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {"contact": contact.name},
        "name": it.name,
        "next_invoice_sequence": it.invoices + 1,
        "phone": contact.phone,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def payment_method(it: Card, objects: Mapping[str, Object]) -> Body:
    owner = objects[it.customer]
    assert isinstance(owner, Customer)
    return {
        "id": it.id,
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": billing_details(owner),
        "card": card(it),
        "created": it.created,
        "customer": it.customer,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def card(it: Card) -> Body:
    return {
        "brand": it.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": it.brand,
        "exp_month": 8,
        "exp_year": 2029,
        "fingerprint": f"fp{it.last4}{it.brand}",
        "funding": "credit",
        "generated_from": None,
        "last4": it.last4,
        "networks": {"available": [it.brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
