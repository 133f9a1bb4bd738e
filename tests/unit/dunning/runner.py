"""The fold of dunning without a database, under the policies of the tests."""

from __future__ import annotations

from collections.abc import Sequence

from dunning.domain import Case, Departed, Kind, Policies, Policy
from dunning.fold import fold
from millrace.consumer import Decision
from millrace.events import Event

POLICIES = Policies(
    default=Policy(
        "default",
        grace_days=7,
        after_grace="restricted",
        written_off="restricted",
        declines={Kind.HARD: 3, Kind.AUTHENTICATION: 10},
    ),
    plans=(
        Policy("patient", 30, "restricted", "given", {}, frozenset({"price_scale"})),
        Policy("watch", 7, "given", "given", {}, frozenset({"prod_of_price_free"})),
    ),
)
FOLD = fold(lambda: POLICIES)


def judge(case: Case | None, event: Event, policies: Policies = POLICIES) -> Decision[Case]:
    """One event about an invoice, decided."""
    decision = FOLD.apply[event.type](case, event, policies)
    assert not isinstance(decision.state, Departed)
    return Decision(decision.outcome, decision.reason, decision.state, decision.effects)


def run(events: Sequence[Event], policies: Policies = POLICIES) -> dict[str, Case]:
    """All events, in order, each id once, as the consumer would."""
    cases: dict[str, Case] = {}
    seen: set[tuple[str, str]] = set()
    for event in events:
        if (event.source, event.id) not in seen and (key := FOLD.key(event)):
            seen.add((event.source, event.id))
            decision = judge(cases.get(key), event, policies)
            if decision.state is not None:
                cases[key] = decision.state
    return cases
