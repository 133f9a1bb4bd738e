"""The shape of a subscription and its items, and the one way in which items are kept.

An item is an object of its own and part of its subscription's body: `keep_items` writes both.
"""

from __future__ import annotations

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax_rates
from millrace_lab.catalog.asking import AutomaticTax, Rhythm
from millrace_lab.catalog.prices import in_currency, plan_of
from millrace_lab.errors import Body
from millrace_lab.lists import listed
from millrace_lab.subscriptions import asking

SELF = {"type": "self"}
NOT_CANCELED: Body = {"comment": None, "feedback": None, "feedback_option": None, "reason": None}


def subscription(step: Step, params: asking.Create, id_: str, **fields: object) -> Body:
    """A new subscription without its items; `fields` are what starting it decides."""
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": automatic_tax(params.automatic_tax),
        "billing_cycle_anchor_config": None,
        "billing_mode": billing_mode(params.billing_mode, step.now),
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": NOT_CANCELED,
        "collection_method": params.collection_method,
        "created": step.now,
        "customer": params.customer,
        "customer_account": None,
        "days_until_due": params.days_until_due,
        "default_payment_method": params.default_payment_method,
        "default_source": None,
        "default_tax_rates": tax_rates.named(step, params.default_tax_rates),
        "description": params.description,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": invoice_settings(params.invoice_settings),
        "latest_invoice": None,
        "livemode": step.account.livemode,
        "managed_payments": None,
        "metadata": params.metadata or {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": payment_settings(params.payment_settings),
        "pending_invoice_item_interval": interval_of(params.pending_invoice_item_interval),
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "status_details": None,
        "test_clock": step.clock,
        "transfer_data": None,
        "trial_settings": trial_settings(params.trial_settings),
        **fields,
    }


def automatic_tax(given: AutomaticTax | None) -> Body:
    enabled = given is not None and given.enabled
    return {"disabled_reason": None, "enabled": enabled, "liability": SELF if enabled else None}


def billing_mode(given: asking.BillingMode, now: int) -> Body:
    if given.type == "classic":
        return {"flexible": None, "type": "classic"}
    flexible = given.flexible or asking.Flexible()
    return {
        "flexible": {"proration_discounts": flexible.proration_discounts},
        "type": "flexible",
        "updated_at": now,
    }


def payment_settings(given: asking.PaymentSettings | None, old: Body | None = None) -> Body:
    before = old or {
        "payment_method_options": None,
        "payment_method_types": None,
        "save_default_payment_method": "off",
    }
    return {
        **before,
        **(given.changes("payment_method_types", "save_default_payment_method") if given else {}),
    }


def invoice_settings(given: asking.InvoiceSettings | None, old: Body | None = None) -> Body:
    before = old or {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": SELF,
    }
    return {**before, **(given.changes("description", "footer") if given else {})}


def trial_settings(given: asking.TrialSettings | None) -> Body:
    missing = given.end_behavior.missing_payment_method if given else "create_invoice"
    return {"end_behavior": {"missing_payment_method": missing}}


def interval_of(given: Rhythm | None) -> Body | None:
    return given.model_dump() if given else None


# Items.


def price_of(step: Step, id_: str, currency: str | None = None) -> Body:
    """A price that can be subscribed to. Refuses archived, one-time and foreign ones in Stripe's words."""
    price = step.get("price", id_, "items[0][price]")
    refuse_unless(
        bool(price["active"]) or step.request["id"] is None,  # what was planned earlier keeps its price
        f"The price specified is inactive. This field only accepts active prices. (price: `{id_}`)",
        "items[0][price]",
        "price_inactive",
    )
    refuse_unless(
        price["type"] == "recurring",
        f"The price specified is set to `type=one_time` but this field only accepts prices with "
        f"`type=recurring`. (price: `{id_}`)",
        "items[0][price]",
    )
    if currency is not None:
        in_currency(price, currency)  # refuses one that is not sold in it
    return price


def new_item(step: Step, sub: str, price: Body, given: asking.ItemGiven, start: int, end: int) -> Body:
    """An item that is not kept yet; `keep_items` does that."""
    item: Body = {
        "id": step.new_id("si", 14),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": step.now,
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": given.metadata or {},
        "plan": plan_of(price),
        "price": price,
        "subscription": sub,
        "tax_rates": tax_rates.named(step, given.tax_rates),
    }
    if is_metered(price):
        refuse_unless(given.quantity is None, METERED_QUANTITY.format(price["id"]), "items[0][quantity]")
        return item
    return {**item, "quantity": 1 if given.quantity is None else given.quantity}


METERED_QUANTITY = (
    "Item quantity should not be set for a usage-based price. Either remove the quantity or use a licensed "
    "price instead. (price: `{}`)"
)


def is_metered(price: Body) -> bool:
    """Whether the price is billed for usage, after the period, rather than for a quantity before it."""
    return bool(price["recurring"]["usage_type"] == "metered")


def keep_items(step: Step, sub: str, items: list[Body]) -> Body:
    """The items a subscription has from now on, with the undocumented `plan` and `quantity` that follow.

    Source: docs/lab/behaviours.md: both are still sent at the top; they are null for several items.
    """
    kept = {item["id"] for item in items}
    for gone in step.of("subscription_item", sub):
        if gone["id"] not in kept:
            step.remove(gone["id"])
    data = [_kept(step, item) for item in items]
    only = data[0] if len(data) == 1 else None
    return step.change(
        sub,
        items=listed(data, f"/v1/subscription_items?subscription={sub}"),
        plan=only["plan"] if only else None,
        quantity=only.get("quantity") if only else None,
    )


def _kept(step: Step, item: Body) -> Body:
    """Written whole, not field by field: an item that becomes metered has no quantity any more."""
    known = step.find(item["id"])
    parents = [] if known is not None and not known.get("deleted") else [item["subscription"]]
    return step.add(item, *parents)


def items_of(sub: Body) -> list[Body]:
    found: list[Body] = sub["items"]["data"]
    return found


def period_of(sub: Body) -> tuple[int, int]:
    """The period of a subscription whose items may have several: the one that ends first."""
    first = min(items_of(sub), key=lambda item: int(item["current_period_end"]))
    return first["current_period_start"], first["current_period_end"]
