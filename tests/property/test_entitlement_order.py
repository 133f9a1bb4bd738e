"""Whatever a subscription lives through, and in whatever order it is told: one end, and the true one.

Lives are full of ties, twins (two Event objects for one change), repeats and late letters.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entitlement.domain.newer import Standing
from lab.northwind import quarter
from lab.northwind.truth import SubscriptionTruth
from millrace.consumer.judge import run
from tests.support.events import records_of
from tests.unit.entitlement.telling import CATALOG, FOLD, Body, Told, end_of, stands


@dataclass(frozen=True)
class Life:
    events: list[Body]
    status: str
    seats: int
    twins: bool


STEPS = ("seats", "seats", "pause", "metadata", "invoice", "reminder", "cancel", "wait", "wait")


@st.composite
def lives(draw: st.DrawFn, *, twins: bool) -> Life:
    told = Told().created(draw(st.sampled_from(("incomplete", "trialing", "active"))))
    doubled, in_full = False, draw(st.booleans())  # whether an `updated` tells of a pause as well
    for number, step in enumerate(draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=12))):
        _live(told, step, number, draw(st.integers(1, 6)), in_full)
        if twins and draw(st.integers(0, 5)) == 0:
            told.twice()
            doubled = True
    if draw(st.booleans()):
        told.later(draw(st.integers(0, 1))).deleted()
    [item] = told.body["items"]["data"]
    return Life(told.events, told.body["status"], item["quantity"], doubled)


def _live(told: Told, step: str, number: int, seats: int, in_full: bool) -> None:
    paused = told.body["status"] == "paused"
    match step:
        case "seats":
            told.seats(seats)
        case "pause":
            if in_full:
                told.updated(status="active" if paused else "paused")
            _ = told.resumed() if paused else told.paused()
        case "metadata":
            told.updated(metadata={"step": str(number)})
        case "invoice":
            told.updated(latest_invoice=f"in_{number + 2}")
        case "reminder":
            told.trial_will_end()
        case "cancel":
            told.updated(cancel_at=None if told.body["cancel_at"] else told.at + 86_400)
        case "wait":
            told.later()


@settings(max_examples=200, deadline=None)
@given(life=lives(twins=True), chance=st.randoms(use_true_random=False))
def test_any_order_with_twins_and_repeats_ends_alike(life: Life, chance: random.Random) -> None:
    shuffled = [*life.events, *chance.choices(life.events, k=3)]
    chance.shuffle(shuffled)
    [straight] = run(FOLD, CATALOG, records_of(life.events))[0].values()
    [twisted] = run(FOLD, CATALOG, records_of(shuffled))[0].values()
    assert end_of(straight) == end_of(twisted)


@settings(max_examples=300, deadline=None)
@given(life=lives(twins=False), chance=st.randoms(use_true_random=False))
def test_the_end_is_the_true_one_or_it_is_in_doubt(life: Life, chance: random.Random) -> None:
    shuffled = list(life.events)
    chance.shuffle(shuffled)
    standing = stands(shuffled)
    seen = (standing.head.after.status, standing.head.after.items[0].quantity)
    assert standing.doubt or seen == (life.status, life.seats)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_whole_quarter_shuffled_at_will_ends_as_the_engine_knows_it(seed: int) -> None:
    played = quarter.build(seed, customers=120)
    events = [e for _, e in played.events if e["type"].startswith("customer.subscription.")]
    random.Random(seed).shuffle(events)
    customers = run(FOLD, CATALOG, records_of(events))[0].values()
    standing = {id: s for customer in customers for id, s in customer.standings().items()}
    assert {id: _seen(s) for id, s in standing.items()} == {
        id: _true(t) for id, t in played.truth.subscriptions.items()
    }
    assert [s.doubt for s in standing.values() if s.doubt] == []


def _seen(standing: Standing) -> tuple[object, ...]:
    shape = standing.head.after
    items = tuple(sorted((item.price, item.quantity) for item in shape.items))
    return shape.status, items, shape.cancels_at, shape.pause_collection


def _true(sub: SubscriptionTruth) -> tuple[object, ...]:
    return sub.status, tuple(sorted(sub.items)), sub.cancel_at, sub.pause_collection
