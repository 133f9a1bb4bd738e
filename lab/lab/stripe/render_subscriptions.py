"""Bodies of subscriptions and their items."""

from __future__ import annotations

from lab.stripe.model import Item, Subscription
from lab.stripe.render_catalog import plan, price
from lab.stripe.render_parts import SELF, Body, Objects, customer_of, listed, price_of, rates_of


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
        "default_tax_rates": rates_of(objects, customer_of(objects, it.customer).tax_rate),
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
        "plan": plan(price_of(objects, first.price)),
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
    sold = price_of(objects, item.price)
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
