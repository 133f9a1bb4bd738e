"""Which topic an event goes to: by the longest dotted beginning of its type that stands in the table."""

from __future__ import annotations

from millrace.topics import STRIPE_BILLING, STRIPE_CATALOG, STRIPE_OTHER, STRIPE_PAYMENTS

TOPIC_OF: dict[str, str] = {
    # who is customer of what, what they owe and what was agreed
    "customer": STRIPE_BILLING,
    "subscription_schedule": STRIPE_BILLING,
    "invoice": STRIPE_BILLING,
    "invoiceitem": STRIPE_BILLING,
    "invoice_payment": STRIPE_BILLING,
    "credit_note": STRIPE_BILLING,
    "quote": STRIPE_BILLING,
    "checkout": STRIPE_BILLING,
    "billing": STRIPE_BILLING,
    "billing_portal": STRIPE_BILLING,
    "entitlements": STRIPE_BILLING,
    # money on its way
    "charge": STRIPE_PAYMENTS,
    "payment_intent": STRIPE_PAYMENTS,
    "payment_method": STRIPE_PAYMENTS,
    "setup_intent": STRIPE_PAYMENTS,
    "mandate": STRIPE_PAYMENTS,
    "source": STRIPE_PAYMENTS,
    "refund": STRIPE_PAYMENTS,
    "review": STRIPE_PAYMENTS,
    "radar": STRIPE_PAYMENTS,
    "payout": STRIPE_PAYMENTS,
    "balance": STRIPE_PAYMENTS,
    "transfer": STRIPE_PAYMENTS,
    "topup": STRIPE_PAYMENTS,
    "application_fee": STRIPE_PAYMENTS,
    "cash_balance": STRIPE_PAYMENTS,
    "customer_cash_balance_transaction": STRIPE_PAYMENTS,
    # what is for sale
    "product": STRIPE_CATALOG,
    "price": STRIPE_CATALOG,
    "plan": STRIPE_CATALOG,
    "coupon": STRIPE_CATALOG,
    "promotion_code": STRIPE_CATALOG,
    "tax_rate": STRIPE_CATALOG,
    "entitlements.feature": STRIPE_CATALOG,
    "billing.meter": STRIPE_CATALOG,
}


def topic_of(type_: str) -> str:
    """The topic of Stripe's event type. Unknown types, and thin ones (`v1.…`), go to stripe.other."""
    name = type_
    while name:
        if topic := TOPIC_OF.get(name):
            return topic
        name = name.rpartition(".")[0]
    return STRIPE_OTHER
