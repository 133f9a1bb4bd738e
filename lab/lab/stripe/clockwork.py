"""What Stripe does by itself as time passes: renewals, retries, trial ends, expiries, settlement."""

from __future__ import annotations

from dataclasses import replace

from lab.stripe import closing, collection, corrections, subscriptions
from lab.stripe.agenda import FIRST_PAYMENT_WINDOW, TRIAL_NOTICE
from lab.stripe.lifecycle import (
    change_subscription,
    end_subscription,
    expire_subscription,
    pause_subscription,
)
from lab.stripe.model import Charge, Invoice, Refund, Subscription
from lab.stripe.settlement import settle_charge
from lab.stripe.world import Event, Outcome, Step, World


def next_due(world: World) -> tuple[int, str] | None:
    """The next second at which time alone changes something, and what it changes."""
    return min(((at, id_) for id_, at in world.agenda.items()), default=None)


def tick(world: World) -> Outcome:
    """Do the one thing that is due next."""
    due = next_due(world)
    if due is None:
        return Outcome(world, ())
    at, id_ = due
    step = Step(world, max(at, world.now), automatic=True)
    _act(step, id_, world.objects[id_])
    return step.done(id_)


def advance(world: World, until: int) -> Outcome:
    """Let time pass up to and including `until`."""
    events: list[Event] = []
    while (due := next_due(world)) is not None and due[0] <= until:
        outcome = tick(world)
        world = outcome.world
        events += outcome.events
    return Outcome(replace(world, now=max(until, world.now)), tuple(events))


def _act(step: Step, id_: str, thing: object) -> None:
    match thing:
        case Subscription():
            _subscription(step, thing)
        case Invoice(status="draft"):
            _finalize(step, thing)
        case Invoice():
            collection.retry(step, id_)
        case Charge():
            before = step.look(id_)
            step.save(replace(thing, balance_transaction=settle_charge(step, thing)))
            step.updated("charge.updated", before)
        case Refund(balance_transaction=None):
            corrections.settle_later(step, id_)
        case Refund():
            corrections.fail_refund(step, id_)


def _subscription(step: Step, sub: Subscription) -> None:
    if sub.status == "incomplete":
        _expire(step, sub)
    elif sub.cancel_at is not None and sub.cancel_at <= step.at:
        end_subscription(step, sub.id, "cancellation_requested")
    elif sub.pause_resumes_at is not None and sub.pause_resumes_at <= step.at:
        change_subscription(step, sub.id, pause_collection=None, pause_resumes_at=None)
    elif _trial_notice_due(step, sub):
        step.save(replace(sub, trial_warned=True))
        step.tell("customer.subscription.trial_will_end", sub.id)
    elif sub.status == "trialing" and not _has_card(step, sub):
        _trial_without_card(step, sub)
    else:
        subscriptions.renew(step, sub.id)


def _has_card(step: Step, sub: Subscription) -> bool:
    return collection.card_for(step, sub) is not None


def _trial_notice_due(step: Step, sub: Subscription) -> bool:
    warned = sub.status != "trialing" or sub.trial_warned or sub.trial_end is None
    return not warned and sub.trial_end is not None and step.at >= sub.trial_end - TRIAL_NOTICE


def _trial_without_card(step: Step, sub: Subscription) -> None:
    match sub.missing_payment_method:
        case "cancel":
            end_subscription(step, sub.id, None)
        case "pause":
            pause_subscription(step, sub.id, "trial_end_without_payment_method")
        case _:
            subscriptions.renew(step, sub.id)


def _expire(step: Step, sub: Subscription) -> None:
    """The first payment never came: within 23 hours the subscription is over and its invoice void."""
    assert step.at >= sub.created + FIRST_PAYMENT_WINDOW
    if sub.latest_invoice and step.get(Invoice, sub.latest_invoice).status in ("open", "uncollectible"):
        closing.void(step, sub.latest_invoice)
    expire_subscription(step, sub.id)


def _finalize(step: Step, invoice: Invoice) -> None:
    collection.finalize(step, invoice.id)
    if step.get(Invoice, invoice.id).status != "open":
        return
    match step.get(Subscription, invoice.subscription).pause_collection:
        case "mark_uncollectible":
            closing.write_off(step, invoice.id, "subscription_paused")
        case "void":
            closing.void(step, invoice.id)
        case _:
            collection.attempt(step, invoice.id, scheduled=True)
