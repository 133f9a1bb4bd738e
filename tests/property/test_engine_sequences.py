"""Whatever people do and in whatever order, the account's money adds up and its history is whole."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lab.stripe import engine, plans
from lab.stripe.agenda import ENDED, due_of
from lab.stripe.declines import DECLINES
from lab.stripe.model import (
    DAY,
    HOUR,
    BalanceTransaction,
    Card,
    Charge,
    CreditNote,
    Customer,
    Dunning,
    Invoice,
    PaymentIntent,
    Refund,
    Subscription,
)
from lab.stripe.quarter import START
from lab.stripe.render import before_change
from lab.stripe.world import Event, Outcome, World

OPENS = int(START.timestamp())
CURRENCY_TAX = [
    ("usd", None),
    ("eur", plans.VAT_EXCLUSIVE),
    ("eur", plans.VAT_INCLUSIVE),
    ("jpy", plans.CONSUMPTION_TAX),
]
Move = Callable[[World, int, random.Random], Outcome]


def pick(world: World, kind: type[Any], chance: random.Random) -> str:
    found = sorted(thing.id for thing in world.all(kind))
    return chance.choice(found) if found else "none"


def subscribe(world: World, at: int, chance: random.Random) -> Outcome:
    buyer = next(iter(world.all(Customer)))
    return engine.subscribe(
        world,
        at,
        buyer.id,
        [(plans.price_id(chance.choice(plans.PLANS), buyer.currency), chance.randint(1, 9))],
        trial_days=chance.choice((0, 0, 2, 7)),
        percent_off=chance.choice((0, 0, 0, 15, 100)),
        missing_payment_method=chance.choice(("create_invoice", "cancel", "pause")),
        dunning=Dunning(
            subscription=chance.choice(("canceled", "unpaid", "past_due", "paused")),
            invoice=chance.choice(("open", "uncollectible")),
        ),
    )


def new_card(world: World, at: int, chance: random.Random) -> Outcome:
    buyer = next(iter(world.all(Customer)))
    words = chance.choices(("ok", "ok", *DECLINES), k=chance.randint(1, 3))
    abroad = "usd" if buyer.currency == "eur" and chance.random() < 0.5 else None
    return engine.add_card(
        world,
        at,
        buyer.id,
        outcomes=tuple(words),
        settles_after=chance.choice((0, 60)),
        settles_in=abroad,
    )


def change(world: World, at: int, chance: random.Random) -> Outcome:
    sub = world.get(Subscription, pick(world, Subscription, chance))
    plan = plans.price_id(chance.choice(plans.PLANS), sub.currency)
    return engine.change_item(
        world,
        at,
        sub.id,
        price=chance.choice((None, plan)),
        quantity=chance.randint(1, 9),
        invoice_now=chance.random() < 0.5,
    )


def refund(world: World, at: int, chance: random.Random) -> Outcome:
    charge = world.get(Charge, pick(world, Charge, chance))
    return engine.refund(
        world,
        at,
        charge.id,
        chance.randint(1, charge.amount),
        settles_after=chance.choice((0, HOUR)),
        fails_after=chance.choice((None, DAY)),
    )


def credit(world: World, at: int, chance: random.Random) -> Outcome:
    invoice = world.get(Invoice, pick(world, Invoice, chance))
    return engine.credit_note(world, at, invoice.id, chance.randint(1, max(1, invoice.total)))


def on(kind: type[Any], action: Callable[..., Outcome], *more: Any) -> Move:
    return lambda world, at, chance: action(world, at, pick(world, kind, chance), *more)


MOVES: dict[str, Move] = {
    "subscribe": subscribe,
    "new card": new_card,
    "bank says ok": on(Card, engine.bank_says, ("ok",)),
    "bank says no": on(Card, engine.bank_says, ("generic_decline",)),
    "change": change,
    "cancel now": on(Subscription, engine.cancel_now),
    "cancel in portal": on(Subscription, engine.cancel_in_portal, "other"),
    "cancel at period end": on(Subscription, engine.cancel_at_period_end),
    "keep": on(Subscription, engine.keep),
    "pause": on(Subscription, engine.pause),
    "resume": on(Subscription, engine.resume),
    "pause collection, void": on(Subscription, engine.pause_collection, "void"),
    "pause collection, drafts": on(Subscription, engine.pause_collection, "keep_as_draft"),
    "pause collection, write off": on(Subscription, engine.pause_collection, "mark_uncollectible"),
    "resume collection": on(Subscription, engine.resume_collection),
    "pay": on(Invoice, engine.pay),
    "void": on(Invoice, engine.void_invoice),
    "write off": on(Invoice, engine.mark_uncollectible),
    "credit": credit,
    "void credit": on(CreditNote, engine.void_credit_note),
    "refund": refund,
}
WAITS = (0, 0, 1, HOUR, DAY, 3 * DAY, 9 * DAY, 31 * DAY)


def opened(currency: str, tax: str | None) -> tuple[World, list[Event]]:
    shop = engine.open_shop(
        World(seed=1, now=OPENS), OPENS, plans.products(OPENS), plans.prices(OPENS), plans.tax_rates(OPENS)
    )
    buyer = engine.create_customer(
        shop.world,
        OPENS,
        name="A",
        email="a@a.example",
        country=plans.COUNTRY[currency],
        currency=currency,
        tax_rate=tax,
    )
    return buyer.world, [*shop.events, *buyer.events]


def play(
    world: World, events: list[Event], moves: list[tuple[str, int]], chance: random.Random
) -> tuple[World, list[Event]]:
    """Time passes, somebody acts, and what is refused leaves the world as it was."""
    at = world.now
    for name, wait in moves:
        at += wait
        passed = engine.advance(world, at)
        world, events = passed.world, [*events, *passed.events]
        try:
            outcome = MOVES[name](world, at, chance)
        except engine.Refused:
            continue
        world, events = outcome.world, [*events, *outcome.events]
    return world, events


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(CURRENCY_TAX),
    moves=st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(WAITS)), max_size=40),
    seed=st.integers(0, 2**32),
)
def test_any_sequence_of_actions_keeps_the_account_whole(
    start: tuple[str, str | None], moves: list[tuple[str, int]], seed: int
) -> None:
    opening = [("new card", 0), ("subscribe", 1), *moves]
    world, events = play(*opened(*start), opening, random.Random(seed))
    the_invoices_add_up(world)
    the_money_adds_up(world, events)
    the_history_is_whole(world, events)
    the_agenda_is_what_the_objects_say(world)


def the_invoices_add_up(world: World) -> None:
    for it in world.all(Invoice):
        exclusive = 0 if it.tax_inclusive else it.tax
        assert it.subtotal == sum(line.amount for line in it.lines)
        assert it.total == it.subtotal - it.discounted + exclusive
        assert it.amount_paid + it.amount_remaining + it.pre_payment_credit == it.total
        assert 0 <= it.amount_remaining <= it.total
        assert it.post_payment_credit <= it.amount_paid
        if it.status == "paid":
            assert it.amount_remaining == 0
        if it.status in ("void", "uncollectible", "draft"):
            assert it.amount_paid == 0


def the_money_adds_up(world: World, events: list[Event]) -> None:
    charged: dict[str, int] = defaultdict(int)
    for charge in world.all(Charge):
        kept = sum(one.amount for one in world.of(Refund, charge.id) if one.status == "succeeded")
        assert kept == charge.amount_refunded <= charge.amount
        charged[charge.invoice] += charge.amount if charge.status == "succeeded" else 0
    for invoice in world.all(Invoice):
        assert charged[invoice.id] == invoice.amount_paid
    for intent in world.all(PaymentIntent):
        assert intent.amount_received in (0, intent.amount)
    named = {
        moved["id"]: moved["net"]
        for event in events
        for name in ("balance_transaction", "failure_balance_transaction")
        if (moved := event["data"]["object"].get(name)) is not None
    }
    assert named == {moved.id: moved.net for moved in world.all(BalanceTransaction)}


def the_history_is_whole(world: World, events: list[Event]) -> None:
    assert len({event["id"] for event in events}) == len(events)
    last: dict[str, Event] = {}
    for event in events:
        told = event["data"]["object"]
        if told["object"] != "subscription":
            continue
        before, previous = last.get(told["id"]), event["data"].get("previous_attributes")
        if before is None:
            assert event["type"] == "customer.subscription.created"
        elif previous is not None:
            assert before_change(told, previous) == before
        assert before is None or before["status"] not in ENDED
        last[told["id"]] = told
    assert {id_: told["status"] for id_, told in last.items()} == {
        sub.id: sub.status for sub in world.all(Subscription)
    }


def the_agenda_is_what_the_objects_say(world: World) -> None:
    due = {thing.id: at for thing in world.objects.values() if (at := due_of(thing)) is not None}
    assert due == world.agenda
    assert all(at > world.now or _same_second(world, at) for at in due.values())


def _same_second(world: World, at: int) -> bool:
    """Made due by the last action itself, in its own second."""
    return at == world.now


@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(WAITS)), max_size=25),
    seed=st.integers(0, 2**32),
)
def test_the_same_actions_make_the_same_events(moves: list[tuple[str, int]], seed: int) -> None:
    opening = [("new card", 0), ("subscribe", 1), *moves]
    one, two = (play(*opened("usd", None), opening, random.Random(seed)) for _ in range(2))
    assert one == two
