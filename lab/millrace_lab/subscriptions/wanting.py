"""What an update wants: the items as they will be, and the terms that have no price of their own."""

from __future__ import annotations

from collections.abc import Callable

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import discounts, prices, tax_rates
from millrace_lab.errors import Body
from millrace_lab.params import merged
from millrace_lab.periods import period_around
from millrace_lab.subscriptions import asking, bodies, extras, starting
from millrace_lab.subscriptions.lifecycle import due, flexible


def items(step: Step, sub: Body, params: asking.Update) -> list[Body]:
    found = {item["id"]: item for item in bodies.items_of(sub)}
    for given in params.items:
        if given.id is None:
            added = _added(step, sub, given)
            found[added["id"]] = added
            continue
        refuse_unless(
            given.id in found, f"No such subscription item: '{given.id}'", "items[0][id]", "resource_missing"
        )
        if given.deleted:
            _refuse_to_lose_usage(sub, found.pop(given.id), given.clear_usage)
        else:
            found[given.id] = _changed(step, sub, found[given.id], given)
    refuse_unless(
        bool(found),
        "A subscription must have at least one active plan. To cancel the subscription, cancel it.",
    )
    return _checked(sub, list(found.values()))


def _refuse_to_lose_usage(sub: Body, item: Body, clear_usage: bool) -> None:
    """In the classic mode a metered item goes only with its usage. The flexible mode bills it."""
    refuse_unless(
        flexible(sub) or clear_usage or not bodies.is_metered(item["price"]),
        "Subscription item cannot be deleted because it has usage. Pass `clear_usage=true` to delete it all.",
        "items[0][deleted]",
    )


def _checked(sub: Body, found: list[Body]) -> list[Body]:
    ids = [item["price"]["id"] for item in found]
    twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
    refuse_unless(
        twice is None, f"Cannot add multiple subscription items with the same plan: {twice}", "items"
    )
    starting.refuse_unless_one_interval([item["price"] for item in found], sub["billing_mode"]["type"])
    return found


def _added(step: Step, sub: Body, given: asking.ItemChange) -> Body:
    price = bodies.price_of(step, starting.price_id(given), sub["currency"])
    start, end = _place_in_cycle(sub, price, step.now)
    item = bodies.new_item(step, sub["id"], price, given, start, end)
    return {**item, "discounts": extras.item_discounts(step, given, sub["customer"], item)}


def _place_in_cycle(sub: Body, price: Body, now: int) -> tuple[int, int]:
    """The running period of the price's rhythm: that of an item like it, or the one of the anchor's cycle."""
    for item in bodies.items_of(sub):
        if rhythm(item["price"]) == rhythm(price):
            return item["current_period_start"], item["current_period_end"]
    return period_around(sub["billing_cycle_anchor"], now, *rhythm(price))


def rhythm(price: Body) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _changed(step: Step, sub: Body, item: Body, given: asking.ItemChange) -> Body:
    changed = {**item}
    if (asked := given.price or given.plan) and asked != item["price"]["id"]:
        price = bodies.price_of(step, asked, sub["currency"])
        changed |= {"price": price, "plan": prices.plan_of(price)}
        if rhythm(price) != rhythm(item["price"]) and item["current_period_end"] > step.now:
            start, end = _place_in_cycle(sub, price, step.now)
            changed |= {"current_period_start": start, "current_period_end": end}
    if "metadata" in given.given:
        changed["metadata"] = merged(item["metadata"], given.metadata)
    if "tax_rates" in given.given:
        changed["tax_rates"] = tax_rates.named(step, given.tax_rates)
    if "discounts" in given.given:
        changed["discounts"] = extras.item_discounts(step, given, sub["customer"], item)
    return _counted(changed, given.quantity)


def _counted(item: Body, quantity: int | None) -> Body:
    """A licensed item has a quantity, a metered one none."""
    if bodies.is_metered(item["price"]):
        refuse_unless(
            quantity is None, bodies.METERED_QUANTITY.format(item["price"]["id"]), "items[0][quantity]"
        )
        return {key: value for key, value in item.items() if key != "quantity"}
    return {**item, "quantity": item.get("quantity", 1) if quantity is None else quantity}


# The other terms.

SIMPLE = ("collection_method", "days_until_due", "default_payment_method", "description")
SHAPED: dict[str, Callable[[Step, asking.Update, Body], object]] = {
    "automatic_tax": lambda _, params, __: bodies.automatic_tax(params.automatic_tax),
    "default_tax_rates": lambda step, params, _: tax_rates.named(step, params.default_tax_rates),
    "discounts": lambda step, params, sub: _discounts(step, params, sub),
    "invoice_settings": lambda _, params, sub: bodies.invoice_settings(
        params.invoice_settings, sub["invoice_settings"]
    ),
    "metadata": lambda _, params, sub: merged(sub["metadata"], params.metadata),
    "pause_collection": lambda step, params, sub: _pause_collection(step, params, sub),
    "payment_settings": lambda _, params, sub: bodies.payment_settings(
        params.payment_settings, sub["payment_settings"]
    ),
    "pending_invoice_item_interval": lambda _, params, __: bodies.interval_of(
        params.pending_invoice_item_interval
    ),
    "trial_settings": lambda _, params, __: bodies.trial_settings(params.trial_settings),
}


def terms(step: Step, sub: Body, params: asking.Update) -> Body:
    """The new values of what has no price: each its own field."""
    fields = params.changes(*SIMPLE)
    fields |= {name: shape(step, params, sub) for name, shape in SHAPED.items() if name in params.given}
    if fields.get("default_payment_method"):
        step.get("payment_method", fields["default_payment_method"], "default_payment_method")
    if params.cancellation_details is not None:
        fields["cancellation_details"] = {
            **sub["cancellation_details"],
            **params.cancellation_details.changes(),
        }
    return fields


def _discounts(step: Step, params: asking.Update, sub: Body) -> list[str]:
    made = discounts.attach(step, params.discounts, customer=sub["customer"], subscription=sub["id"])
    return [each["id"] for each in made]


def _pause_collection(step: Step, params: asking.Update, sub: Body) -> Body | None:
    asked = params.pause_collection
    due(step, sub["id"], "resume_collection", asked.resumes_at if asked else None)
    return {"behavior": asked.behavior, "resumes_at": asked.resumes_at} if asked else None
