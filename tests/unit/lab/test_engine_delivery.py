"""Deliveries: nothing lost, the shares as asked, late but not past midnight, and two separate knobs."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise

import orjson
import pytest

from lab.stripe import quarter
from lab.stripe.delivery import Delivery, deliveries


@pytest.fixture(scope="module")
def q() -> quarter.Quarter:
    return quarter.build(seed=4)


@pytest.fixture(scope="module")
def delivered(q: quarter.Quarter) -> list[Delivery]:
    return deliveries(q.events, seed=1)


def test_nothing_is_lost_and_a_copy_has_the_same_bytes(q: quarter.Quarter, delivered: list[Delivery]) -> None:
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for one in delivered:
        bodies[one.event_id].add(one.body)
    assert bodies.keys() == {event["id"] for _, event in q.events}
    assert all(len(each) == 1 for each in bodies.values())
    for one in delivered[:200]:
        assert orjson.loads(one.body)["id"] == one.event_id


def test_they_arrive_in_the_order_of_the_list(delivered: list[Delivery]) -> None:
    assert all(earlier.at <= later.at for earlier, later in pairwise(delivered))


@pytest.mark.parametrize("share", [0.0, 0.10, 0.5])
def test_the_share_of_duplicates_is_the_one_asked_for(q: quarter.Quarter, share: float) -> None:
    copied = {one.event_id for one in deliveries(q.events, 1, duplicates=share) if one.attempt > 1}
    assert len(copied) / len(q.events) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_the_share_of_late_ones_is_the_one_asked_for(q: quarter.Quarter, share: float) -> None:
    told = {event["id"]: at for at, event in q.events}
    firsts = [one for one in deliveries(q.events, 1, reordered=share) if one.attempt == 1]
    late = [one for one in firsts if one.at > told[one.event_id]]
    assert len(late) / len(q.events) == pytest.approx(share, abs=0.02)
    assert all(one.at.date() == told[one.event_id].date() for one in late)


def test_late_ones_may_pass_midnight_when_asked(q: quarter.Quarter) -> None:
    told = {event["id"]: at for at, event in q.events}
    firsts = (one for one in deliveries(q.events, 1, reordered=0.5, across_days=True) if one.attempt == 1)
    assert any(one.at.date() != told[one.event_id].date() for one in firsts)


def test_duplicates_come_at_once_minutes_later_and_next_day(delivered: list[Delivery]) -> None:
    first = {one.event_id: one.at for one in delivered if one.attempt == 1}
    waits = Counter(_kind(one.at - first[one.event_id]) for one in delivered if one.attempt > 1)
    assert min(waits["at once"], waits["minutes"], waits["next day"]) >= 30


def _kind(wait: timedelta) -> str:
    if not wait:
        return "at once"
    return "minutes" if wait < timedelta(hours=1) else "next day"


def test_ties_arrive_in_any_order(q: quarter.Quarter) -> None:
    order = {event["id"]: number for number, (_, event) in enumerate(q.events)}
    quiet = deliveries(q.events, 1, duplicates=0, reordered=0, shuffle_ties=False)
    assert [one.event_id for one in quiet] == list(order)
    shuffled = deliveries(q.events, 1, duplicates=0, reordered=0)
    swapped = [(a, b) for a, b in pairwise(shuffled) if order[a.event_id] > order[b.event_id]]
    assert len(swapped) > 500
    assert all(a.at == b.at for a, b in swapped)


def test_the_same_seed_delivers_the_same_and_the_knobs_do_not_touch_each_other(q: quarter.Quarter) -> None:
    assert deliveries(q.events, 9) == deliveries(q.events, 9) != deliveries(q.events, 8)
    with_copies = [one for one in deliveries(q.events, 9, duplicates=0.3) if one.attempt == 1]
    assert with_copies == deliveries(q.events, 9, duplicates=0)
    copied = {one.event_id for one in deliveries(q.events, 9) if one.attempt > 1}
    assert copied == {one.event_id for one in deliveries(q.events, 9, reordered=0.4) if one.attempt > 1}
