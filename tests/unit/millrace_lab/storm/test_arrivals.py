"""What reaches a receiver: what is genuine, as often as it comes, with the true order kept beside it."""

from __future__ import annotations

from collections import Counter

import pytest

from millrace_lab.account import Account
from millrace_lab.delivery.schedule import Profile, Schedule
from millrace_lab.storm import lives
from millrace_lab.storm.arrivals import arrivals
from millrace_lab.storm.companies import Company
from tests.unit.millrace_lab.storm.hand_made import arrival, subscription


@pytest.fixture(scope="module")
def account() -> Account:
    return Company(1, 20, 4, lives.CAST).play()


@pytest.mark.parametrize(
    ("profile", "times"),
    [
        (Profile(), 1),
        (Profile(stray=1.0), 1),  # what comes along from the other mode is refused
        (
            Profile(rotated=1.0),
            1,
        ),  # so is what was signed with a secret that is no more; the next try is good
        (Profile(echo=1.0), 2),
        (Profile(gone=1.0), 0),
    ],
)
def test_every_event_arrives_so_often(account: Account, profile: Profile, times: int) -> None:
    came = Counter(each.id for each in arrivals(account, Schedule(1, profile)))
    assert {came[told.id] for told in account.events if not told.thin} == {times}


def test_arrivals_come_in_order_of_arrival_and_know_the_true_one(account: Account) -> None:
    came = arrivals(account, Schedule(1, "hostile"))
    assert [each.at for each in came] == sorted(each.at for each in came)
    assert [each.number for each in came] != sorted(each.number for each in came)
    assert all(account.events[each.number].id == each.id for each in came)
    seen: Counter[str] = Counter()
    for each in came:
        seen[each.id] += 1
        assert each.attempt == seen[each.id]


def test_money_is_carried_whole(account: Account) -> None:
    told = [each.object for each in arrivals(account, Schedule(1)) if each.type == "charge.updated"]
    assert {each["balance_transaction"]["object"] for each in told if each["balance_transaction"]}


def test_twins_are_two_events_of_one_change() -> None:
    one = arrival(1, "customer.subscription.updated", subscription("active"))
    twin = arrival(2, "customer.subscription.updated", subscription("active"), id="evt_twin", second=1)
    later = arrival(3, "customer.subscription.updated", subscription("active"))
    assert [one.twin_of(one), one.twin_of(twin), one.twin_of(later)] == [False, True, False]
