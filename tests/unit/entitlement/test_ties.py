"""One second, several events: which of them stands? Every order of arrival must give the answer of the row."""

from __future__ import annotations

from itertools import permutations

import pytest

from millrace.consumer import Outcome
from tests.unit.entitlement.telling import Body, Told, heard, stands


def base() -> Told:
    return Told().created("active").later()


# What happens in the second, what stands after it: status, seats; and whether that is sure.
TIES = {
    "nothing else": (base().seats(6), "active", 6, ""),
    "seats up, then down": (base().seats(9).seats(5), "active", 5, ""),
    "seats down, then up": (base().seats(5).updated(latest_invoice="in_2").seats(9), "active", 9, ""),
    "paused, then resumed": (base().paused().resumed(), "active", 5, ""),
    "paused, told by two types": (base().updated(status="paused").paused(), "paused", 5, ""),
    "paused and resumed, told by two types each": (
        base().updated(status="paused").paused().updated(status="active").resumed(),
        "active",
        5,
        "",
    ),
    "resumed, then paused": (base().paused().later().resumed().paused(), "paused", 5, ""),
    "seats, then paused": (base().seats(7).paused(), "paused", 7, ""),
    "paused, then seats": (base().paused().seats(7), "paused", 7, ""),
    "resumed, then seats": (base().paused().later().resumed().seats(7), "active", 7, ""),
    "trial reminder, then seats": (base().trial_will_end().seats(7), "active", 7, ""),
    "seats, then trial reminder": (base().seats(7).trial_will_end(), "active", 7, ""),
    "metadata, then seats": (base().updated(metadata={"a": "1"}).seats(7), "active", 7, ""),
    "seats, then metadata": (base().seats(7).updated(metadata={"a": "1"}), "active", 7, ""),
    "born, paid, and more seats": (
        Told().created("incomplete").updated(status="active").seats(6),
        "active",
        6,
        "",
    ),
    "born with a short trial": (Told().created("trialing").trial_will_end(), "trialing", 5, ""),
    "seats, then deleted": (base().seats(7).deleted(), "canceled", 7, ""),
    "expired in the second of an update": (
        Told().created("incomplete").later().updated(latest_invoice="in_2").updated(status="incomplete_expired"),
        "incomplete_expired",
        5,
        "",
    ),
    "up and down, where the up was told twice or happened twice": (
        base().seats(9).twice().seats(5),
        "active",
        5,
        "more than one order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("tie", TIES)
def test_a_tie_is_decided_by_what_the_events_say_of_each_other(tie: str) -> None:
    told, status, seats, doubt = TIES[tie]
    for order in permutations(told.events):
        standing = stands(order)
        assert (standing.head.after.status, standing.head.after.items[0].quantity) == (status, seats)
        assert doubt in standing.doubt
        assert bool(doubt) == bool(standing.doubt)


def test_a_tie_without_a_known_beginning_is_in_doubt_until_the_beginning_arrives() -> None:
    told = base().paused().resumed()
    born, paused, resumed = told.events
    customer, judged = heard([resumed, paused])
    assert "more than one order" in customer.standings()["sub_1"].doubt
    assert [asked(j) for j in judged] == [[], ["sub_1"]]
    assert stands([resumed, paused, born]).doubt == ""
    assert stands([resumed, paused, born]).head.after.status == "active"


def test_a_gap_is_seen_and_asked_about_once_and_closes_when_the_missing_one_arrives() -> None:
    born, missing, last = base().seats(7).later().updated(cancel_at=1_790_000_000).events
    customer, judged = heard([born, last])
    assert "what it found is not what is stored" in customer.standings()["sub_1"].doubt
    assert [asked(j) for j in judged] == [[], ["sub_1"]]
    customer, judged = heard([born, last, missing])
    assert customer.standings()["sub_1"].doubt == ""
    assert asked(judged[2]) == []


def asked(judged: object) -> list[str]:
    effects = getattr(judged, "effects", ())
    return [e.object for e in effects if e.TYPE == "millrace.refresh.requested"]


def outcomes(events: list[Body]) -> list[tuple[str, str]]:
    return [(j.outcome, j.reason) for j in heard(events)[1]]


def test_what_is_late_says_why_it_changes_nothing() -> None:
    first, second, third, fourth = base().seats(6).later().seats(7).later().seats(8).events
    assert outcomes([third, fourth, first])[2] == (
        Outcome.NOOP.value,
        "newer events are known already: evt_sub_1_04",
    )
    assert outcomes([first, second, {**second, "id": "evt_twin"}, {**second, "id": "evt_twin"}])[2:] == [
        (Outcome.APPLIED.value, "subscription sub_1 stays active, by evt_sub_1_02")
    ]


def test_nothing_brings_back_what_has_ended() -> None:
    told = base().deleted()
    told.body["status"] = "active"
    ghost = told.later().updated(latest_invoice="in_3").events[-1]
    born, ended, _ = told.events
    for order in permutations([born, ended, ghost]):
        standing = stands(order)
        assert (standing.head.after.status, standing.doubt) == ("canceled", "")


def test_an_update_that_does_not_say_what_it_found_is_applied_and_doubted() -> None:
    born, silent = base().seats(7).events
    del silent["data"]["previous_attributes"]
    standing = stands([born, silent])
    assert standing.head.after.items[0].quantity == 7
    assert "missing" in standing.doubt


def test_items_that_are_cut_short_count_as_far_as_they_go_and_are_asked_about() -> None:
    told = Told(quantity=4)
    told.body["items"]["has_more"] = True
    customer, [judged] = heard(told.created(cancel_at_period_end=True).events)
    standing = customer.standings()["sub_1"]
    assert [item.quantity for item in standing.head.after.items] == [4]
    assert standing.head.after.cancels_at is not None
    assert standing.doubt == "evt_sub_1_01 does not show all items"
    assert asked(judged) == ["sub_1"]


def test_more_changes_than_can_be_ordered_are_doubted_and_still_end_in_one_state() -> None:
    told = base()
    for seats in range(10, 20):
        told.seats(seats)
    forwards, backwards = stands(told.events), stands(list(reversed(told.events)))
    assert forwards == backwards
    assert "10 changes in one second" in forwards.doubt
