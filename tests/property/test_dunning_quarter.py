"""A whole quarter of the demo company, told in any order: every case ends as its invoice really stands."""

from __future__ import annotations

import random

import pytest

from dunning.domain import Case
from lab.northwind import quarter
from lab.northwind.quarter import Quarter
from lab.northwind.truth import DunningTruth
from millrace.clock import FrozenClock
from millrace.events import Event
from tests.support.events import event_of
from tests.unit.dunning.runner import FOLD, judge
from tests.unit.dunning.told import due_event

OUTCOMES = {  # what the engine knows of an invoice → the stages its case may stand in
    "paid": {"recovered"},
    "credited": {"closed"},
    "voided": {"closed"},
    "uncollectible": {"written_off", "exhausted"},
    "open": {"grace", "restricted", "exhausted"},
}


@pytest.fixture(scope="module")
def built() -> Quarter:
    return quarter.build(seed=3, customers=120)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_and_repeated_every_case_ends_as_its_invoice_stands(built: Quarter, seed: int) -> None:
    events = [event_of(body) for _, body in built.events]
    ours = [event for event in events if event.type in FOLD.apply]
    in_order = _quiet(ours, built)
    chance = random.Random(seed)
    shuffled = [*ours, *chance.choices(ours, k=len(ours) // 10)]
    chance.shuffle(shuffled)
    cases = _quiet(shuffled, built)
    assert {k: c.standing for k, c in cases.items()} == {k: c.standing for k, c in in_order.items()}
    stands = {case.invoice: case for case in cases.values()}
    dunned = {id: it for id, it in built.truth.dunning.items() if it.billing_reason != "subscription_create"}
    assert len(dunned) > 20
    still_open = [id for id, it in dunned.items() if it.outcome == "open"]
    planned = {id: dunned[id].next_attempt for id in still_open}
    assert {id: stands[id].facts.final for id in still_open} == {id: at is None for id, at in planned.items()}
    assert [wrong for id, it in dunned.items() if (wrong := _wrong(id, it, stands[id]))] == []
    assert {c.invoice for c in cases.values() if c.standing.stage} == dunned.keys()


def _wrong(invoice: str, truth: DunningTruth, case: Case) -> str:
    fits = case.standing.stage in OUTCOMES[truth.outcome] and case.facts.attempts == truth.attempts
    fits = fits and (truth.last_decline is None or case.facts.decline is not None)
    fits = fits and (case.facts.decline is None or case.facts.decline.code == truth.last_decline)
    return "" if fits else f"{invoice}: {truth} but {case}"


def _quiet(events: list[Event], built: Quarter) -> dict[str, Case]:
    """Everything told, and every timer fired that is due by the end of the quarter."""
    clock = FrozenClock(built.ends)
    cases: dict[str, Case] = {}
    pending = list(events)
    while pending:
        for event in pending:
            key = FOLD.key(event)
            if key and (state := judge(cases.get(key), event).state):
                cases[key] = state
        pending = [
            due_event(case.invoice, until)
            for case in cases.values()
            if (until := case.standing.grace_until) and until <= clock.now()
        ]
    return cases
