"""Whatever order an invoice's events arrive in, and however often, its case ends the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.domain import Attempt, Case, Decline, End, Facts, Kind
from dunning.domain.case import Standing, standing
from lab.northwind import stories
from millrace.events import Event
from millrace.events.ours import DunningChanged
from tests.support.events import event_of
from tests.unit.dunning.runner import FOLD, POLICIES, judge, run
from tests.unit.dunning.told import day, timer, told

LIVES = """
pays days after restriction       | 0 declined insufficient_funds | 0 failed 1 | 3 failed 2 | 7 timer 7 | 9 failed 3 last | 20 paid 3
pays after exhaustion             | 0 failed 1 | 0 declined lost_card | 3 timer 3 | 9 failed 2 last | 20 uncollectible - | 40 paid 2
never pays                        | 0 failed 1 | 0 declined expired_card | 3 failed 2 | 7 timer 7 | 9 declined insufficient_funds | 9 failed 3 last
is voided after restriction       | 0 failed 1 | 0 declined lost_card | 3 timer 3 | 4 failed 2 | 5 declined insufficient_funds | 8 voided
is written off                    | 0 failed 1 | 0 declined expired_card | 3 failed 2 | 7 timer 7 | 9 failed 3 last | 20 uncollectible user_forgiven
is given up by Stripe             | 0 failed 1 | 0 declined expired_card | 3 failed 2 | 5 failed 3 last | 5 uncollectible max_payment_attempts | 7 timer 7
is credited in full               | 0 failed 1 | 0 declined lost_card | 2 credit-note - | 3 timer 3 | 5 credit-note 0 | 5 paid 1 credited
retries that pass in silence      | 0 failed 1 | 0 updated 1 | 0 declined lost_card | 3 timer 3 | 9 updated 1 | 14 updated 1 last
two events within one second      | 0 failed 1 | 0 failed 1 last | 0 declined lost_card | 0 declined expired_card | 7 timer 7 | 7 timer 3
"""  # noqa: E501 a table

Ends = dict[str, tuple[Facts, Standing]]


def lives() -> list[object]:
    rows = [row.split(" | ") for row in LIVES.strip().splitlines()]
    return [
        pytest.param([_event(n, words) for n, words in enumerate(row[1:])], id=row[0].strip()) for row in rows
    ]


def _event(number: int, words: str) -> Event:
    at, what = words.strip().split(maxsplit=1)
    return told(what, float(at), id=f"evt_{number}")


def ends(cases: dict[str, Case]) -> Ends:
    """What must not depend on order: all that is known and what follows; versions count the steps taken."""
    return {key: (case.facts, case.standing) for key, case in cases.items()}


@pytest.mark.parametrize("life", lives())
def test_every_permutation_of_a_six_event_invoice_ends_in_the_same_case(life: list[Event]) -> None:
    assert len(life) == 6
    told_in_order = ends(run(life))
    orders = list(itertools.permutations(life))
    assert len(orders) == 720
    assert [order for order in orders if ends(run(order)) != told_in_order] == []


def test_every_permutation_of_the_labs_invoice_ends_in_the_same_case() -> None:
    life = [event_of(body) for body in stories.invoice_lifecycle()]
    told_in_order = ends(run(_ours(life)))
    assert all(ends(run(_ours(order))) == told_in_order for order in itertools.permutations(life))


def _ours(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event.type in FOLD.apply]


WORDS = (
    *("failed 1", "failed 2", "failed 3 last", "failed 4 last", "failed 1 first"),
    *("updated 0", "updated 1", "updated 3 last", "updated 4 last"),
    *("declined insufficient_funds", "declined lost_card", "declined authentication_required"),
    *("timer 3", "timer 7", "timer 10"),
    *("paid 0", "paid 3", "paid 2 credited", "voided", "credit-note 0", "credit-note -"),
    *("uncollectible -", "uncollectible max_payment_attempts", "uncollectible subscription_paused"),
)
EVENTS = st.builds(
    lambda words, at, invoice: told(words, at, invoice=invoice),
    st.sampled_from(WORDS),
    st.sampled_from([0, 0.00001, 1, 3, 9]),
    st.sampled_from(["in_1", "in_2"]),
)


@given(st.lists(EVENTS, max_size=12), st.randoms(use_true_random=False))
def test_any_events_shuffled_and_repeated_end_in_the_same_cases(
    events: list[Event], chance: random.Random
) -> None:
    shuffled = [*events, *chance.choices(events, k=len(events) // 2)] if events else []
    chance.shuffle(shuffled)
    assert ends(run(shuffled)) == ends(run(events))


@given(st.lists(EVENTS, max_size=12))
def test_whoever_keeps_the_newest_announcement_agrees_with_the_case(events: list[Event]) -> None:
    """Entitlement keeps the announcement of the highest version: it cannot drift from the case."""
    cases: dict[str, Case] = {}
    heard: dict[str, DunningChanged] = {}
    for event in events:
        key = FOLD.key(event) or ""
        decision = judge(cases.get(key), event)
        if decision.state:
            cases[key] = decision.state
        for effect in decision.effects:
            assert isinstance(effect, DunningChanged)
            heard[key] = max(heard.get(key, effect), effect, key=lambda heard: heard.case_version)
    for key, case in cases.items():
        if case.standing.stage is None:
            assert key not in heard
        else:
            seen = heard[key]
            assert (seen.stage, seen.access, seen.grace_until, seen.attempts) == (
                case.standing.stage,
                case.standing.access,
                case.standing.grace_until,
                case.facts.attempts,
            )


@given(st.lists(EVENTS, max_size=12), st.integers(0, 12))
def test_a_success_recovers_from_any_stage(events: list[Event], place: int) -> None:
    """Wherever among all else the payment arrives, no stage outlasts it."""
    cases = run([*events[:place], told("paid 1", 40), told("paid 1", 40, invoice="in_2"), *events[place:]])
    assert {case.standing.stage for case in cases.values()} <= {None, "recovered"}
    assert {case.standing.access for case in cases.values()} <= {"given"}


INSTANTS = st.sampled_from([day(n) for n in (0, 3, 7)])
MAYBE = st.none()
FACTS = st.builds(
    Facts,
    customer=st.sampled_from(["", "cus_1"]),
    subscription=st.sampled_from(["", "sub_1"]),
    sold=st.frozensets(st.sampled_from(["price_1", "prod_1"])),
    attempts=st.integers(0, 4),
    failed_at=MAYBE | INSTANTS,
    latest=MAYBE | st.builds(Attempt, st.integers(1, 3), INSTANTS, st.sampled_from("ab"), st.booleans()),
    decline=MAYBE
    | st.builds(Decline, INSTANTS, st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from(Kind)),
    gave_up=st.booleans(),
    grace_ended=MAYBE | INSTANTS,
    end=MAYBE | st.sampled_from(End),
)


@given(FACTS, FACTS, FACTS)
def test_knowledge_joins_in_any_order_and_any_number_of_times(a: Facts, b: Facts, c: Facts) -> None:
    assert a.joined(b) == b.joined(a)
    assert a.joined(b).joined(c) == a.joined(b.joined(c))
    assert a.joined(a) == a
    assert a.joined(Facts()) == a


@given(st.randoms(use_true_random=False))
def test_timers_that_are_fired_in_any_order_between_the_events_end_in_the_same_case(
    chance: random.Random,
) -> None:
    """Deadlines follow from what was told so far: whichever of them fired on the way, the last one decides."""
    life = [told(words, at) for words, at in (("failed 1", 0), ("failed 2", 3), ("failed 3 last", 9))]
    life += [told("declined lost_card", 0), told("declined authentication_required", 3)]
    chance.shuffle(life)
    cases: dict[str, Case] = {}
    deadlines: list[datetime] = []
    for event in life:
        cases = _applied(cases, event)
        deadlines += [until for case in cases.values() if (until := case.standing.grace_until)]
        while deadlines and chance.random() < 0.5:
            cases = _applied(cases, _due(deadlines.pop(chance.randrange(len(deadlines)))))
    for due in deadlines:
        cases = _applied(cases, _due(due))
    [case] = cases.values()
    assert case.standing == standing(case.facts, POLICIES)
    assert case.standing.stage == "exhausted"
    assert "grace ended on 2026-03-11 00:00 UTC" in case.standing.reason


def _applied(cases: dict[str, Case], event: Event) -> dict[str, Case]:
    key = FOLD.key(event) or ""
    decision = judge(cases.get(key), event)
    return {**cases, key: decision.state} if decision.state else cases


def _due(at: datetime) -> Event:
    return timer((at - day(0)).total_seconds() / 86400)
