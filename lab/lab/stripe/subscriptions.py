"""What people do with subscriptions: start, change, pause, cancel; and how one renews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.stripe import collection
from lab.stripe.agenda import TRIAL_NOTICE
from lab.stripe.invoicing import period_line
from lab.stripe.lifecycle import (
    NOT_CANCELED,
    alive,
    bind_pending,
    change_subscription,
    end_subscription,
    pause_subscription,
    pending_items,
    take_pending,
)
from lab.stripe.model import (
    DAY,
    Cancellation,
    Customer,
    Discount,
    Dunning,
    Item,
    Price,
    Refused,
    Subscription,
)
from lab.stripe.periods import period_end
from lab.stripe.world import Outcome, Step, World

DEFAULT_DUNNING = Dunning()


def subscribe(
    world: World,
    at: int,
    customer: str,
    items: Sequence[tuple[str, int]],
    *,
    trial_days: int = 0,
    percent_off: int = 0,
    missing_payment_method: str = "create_invoice",
    dunning: Dunning = DEFAULT_DUNNING,
) -> Outcome:
    """Start a subscription: on trial, or with a first payment that decides between active and incomplete."""
    step = Step(world, at)
    anchor = at + trial_days * DAY
    buyer = step.get(Customer, customer)
    prices = [step.get(Price, price) for price, _ in items]
    if any(price.currency != buyer.currency for price in prices):
        raise Refused("a customer keeps one currency")
    end = anchor if trial_days else period_end(anchor, at, prices[0].interval)
    sub = Subscription(
        id=step.new_id("sub"),
        created=at,
        customer=customer,
        currency=prices[0].currency,
        status="trialing" if trial_days else "incomplete",
        items=tuple(Item(step.new_id("si"), at, price, quantity, at, end) for price, quantity in items),
        billing_cycle_anchor=anchor,
        trial_start=at if trial_days else None,
        trial_end=anchor if trial_days else None,
        missing_payment_method=missing_payment_method,
        discount=Discount(step.new_id("di"), f"{percent_off}OFF", percent_off, at) if percent_off else None,
        dunning=dunning,
    )
    _start(step, sub, prices)
    return step.done(sub.id)


def _start(step: Step, sub: Subscription, prices: Sequence[Price]) -> None:
    trial = sub.status == "trialing"
    lines = [
        period_line(step.new_id, item, price, free=trial)
        for item, price in zip(sub.items, prices, strict=True)
    ]
    first = collection.draft(step, sub, lines, "subscription_create", (step.at, step.at))
    short = trial and sub.trial_end is not None and sub.trial_end - step.at <= TRIAL_NOTICE
    step.add(replace(sub, latest_invoice=first.id, trial_warned=short))
    step.tell("customer.subscription.created", sub.id)
    step.tell("invoice.created", first.id)
    if short:
        step.tell("customer.subscription.trial_will_end", sub.id)
    collection.collect_now(step, first.id, sub)


def renew(step: Step, id_: str) -> None:
    """A period ends: the next one begins, and its draft invoice is made an hour before it is final."""
    sub = step.get(Subscription, id_)
    items = tuple(_next_period(step, sub, item) for item in sub.items)
    lines = [period_line(step.new_id, item, step.get(Price, item.price)) for item in items]
    period = (sub.items[0].period_start, sub.items[0].period_end)
    invoice = collection.draft(step, sub, [*take_pending(step, sub), *lines], "subscription_cycle", period)
    bind_pending(step, sub, invoice.id)
    status = "active" if sub.status == "trialing" else sub.status
    change_subscription(step, id_, items=items, latest_invoice=invoice.id, status=status)
    if sub.status == "unpaid" or sub.pause_collection == "keep_as_draft":
        step.save(replace(invoice, auto_advance=False, finalizes_at=None))
    step.tell("invoice.created", invoice.id)


def _next_period(step: Step, sub: Subscription, item: Item) -> Item:
    interval = step.get(Price, item.price).interval
    start = item.period_end
    return replace(item, period_start=start, period_end=period_end(sub.billing_cycle_anchor, start, interval))


def cancel_now(world: World, at: int, subscription: str) -> Outcome:
    step = Step(world, at)
    if alive(step, subscription).status == "incomplete":
        raise Refused("an incomplete subscription expires by itself")
    end_subscription(step, subscription, "cancellation_requested")
    return step.done(subscription)


def _may_schedule_end(step: Step, id_: str) -> Subscription:
    sub = alive(step, id_)
    if sub.status not in ("active", "trialing", "past_due") or sub.cancel_at is not None:
        raise Refused("this subscription cannot be scheduled to end")
    if pending_items(step, id_):
        raise Refused("prorations of a subscription about to end would never be invoiced")
    return sub


def cancel_in_portal(world: World, at: int, subscription: str, feedback: str) -> Outcome:
    """A customer cancels in the portal: `cancel_at` alone, then the feedback as a second update."""
    step = Step(world, at)
    sub = _may_schedule_end(step, subscription)
    asked = Cancellation(reason="cancellation_requested")
    change_subscription(step, sub.id, cancel_at=sub.items[0].period_end, canceled_at=at, cancellation=asked)
    change_subscription(step, sub.id, later=1, cancellation=replace(asked, feedback=feedback))
    return step.done(sub.id)


def cancel_at_period_end(world: World, at: int, subscription: str) -> Outcome:
    """The API's older way: the boolean, and the date that follows from it."""
    step = Step(world, at)
    sub = _may_schedule_end(step, subscription)
    change_subscription(
        step,
        sub.id,
        cancel_at_period_end=True,
        cancel_at=sub.items[0].period_end,
        canceled_at=at,
        cancellation=Cancellation(reason="cancellation_requested"),
    )
    return step.done(sub.id)


