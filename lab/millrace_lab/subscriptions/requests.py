"""What may be asked about subscriptions and their items. Source: docs.stripe.com/api/subscriptions."""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Page
from millrace_lab.params import NoParams, Params
from millrace_lab.subscriptions import asking, bodies, canceling, changing, pausing, starting, wanting
from millrace_lab.subscriptions.lifecycle import ENDED, alive, change


def create(step: Step, params: asking.Create) -> Body:
    return starting.start(step, params)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("subscription", id_)


def update(step: Step, params: asking.Update, id_: str) -> Body:
    sub = step.get("subscription", id_)
    if sub["status"] in ENDED:
        return _after_the_end(step, params, id_)
    return changing.update(step, params, id_)


STILL_EDITABLE = {"cancellation_details", "metadata"}


def _after_the_end(step: Step, params: asking.Update, id_: str) -> Body:
    """Of a canceled subscription the metadata and what was said at the end can still be edited."""
    refuse_unless(
        not params.given - STILL_EDITABLE,
        "A canceled subscription can only update its cancellation_details and metadata.",
    )
    return change(step, id_, **wanting.terms(step, step.get("subscription", id_), params))


def cancel(step: Step, params: asking.Cancel, id_: str) -> Body:
    return canceling.cancel(step, params, id_)


def pause(step: Step, params: asking.Pause, id_: str) -> Body:
    return pausing.pause(step, params, id_)


def resume(step: Step, params: asking.Resume, id_: str) -> Body:
    return pausing.resume(step, params, id_)


def migrate(step: Step, params: asking.Migrate, id_: str) -> Body:
    """From classic to flexible; there is no way back."""
    sub = alive(step, id_)
    refuse_unless(
        sub["billing_mode"]["type"] == "classic", "This subscription is already on the flexible billing mode."
    )
    refuse_unless(
        params.billing_mode.type == "flexible", "You can only migrate to `flexible`.", "billing_mode[type]"
    )
    return change(step, id_, billing_mode=bodies.billing_mode(params.billing_mode, step.now))


def listing(step: Step, params: asking.Listed) -> Page:
    """Newest first; canceled ones only where `status` asks for them."""
    return lists.page(
        step,
        "subscription",
        params,
        "/v1/subscriptions",
        lambda sub: _wanted(params, sub),
        params.customer,
        by=("collection_method", "created", "test_clock"),
    )


def _wanted(params: asking.Listed, sub: Body) -> bool:
    items = bodies.items_of(sub)
    return (
        _status_wanted(params.status, sub["status"])
        and (params.price is None or any(item["price"]["id"] == params.price for item in items))
        and (params.automatic_tax is None or params.automatic_tax.enabled == sub["automatic_tax"]["enabled"])
        and _period_wanted(params, items)
    )


def _status_wanted(asked: str | None, status: str) -> bool:
    match asked:
        case "all":
            return True
        case "ended":
            return status in ENDED
        case None:
            return status != "canceled"
    return status == asked


def _period_wanted(params: asking.Listed, items: list[Body]) -> bool:
    starts, ends = params.current_period_start, params.current_period_end
    return any(
        (starts is None or starts.holds(item["current_period_start"]))
        and (ends is None or ends.holds(item["current_period_end"]))
        for item in items
    )


# Items one by one: each is an update of its subscription.


def create_item(step: Step, params: asking.CreateItem) -> Body:
    old = {item["id"] for item in bodies.items_of(alive(step, params.subscription))}
    given = asking.ItemChange(**_given(params, ITEM_FIELDS))
    sub = changing.update(step, _as_update(params, given), params.subscription)
    return next(item for item in bodies.items_of(sub) if item["id"] not in old)


ITEM_FIELDS = ("price", "quantity", "metadata", "tax_rates", "discounts")
TERMS = ("payment_behavior", "proration_behavior", "proration_date")


def _given(params: Params, names: tuple[str, ...]) -> Body:
    return {name: getattr(params, name) for name in names if name in params.given}


def _as_update(params: Params, item: asking.ItemChange) -> asking.Update:
    return asking.Update(items=[item], **_given(params, TERMS))


def retrieve_item(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("subscription_item", id_)


def update_item(step: Step, params: asking.UpdateItem, id_: str) -> Body:
    item = step.get("subscription_item", id_)
    given = asking.ItemChange(id=id_, **_given(params, ITEM_FIELDS))
    changing.update(step, _as_update(params, given), item["subscription"])
    return step.get("subscription_item", id_)


def delete_item(step: Step, params: asking.DeleteItem, id_: str) -> Body:
    item = step.get("subscription_item", id_)
    given = asking.ItemChange(id=id_, deleted=True, clear_usage=params.clear_usage)
    changing.update(step, _as_update(params, given), item["subscription"])
    return {"id": id_, "object": "subscription_item", "deleted": True}


def list_items(step: Step, params: asking.ListItems) -> Page:
    sub = step.get("subscription", params.subscription, "subscription")
    return lists.cut(bodies.items_of(sub), params, "/v1/subscription_items", "subscription_item")
