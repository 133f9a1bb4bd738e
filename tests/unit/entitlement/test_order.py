"""No order of arrival changes the end: whole lives, told in every order."""

from __future__ import annotations

from itertools import permutations

import pytest

from lab.northwind import stories
from millrace.consumer.judge import run
from millrace_lab.account import DAY
from tests.support.events import ACCOUNT, records_of
from tests.unit.entitlement.telling import CATALOG, FOLD, Body, Told, end_of, stands


def bought_and_left() -> list[Body]:
    """Paid in the second of its creation; paused and resumed in one second; seats; deleted."""
    told = Told().created("incomplete").updated(status="active", default_payment_method="pm_1")
    told.later().paused().resumed().later().seats(8).later(30 * DAY).deleted()
    return told.events


def paused_and_resumed_last() -> list[Body]:
    told = Told().created("active").later().seats(7).updated(latest_invoice="in_2")
    return told.later().updated(status="paused").paused().updated(status="active").resumed().events[:6]


def metadata_after_the_end() -> list[Body]:
    told = Told().created("active").later().seats(3).seats(9).later().deleted()
    return told.later().updated(metadata={"note": "x"}).updated(canceled_at=told.at).events


LIVES = {
    "the engine's own": (stories.subscription_lifecycle(), "canceled", 8),
    "bought and left": (bought_and_left(), "canceled", 8),
    "paused and resumed last": (paused_and_resumed_last(), "active", 7),
    "metadata after the end": (metadata_after_the_end(), "canceled", 9),
}


@pytest.mark.parametrize("life", LIVES)
def test_all_720_orders_of_a_life_end_in_one_state(life: str) -> None:
    events, status, seats = LIVES[life]
    assert len(events) == 6
    records = records_of(events)
    ends = {}
    for order in permutations(records):
        [customer] = run(FOLD, CATALOG, order)[0].values()
        ends[repr(end_of(customer))] = customer
    assert len(ends) == 1
    [customer] = ends.values()
    [standing] = customer.standings().values()
    assert (standing.head.after.status, standing.head.after.items[0].quantity) == (status, seats)
    assert standing.doubt == ""


def test_the_end_is_the_same_when_every_event_comes_twice_over() -> None:
    events = bought_and_left()
    once = stands(events)
    assert stands([*events, *reversed(events), *events]) == once


def test_two_event_objects_for_one_change_leave_the_same_evidence_in_either_order() -> None:
    events = Told().created().later().seats(8).twice().events
    assert stands(events) == stands(list(reversed(events)))
    assert stands(events).head.event == "evt_sub_1_02"


def test_the_records_belong_to_the_account() -> None:
    [key] = run(FOLD, CATALOG, records_of(bought_and_left()))[0]
    assert key == f"{ACCOUNT}/cus_1"
