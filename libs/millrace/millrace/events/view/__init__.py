"""Stripe's objects as they mean today, whichever API version rendered them.

    match view(event):
        case Subscription() as it:
            print(it.id, it.status, it.period_end, [item.price.lookup_key for item in it.items if item.price])
        case Invoice() as it:
            print(it.id, it.subscription, it.total, it.taxes)

An event carries Stripe's body as it came, sealed; this is the second way to read it. Each class is a table: a line
a field, with what it means and where each version keeps it (`docs/stripe-view.md` shows them all). A field is read
when it is asked for, by the rules of `millrace.events.view.field`: money is `Money`, a time is UTC, an id is an
opaque text, words are open, None is what is not told. Nothing sealed is opened, and nothing that is sealed by the
policy is a field.

Source: docs.stripe.com/changelog; recorded bodies from 2016 to 2026-03-25.dahlia; stripe-python 16.1.0 for endive.
"""

from __future__ import annotations

from millrace.events import STRIPE, Event
from millrace.events.stripe import object_of
from millrace.events.view.billing import (
    Credited,
    CreditNote,
    CreditNoteLine,
    Invoice,
    Item,
    Line,
    Phase,
    PhaseItem,
    Refunded,
    Schedule,
    Subscription,
)
from millrace.events.view.catalog import (
    Coupon,
    Discount,
    PretaxCredit,
    Price,
    Product,
    PromotionCode,
    Reduction,
    Tax,
)
from millrace.events.view.field import View, asdict
from millrace.events.view.payments import (
    Account,
    BalanceTransaction,
    Charge,
    CheckoutSession,
    Customer,
    Dispute,
    EntitlementSummary,
    Feature,
    InvoicePayment,
    PaymentIntent,
    Payout,
    Refund,
)

# By the word that an object calls itself.
KINDS: dict[str, type[View]] = {
    "subscription": Subscription,
    "subscription_schedule": Schedule,
    "invoice": Invoice,
    "invoice_payment": InvoicePayment,
    "credit_note": CreditNote,
    "charge": Charge,
    "payment_intent": PaymentIntent,
    "refund": Refund,
    "dispute": Dispute,
    "balance_transaction": BalanceTransaction,
    "payout": Payout,
    "checkout.session": CheckoutSession,
    "customer": Customer,
    "v2.core.account": Account,
    "entitlements.active_entitlement_summary": EntitlementSummary,
    "price": Price,
    "plan": Price,
    "product": Product,
    "coupon": Coupon,
    "discount": Discount,
    "promotion_code": PromotionCode,
}
PARTS = (
    Item,
    Phase,
    PhaseItem,
    Line,
    Credited,
    CreditNoteLine,
    Refunded,
    Tax,
    Reduction,
    PretaxCredit,
    Feature,
)


def view(event: Event) -> View | None:
    """The object of an event of Stripe's, read by its canonical fields; None for kinds without a view.

    Raises Poison for an event without its object. Fields raise theirs when they are read.
    """
    if not event.type.startswith(STRIPE):
        return None
    body = object_of(event)
    named = body.get("object")
    kind = KINDS.get(named) if isinstance(named, str) else None
    return kind(body) if kind else None


__all__ = [
    "KINDS",
    "PARTS",
    "Account",
    "BalanceTransaction",
    "Charge",
    "CheckoutSession",
    "Coupon",
    "CreditNote",
    "CreditNoteLine",
    "Credited",
    "Customer",
    "Discount",
    "Dispute",
    "EntitlementSummary",
    "Feature",
    "Invoice",
    "InvoicePayment",
    "Item",
    "Line",
    "PaymentIntent",
    "Payout",
    "Phase",
    "PhaseItem",
    "PretaxCredit",
    "Price",
    "Product",
    "PromotionCode",
    "Reduction",
    "Refund",
    "Refunded",
    "Schedule",
    "Subscription",
    "Tax",
    "View",
    "asdict",
    "view",
]
