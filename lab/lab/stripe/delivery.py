"""A bad day at the post office, from a seed: duplicates, late letters, ties in any order. No letter is lost.

Two knobs that do not touch each other: turning one leaves the other's choices as they were.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import orjson

from lab.stripe.world import Event

HELD_SECONDS_LEAST, HELD_SECONDS_MOST = 5, 6 * 3600


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST that Stripe makes: when, and the exact bytes; `attempt` counts from 1 per event."""

    at: datetime
    body: bytes
    event_id: str
    attempt: int = 1


def encode(event: Event) -> bytes:
    """The body as Stripe sends it: indented JSON."""
    return orjson.dumps(event, option=orjson.OPT_INDENT_2)


def deliveries(
    events: Iterable[tuple[datetime, Event]],
    seed: int,
    duplicates: float = 0.10,
    reordered: float = 0.05,
    *,
    shuffle_ties: bool = True,
    across_days: bool = False,
) -> list[Delivery]:
    """Every event at least once, in the order in which it arrives.

    `duplicates` is the share of events delivered again with the same body: at once, minutes later or
    on the next day. `reordered` is the share held back, by seconds to hours, so that later ones pass;
    never beyond midnight UTC unless `across_days`, because a demo turns its clock day by day.
    """
    again, late, ties = (random.Random(f"{seed}:{knob}") for knob in ("again", "late", "ties"))  # noqa: S311
    arriving: list[tuple[datetime, float, int, Delivery]] = []
    for number, (at, event) in enumerate(events):
        first = at + _held(late, at, reordered, across_days)
        sent = Delivery(first, encode(event), event["id"])
        tie = ties.random() if shuffle_ties else 0.0
        arriving.append((first, tie, number, sent))
        for attempt, wait in enumerate(_repeats(again, duplicates), start=2):
            copy = Delivery(first + wait, sent.body, sent.event_id, attempt)
            arriving.append((copy.at, 1.0 + attempt, number, copy))
    return [sent for *_, sent in sorted(arriving, key=lambda one: one[:3])]


def _held(chance: random.Random, at: datetime, share: float, across_days: bool) -> timedelta:
    chosen, spread = chance.random() < share, chance.random()
    # Skewed to short waits: most late letters are seconds late, a few are hours late.
    most = HELD_SECONDS_MOST if across_days else min(HELD_SECONDS_MOST, _seconds_left_today(at))
    if not chosen or most < HELD_SECONDS_LEAST:
        return timedelta()
    return timedelta(seconds=int(HELD_SECONDS_LEAST + (most - HELD_SECONDS_LEAST) * spread**3))


def _seconds_left_today(at: datetime) -> int:
    midnight = datetime.combine(at.date() + timedelta(days=1), time(), UTC)
    return int((midnight - at).total_seconds()) - 1


def _repeats(chance: random.Random, share: float) -> list[timedelta]:
    chosen, kind, spread = chance.random() < share, chance.random(), chance.random()
    if not chosen:
        return []
    if kind < 0.4:
        return [timedelta()]
    if kind < 0.8:
        return [timedelta(seconds=int(60 + 1740 * spread))]
    if kind < 0.9:
        return [timedelta(), timedelta(minutes=5)]
    return [timedelta(days=1)]