def keep(world: World, at: int, subscription: str) -> Outcome:
    """The customer thinks again before the end."""
    step = Step(world, at)
    sub = alive(step, subscription)
    if sub.cancel_at is None:
        raise Refused("no cancellation is scheduled")
    change_subscription(
        step, sub.id, cancel_at=None, cancel_at_period_end=False, canceled_at=None, cancellation=NOT_CANCELED
    )
    return step.done(sub.id)


def pause_collection(
    world: World, at: int, subscription: str, behavior: str, resumes_at: int | None = None
) -> Outcome:
    """Stop collecting while the status stays; not to be confused with the status `paused`."""
    step = Step(world, at)
    if alive(step, subscription).status not in ("active", "trialing"):
        raise Refused("collection is paused only for a subscription in good standing")
    change_subscription(step, subscription, pause_collection=behavior, pause_resumes_at=resumes_at)
    return step.done(subscription)


def resume_collection(world: World, at: int, subscription: str) -> Outcome:
    step = Step(world, at)
    if alive(step, subscription).pause_collection is None:
        raise Refused("collection is not paused")
    change_subscription(step, subscription, pause_collection=None, pause_resumes_at=None)
    return step.done(subscription)


def pause(world: World, at: int, subscription: str) -> Outcome:
    step = Step(world, at)
    sub = alive(step, subscription)
    if sub.status != "active" or sub.cancel_at is not None or pending_items(step, sub.id):
        raise Refused("only an active subscription without loose ends is paused here")
    pause_subscription(step, subscription, "pause_requested")
    return step.done(subscription)


def resume(world: World, at: int, subscription: str) -> Outcome:
    """Go on after a pause with a new period from now, paid now."""
    step = Step(world, at)
    sub = alive(step, subscription)
    if sub.status != "paused" or collection.card_for(step, sub) is None:
        raise Refused("only a paused subscription with a card is resumed")
    interval = step.get(Price, sub.items[0].price).interval
    end = period_end(at, at, interval)
    items = tuple(replace(item, period_start=at, period_end=end) for item in sub.items)
    lines = [period_line(step.new_id, item, step.get(Price, item.price)) for item in items]
    invoice = collection.draft(step, sub, lines, "subscription_cycle", (at, at))
    change_subscription(
        step,
        sub.id,
        status="active",
        paused_at=None,
        paused_why=None,
        items=items,
        billing_cycle_anchor=at,
        latest_invoice=invoice.id,
    )
    step.tell("customer.subscription.resumed", sub.id)
    step.tell("invoice.created", invoice.id)
    collection.collect_now(step, invoice.id, sub)
    return step.done(sub.id)
