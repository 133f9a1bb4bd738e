"""Trials: free until they end, announced three days before, paid for an hour after."""

from __future__ import annotations

import pytest

from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400


def test_a_trial_is_an_invoice_of_nothing_and_money_an_hour_after_its_end() -> None:
    shop = Shop()
    began = shop.now
    sub = shop.subscribe(shop.customer(), shop.small, trial_period_days=14)
    assert (sub["trial_start"], sub["trial_end"]) == (began, began + 14 * DAY)
    assert sub["billing_cycle_anchor"] == item(sub)["current_period_end"] == sub["trial_end"]
    first = shop.latest(sub)
    assert (amounts(first), first["status"], first["billing_reason"]) == ([0], "paid", "subscription_create")
    assert first["lines"]["data"][0]["description"] == "Trial period for Small"
    shop.wait("14d")
    sub = shop.sub(sub)
    assert (sub["status"], shop.latest(sub)["status"]) == ("active", "draft")
    assert shop.latest(sub)["billing_reason"] == "subscription_cycle"
    shop.wait("1h")
    assert (amounts(shop.latest(sub)), shop.latest(sub)["status"]) == ([1000], "paid")


@pytest.mark.parametrize(("days", "told_after"), [(14, 11 * DAY), (4, DAY), (3, 0), (1, 0)])
def test_a_trial_is_told_to_end_three_days_before_or_at_once(days: int, told_after: int) -> None:
    shop = Shop()
    began = shop.now
    shop.subscribe(shop.customer(), shop.small, trial_period_days=days)
    shop.wait("20d")
    told = shop.told("customer.subscription.trial_will_end")
    assert [each.created - began for each in told] == [told_after]


def test_a_trial_can_be_ended_now() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, trial_period_days=14)
    shop.wait("2d")
    mark = shop.mark()
    sub = shop.change(sub, trial_end="now")
    assert (sub["status"], sub["trial_end"], sub["billing_cycle_anchor"]) == ("active", shop.now, shop.now)
    assert (amounts(shop.latest(sub)), shop.latest(sub)["status"]) == ([1000], "paid")
    shop.wait("20d")
    assert "customer.subscription.trial_will_end" not in shop.types(mark)


def test_a_trial_can_be_prolonged_and_costs_nothing_more() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, trial_period_days=14)
    sub = shop.change(sub, trial_end=shop.now + 30 * DAY)
    assert (sub["status"], len(shop.invoices(sub))) == ("trialing", 1)
    shop.wait("29d")
    assert shop.sub(sub)["status"] == "trialing"
    shop.wait("1d")
    assert shop.sub(sub)["status"] == "active"


def test_a_trial_in_the_middle_gives_the_unused_time_back() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    sub = shop.change(sub, trial_end=shop.now + 7 * DAY)
    assert (sub["status"], amounts(shop.latest(sub))) == ("trialing", [-500, 0])


def test_seats_change_freely_during_a_trial() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, trial_period_days=14)
    shop.change(sub, items=[{"id": item(sub)["id"], "quantity": 5}])
    assert not shop.told("invoiceitem.created")
    shop.wait("15d")
    assert amounts(shop.latest(sub)) == [5000]


def test_a_trial_that_ends_unpayable_is_paused_with_its_reason() -> None:
    shop = Shop()
    sub = shop.subscribe(
        shop.customer(None),
        shop.small,
        trial_period_days=14,
        trial_settings={"end_behavior": {"missing_payment_method": "pause"}},
    )
    shop.wait("14d")
    paused = shop.sub(sub)["status_details"]["paused"]
    assert paused["subscription"]["type"] == "trial_end_without_payment_method"
    assert paused["transitioned_at"] == sub["trial_end"]
    assert shop.types()[-2:] == ["customer.subscription.updated", "customer.subscription.paused"]


def test_only_one_way_to_say_how_long() -> None:
    shop = Shop()
    buyer = shop.customer()
    given = {
        "customer": buyer,
        "items": [{"price": shop.small}],
        "trial_period_days": 3,
        "trial_end": shop.now + DAY,
    }
    assert shop.refusal("POST", "/v1/subscriptions", **given)["param"] == "trial_end"
