"""Which of several snapshots stands, as a function of their set: no order of arrival can matter.

A later second beats an earlier one, and an end beats both. Snapshots of one second cannot be told apart by
their time, so they are put in the order that they themselves speak of: each `updated` says what it found, and
the kinds that do not (`paused`, `resumed`, …) must at least make sense after what stands before them. The
order with the fewest contradictions is taken, from the state of the second before, which is kept for that.

Where that leaves two answers, or something is seen to be missing, the state is in doubt: it is applied all
the same, and Stripe should be asked.

Source: docs.stripe.com/webhooks ("don't use created to determine event order").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from entitlement.domain.subscription import CREATED, DELETED, UPDATED, Shape, Snapshot

SECONDS_KEPT = 2  # the newest, and the one before it to begin from
ORDERED_MOST = 8  # snapshots of one second that are put in order; more are left in doubt
ODD, CONTRADICTION = 1, 2
TRANSITIONS = {"paused": False, "resumed": True}  # kind -> whether it must have been paused before
LIFE = ("incomplete", "trialing", "active", "past_due", "unpaid", "paused", "incomplete_expired", "canceled")


@dataclass(frozen=True, slots=True)
class Standing:
    """The snapshot that stands, and why that may be wrong ('' when it cannot)."""

    head: Snapshot
    doubt: str


def add(known: Sequence[Snapshot], new: Snapshot) -> tuple[Snapshot, ...]:
    """The snapshots that still matter, in a fixed order: newest second first.

    Commutative, associative and idempotent, so every order of arrival ends in the same tuple.
    """
    told = {event for s in known if s.same_as(new) for event in s.told} | set(new.told)
    one = Snapshot(new.kind, new.created, new.before, new.after, tuple(sorted(told)))
    every = [one, *(s for s in known if not s.same_as(new))]
    every.sort(key=lambda s: s.event)
    every.sort(key=lambda s: s.rank, reverse=True)
    kept = sorted({s.rank for s in every}, reverse=True)[:SECONDS_KEPT]
    return tuple(s for s in every if s.rank in kept)


def standing(known: Sequence[Snapshot]) -> Standing:
    """What stands among the snapshots that `add` kept."""
    base: Snapshot | None = None
    found: Standing | None = None
    for _, second in reversed([(rank, list(same)) for rank, same in groupby(known, key=lambda s: s.rank)]):
        found = _of_one_second(second, base)
        base = None if found.doubt else found.head  # a guess would make the next answer look sure
    assert found is not None, "a subscription is known by at least one snapshot"
    return found


def _of_one_second(second: list[Snapshot], base: Snapshot | None) -> Standing:
    distinct = _without_retold(second)
    if distinct[0].ended:
        return Standing(_highest(distinct), "")
    if len(distinct) > ORDERED_MOST:
        return Standing(_highest(distinct), f"{len(distinct)} changes in one second")
    contradictions, ends = _ends(distinct, base)
    if _told_again(distinct):
        ends = ends | _ends_if_repeated(distinct, base, contradictions)
    head = _highest(list(ends))
    return Standing(head, _doubt(head, ends, contradictions))


def _doubt(head: Snapshot, ends: frozenset[Snapshot], contradictions: int) -> str:
    if len({s.after for s in ends}) > 1:
        return f"changes of one second can be read in more than one order, {head.event} among them"
    if not head.after.complete:
        return f"{head.event} does not show all items"
    if contradictions >= CONTRADICTION:
        return f"something before {head.event} is missing: what it found is not what is stored"
    return ""


def _without_retold(second: list[Snapshot]) -> list[Snapshot]:
    """Without a `paused` or `resumed` that an `updated` of the same second tells in full."""
    return [s for s in second if not any(_retells(s, other) for other in second)]


def _retells(short: Snapshot, full: Snapshot) -> bool:
    if short.kind not in TRANSITIONS or full.before is None or full.after != short.after:
        return False
    was, now = full.before.status == "paused", full.after.status == "paused"
    return was != now and was == TRANSITIONS[short.kind]


def _highest(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The furthest along a subscription's life; of equals, always the same one."""
    return max(snapshots, key=lambda s: (_stage(s.after), s.kind == DELETED, s.event))


def _stage(shape: Shape) -> int:
    return LIFE.index(shape.status) if shape.status in LIFE else -1


def _told_again(second: Sequence[Snapshot]) -> bool:
    return len(second) > 1 and any(len(s.told) > 1 for s in second)


def _ends_if_repeated(
    second: Sequence[Snapshot], base: Snapshot | None, contradictions: int
) -> frozenset[Snapshot]:
    """Told twice may also mean happened twice; only where that fits as well does it matter."""
    repeated = [s for s in second for _ in s.told]
    if len(repeated) > ORDERED_MOST:
        return frozenset()
    fewest, ends = _ends(repeated, base)
    return ends if fewest <= contradictions else frozenset()


def _ends(second: Sequence[Snapshot], base: Snapshot | None) -> tuple[int, frozenset[Snapshot]]:
    """The fewest contradictions of any order that begins at `base`, and the snapshots such orders end with.

    Every subset is solved once, by its last member: 2^n·n² steps for n of one second, nearly always one.
    """
    if len(second) == 1:
        return contradiction(base, second[0]), frozenset(second)
    fewest = {(1 << n, n): contradiction(base, s) for n, s in enumerate(second)}
    for subset, last in _subsets(len(second)):
        rest = subset & ~(1 << last)
        fewest[subset, last] = min(
            fewest[rest, n] + contradiction(second[n], second[last])
            for n in range(len(second))
            if rest >> n & 1
        )
    whole = (1 << len(second)) - 1
    least = min(fewest[whole, n] for n in range(len(second)))
    return least, frozenset(s for n, s in enumerate(second) if fewest[whole, n] == least)


def _subsets(size: int) -> Iterator[tuple[int, int]]:
    """Every subset of two or more, smaller numbers first, with each of its members."""
    for subset in range(1, 1 << size):
        if subset & (subset - 1):
            yield from ((subset, n) for n in range(size) if subset >> n & 1)


def contradiction(earlier: Snapshot | None, later: Snapshot) -> int:
    """How much speaks against `later` being the next thing that happened after `earlier`.

    A kind that changes nothing on top of `earlier` may be told a second time: odd, but no contradiction.
    """
    if earlier is None:
        return 0  # nothing is known of what was before
    if later.kind == CREATED:
        return CONTRADICTION * len(LIFE)  # nothing comes before a creation
    if later.kind == UPDATED and later.before is not None:
        return CONTRADICTION * later.before.differences(earlier.after)
    if later.kind in TRANSITIONS:
        was_paused = earlier.after.status == "paused"
        fits = was_paused == TRANSITIONS[later.kind]
        return 0 if fits else ODD if earlier.after == later.after else CONTRADICTION
    return CONTRADICTION * (earlier.after != later.after)  # trial_will_end and the like change nothing
