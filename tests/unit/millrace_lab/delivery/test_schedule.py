"""A schedule is chance with a memory: the same seed chooses the same, and each knob turns alone."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from millrace_lab.account import DAY, HOUR, Told
from millrace_lab.delivery import retries
from millrace_lab.delivery.planning import Delivery, plan
from millrace_lab.delivery.schedule import KNOBS, PROFILES, Decision, Profile, Replay, Schedule, restored

START = 1_782_864_000
SHAPE = tuple[int, str, str, int, bool]


def told(count: int, *, a_second: int = 3) -> list[Told]:
    """Events with `a_second` of them in each second."""
    return [Told(n, f"evt_{n:04}", "invoice.paid", START + n // a_second, {}, None, {}) for n in range(count)]


def shapes(deliveries: list[Delivery]) -> list[SHAPE]:
    return [(d.at, d.event.id, d.endpoint, d.attempt, d.genuine) for d in deliveries]


def decisions(profile: Profile, seed: int = 3, count: int = 600) -> list[Decision]:
    schedule = Schedule(seed, profile)
    return [schedule.decide(e.id, "we_1", 1, e.created) for e in told(count)]


def test_a_kind_schedule_delivers_everything_once_and_in_order() -> None:
    events = told(50)
    arrived = plan(events, Schedule(1, "kind"))
    assert [d.event for d in arrived] == events
    assert {d.attempt for d in arrived} == {1}
    assert [d.at for d in arrived] == [e.created for e in events]


def test_the_same_seed_plans_the_same_and_another_one_does_not() -> None:
    events = told(300)
    plans = [shapes(plan(events, Schedule(seed, "hostile"))) for seed in (5, 5, 6)]
    assert plans[0] == plans[1] != plans[2]


def test_what_was_decided_replays_exactly_without_the_seed() -> None:
    events = told(300)
    schedule = Schedule(5, "hostile")
    first = plan(events, schedule, ["we_1", "we_2"])
    written = [Decision(**asdict(record)) for record in schedule.records]
    again = Replay(written)
    assert plan(events, again, ["we_1", "we_2"]) == first
    assert again.records == schedule.records
    assert plan(events, schedule, ["we_1", "we_2"]) == first
    kept = restored(schedule.state())
    assert kept.records == schedule.records
    assert kept.state() == schedule.state()


def test_a_replay_delivers_kindly_what_it_has_no_record_of() -> None:
    assert plan(told(9), Replay([])) == plan(told(9), Schedule(1, "kind"))


TURNS = {
    # knob → what it decides, all of which must stay when another knob is turned
    "twice": "copies",
    "late": "delay_seconds",
    "ties": "tie",
    "stalled": "fault",
    "stray": "stray",
}


@pytest.mark.parametrize("turned", TURNS)
def test_turning_one_knob_leaves_what_the_others_chose(turned: str) -> None:
    usual = Profile(twice=0.3, late=0.3, ties=0.5, stalled=0.3, stray=0.3)
    before, after = decisions(usual), decisions(replace(usual, **{turned: 0.9}))
    for knob, decided in TURNS.items():
        same = [getattr(d, decided) for d in before] == [getattr(d, decided) for d in after]
        assert same == (knob != turned), knob


@pytest.mark.parametrize("knob", [knob for knob in KNOBS if knob != "down"])
def test_a_knob_hits_the_share_that_it_is_set_to(knob: str) -> None:
    found = decisions(Profile(**{knob: 0.25}), count=800)
    odd = [d for d in found if d.oddities or d.tie]
    assert 0.2 < len(odd) / len(found) < 0.3


def test_how_far_a_hostile_schedule_reaches() -> None:
    """Copies come at once, within half an hour, or up to 5 days later; delays are up to 6 hours, or 1 to 3 days."""
    found = decisions(PROFILES["hostile"], count=4000)
    after = {copy for d in found for copy in d.copies}
    delays = {d.delay_seconds for d in found if d.delay_seconds}
    assert 0 in after
    assert all(a == 0 or 60 <= a <= 1800 or DAY <= a <= 5 * DAY for a in after)
    assert max(after) > 4 * DAY
    assert all(1 <= d <= 6 * HOUR or DAY <= d <= 3 * DAY for d in delays)
    assert min(delays) < 60 < HOUR < max(d for d in delays if d < DAY)
    assert {d.fault for d in found} >= {"", "gone", "lost", "unheard", "stalled", "rotated"}


def test_a_lost_first_attempt_is_made_up_for_by_the_second() -> None:
    arrived = plan(told(5), Schedule(1, Profile(lost=1.0)))
    assert [(d.attempt, d.at - d.event.created) for d in arrived] == [(2, retries.LIVE[0])] * 5


def test_what_is_lost_for_good_is_tried_for_three_days_and_reported() -> None:
    schedule = Schedule(1, Profile(gone=1.0))
    assert plan(told(1), schedule) == []
    assert [r.fault for r in schedule.records] == ["gone"] * (len(retries.LIVE) + 1)
    assert 2 * DAY < sum(retries.LIVE) <= 3 * DAY


def test_an_answer_that_is_not_heard_makes_the_event_come_again() -> None:
    arrived = plan(told(1), Schedule(1, Profile(unheard=1.0)))
    assert [d.attempt for d in arrived] == list(range(1, len(retries.LIVE) + 2))


def test_what_is_rightly_refused_is_marked_and_followed_by_the_genuine_one() -> None:
    rotated = plan(told(1), Schedule(1, Profile(rotated=1.0)))
    assert [(d.attempt, d.genuine) for d in rotated] == [(1, False), (2, True)]
    stray = plan(told(1), Schedule(1, Profile(stray=1.0)))
    assert [(d.attempt, d.genuine) for d in stray] == [(1, False), (1, True)]


def test_an_outage_lasts_for_hours_and_ends() -> None:
    schedule = Schedule(4, Profile(down=1.0))
    faults = [schedule.decide(f"evt_{m}", "we_1", 1, START + m * 60).fault for m in range(24 * 60)]
    minutes = faults.count("down")
    assert 60 <= minutes <= 5 * 60
    first = faults.index("down")
    assert faults[first : first + minutes] == ["down"] * minutes


def test_ties_change_places_within_their_second_only() -> None:
    events = told(300, a_second=10)
    arrived = plan(events, Schedule(1, Profile(ties=1.0)))
    assert [d.at for d in arrived] == [e.created for e in events]
    assert [d.event for d in arrived] != events


def test_two_endpoints_have_fates_of_their_own() -> None:
    arrived = plan(told(200), Schedule(1, Profile(late=0.5)), ["we_1", "we_2"])
    late = {w: {d.event.id for d in arrived if d.endpoint == w and d.oddities} for w in ("we_1", "we_2")}
    assert late["we_1"] != late["we_2"]
