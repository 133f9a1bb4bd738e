"""A schedule laid over events without any HTTP: what would arrive, when, and what is odd about it.

For those who apply deliveries themselves: every receiver is taken to accept what arrives whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from millrace_lab.account import Told
from millrace_lab.delivery import retries
from millrace_lab.delivery.schedule import Decision, Schedule


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST. `genuine` is false for one that a right receiver refuses: bad signature, other mode."""

    at: int
    event: Told
    endpoint: str
    attempt: int
    oddities: tuple[str, ...] = ()
    genuine: bool = True


def plan(
    events: Iterable[Told],
    schedule: Schedule,
    endpoints: Iterable[str] = ("we_lab",),
    waits: tuple[int, ...] = retries.LIVE,
) -> list[Delivery]:
    """Every POST that the schedule makes of the events, in the order of arrival.

    Events that are lost for good are not in it; `schedule.records` says which. Asked again, or with the
    `replay` of its records, the answer is the same.
    """
    wanted = list(endpoints)
    found = [
        each for told in events for endpoint in wanted for each in _arrivals(told, endpoint, schedule, waits)
    ]
    return [delivery for _, delivery in sorted(found, key=lambda one: one[0])]


Place = tuple[int, float, int]


def _arrivals(
    told: Told, endpoint: str, schedule: Schedule, waits: tuple[int, ...]
) -> Iterator[tuple[Place, Delivery]]:
    attempt, due = 1, told.created
    while True:
        decision = schedule.decide(told.id, endpoint, attempt, due)
        yield from _copies(told, decision, due)
        following = retries.next_try(waits, attempt, due + decision.delay_seconds)
        if not decision.fault or following is None:
            return
        attempt, due = attempt + 1, following


def _copies(told: Told, decision: Decision, due: int) -> Iterator[tuple[Place, Delivery]]:
    at = due + decision.delay_seconds
    place = (at, decision.tie, told.number)
    odd = decision.oddities
    if decision.stray:
        yield place, Delivery(at, told, decision.endpoint, decision.attempt, odd, genuine=False)
    if decision.fault == "rotated":
        yield place, Delivery(at, told, decision.endpoint, decision.attempt, odd, genuine=False)
    if not decision.arrives:
        return
    yield place, Delivery(at, told, decision.endpoint, decision.attempt, odd)
    for after in decision.copies:
        again = Delivery(at + after, told, decision.endpoint, decision.attempt, ("again", *odd))
        yield (at + after, decision.tie + 1.0, told.number), again
