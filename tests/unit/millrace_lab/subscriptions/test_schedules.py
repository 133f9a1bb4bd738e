"""Schedules: phases one after the other, and what is left when they are over."""

from __future__ import annotations

from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400
MONTH = {"interval": "month", "interval_count": 1}


def planned(shop: Shop, *phases: Body, **given: object) -> Body:
    return shop.post("/v1/subscription_schedules", phases=list(phases), **given)


def phase(price: str, **given: object) -> Body:
    return {"items": [{"price": price}], "duration": MONTH, **given}


def now(shop: Shop, schedule: Body) -> Body:
    return shop.get(f"/v1/subscription_schedules/{schedule['id']}")


def test_a_default_payment_method_has_to_be_one() -> None:
    shop = Shop()
    customer, wrong = shop.customer(), {"default_payment_method": shop.small}
    for given in (
        {"phases": [phase(shop.small, **wrong)]},
        {"phases": [phase(shop.small)], "default_settings": wrong},
    ):
        error = shop.refusal(
            "POST", "/v1/subscription_schedules", customer=customer, start_date="now", **given
        )
        assert (error["status"], error["param"]) == (400, "default_payment_method")


def test_a_phase_lasts_a_hundred_years_at_most() -> None:
    shop = Shop()
    long = phase(shop.small, duration={"interval": "month", "interval_count": 1201})
    asked = {"customer": shop.customer(), "start_date": "now", "phases": [long]}
    error = shop.refusal("POST", "/v1/subscription_schedules", **asked)
    assert error["param"] == "phases[0][duration][interval_count]"


def test_phases_follow_each_other_at_period_ends_without_proration_and_then_it_is_released() -> None:
    shop = Shop()
    began = shop.now
    schedule = planned(shop, phase(shop.small), phase(shop.large), customer=shop.customer())
    assert (schedule["status"], schedule["current_phase"]) == (
        "active", {"start_date": began, "end_date": began + 31 * DAY},
    )  # fmt: skip
    sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
    assert (sub["schedule"], sub["status"], amounts(shop.latest(sub))) == (schedule["id"], "active", [1000])
    shop.wait("32d")
    assert amounts(shop.latest(sub)) == [2000]
    assert item(shop.sub(sub))["id"] == item(sub)["id"]
    assert now(shop, schedule)["current_phase"]["start_date"] == began + 31 * DAY
    mark = shop.mark()
    shop.wait("31d")
    done = now(shop, schedule)
    assert (done["status"], done["released_subscription"], done["subscription"]) == (
        "released",
        sub["id"],
        None,
    )
    assert (shop.sub(sub)["schedule"], shop.sub(sub)["status"]) == (None, "active")
    told = [type_ for type_ in shop.types(mark) if type_.startswith("subscription_schedule")]
    assert told == ["subscription_schedule.expiring", "subscription_schedule.released"]
    assert not shop.told("invoiceitem.created")


def test_a_schedule_can_end_its_subscription() -> None:
    shop = Shop()
    schedule = planned(shop, phase(shop.small), customer=shop.customer(), end_behavior="cancel")
    shop.wait("32d")
    assert now(shop, schedule)["status"] == "completed"
    sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
    assert (sub["status"], len(shop.invoices(sub))) == ("canceled", 1)


def test_a_phase_within_a_period_prorates_as_it_asks() -> None:
    for behavior, found in (("always_invoice", [-500, 1000]), ("none", [1000])):
        shop = Shop()
        half_time = shop.now + 31 * DAY // 2
        second = phase(shop.large, proration_behavior=behavior)
        first = {"items": [{"price": shop.small}], "end_date": half_time}
        schedule = planned(shop, first, second, customer=shop.customer())
        shop.wait("16d")
        sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
        assert amounts(shop.latest(sub)) == found
        assert item(sub)["price"]["id"] == shop.large


def test_a_schedule_may_begin_later() -> None:
    shop = Shop()
    start = shop.now + 10 * DAY
    schedule = planned(shop, phase(shop.small), customer=shop.customer(), start_date=start)
    assert (schedule["status"], schedule["subscription"]) == ("not_started", None)
    assert shop.get("/v1/subscription_schedules", scheduled=True)["data"][0]["id"] == schedule["id"]
    shop.wait("10d")
    begun = now(shop, schedule)
    assert begun["status"] == "active"
    assert shop.get(f"/v1/subscriptions/{begun['subscription']}")["start_date"] == start
    assert shop.get("/v1/subscription_schedules", scheduled=True)["data"] == []


def test_a_schedule_around_a_running_subscription_plans_its_next_price() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.large)
    schedule = shop.post("/v1/subscription_schedules", from_subscription=sub["id"])
    running = schedule["phases"][0]
    dates = {"start_date": running["start_date"], "end_date": running["end_date"]}
    assert dates == {
        "start_date": item(sub)["current_period_start"],
        "end_date": item(sub)["current_period_end"],
    }
    shop.post(
        f"/v1/subscription_schedules/{schedule['id']}",
        phases=[{"items": [{"price": shop.large}], **dates}, phase(shop.small)],
    )
    assert item(shop.sub(sub))["price"]["id"] == shop.large
    shop.wait("32d")
    assert amounts(shop.latest(sub)) == [1000]
    again = shop.refusal("POST", "/v1/subscription_schedules", from_subscription=sub["id"])
    assert "already managed" in again["message"]


def test_replanning_the_running_phase_changes_the_subscription_now() -> None:
    shop = Shop()
    schedule = planned(shop, phase(shop.small), customer=shop.customer())
    running = schedule["phases"][0]
    shop.wait("15d 12h")
    changed = {
        "items": [{"price": shop.large}],
        "start_date": running["start_date"],
        "end_date": running["end_date"],
    }
    shop.post(
        f"/v1/subscription_schedules/{schedule['id']}", phases=[changed], proration_behavior="always_invoice"
    )
    sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
    assert amounts(shop.latest(sub)) == [-500, 1000]


def test_what_cannot_be_done_any_more_aborts_a_schedule_and_not_the_clock() -> None:
    shop = Shop()
    buyer = shop.customer()
    schedule = planned(shop, phase(shop.small), customer=buyer, start_date=shop.now + 10 * DAY)
    shop.subscribe(buyer, shop.plan("Euro", 1000, currency="eur"))
    shop.wait("11d")
    assert (now(shop, schedule)["status"], now(shop, schedule)["subscription"]) == ("canceled", None)
    assert "subscription_schedule.aborted" in shop.types()


def test_a_schedule_for_somebody_without_a_card_begins_incomplete_and_for_somebody_gone_not_at_all() -> None:
    shop = Shop()
    start = {"start_date": shop.now + 10 * DAY}
    poor = planned(shop, phase(shop.small), customer=shop.customer(None), **start)
    gone = planned(shop, phase(shop.small), customer=shop.customer(), **start)
    shop.delete(f"/v1/customers/{gone['customer']}")
    shop.wait("10d")
    assert shop.get(f"/v1/subscriptions/{now(shop, poor)['subscription']}")["status"] == "incomplete"
    assert now(shop, gone)["status"] == "canceled"


def test_a_price_that_was_archived_is_still_good_for_what_was_planned() -> None:
    shop = Shop()
    schedule = planned(shop, phase(shop.small), phase(shop.large), customer=shop.customer())
    shop.post(f"/v1/prices/{shop.large}", active="false")
    assert (
        shop.refusal("POST", "/v1/subscriptions", customer=shop.customer(), items=[{"price": shop.large}])[
            "code"
        ]
        == "price_inactive"
    )
    shop.wait("32d")
    assert amounts(shop.latest(shop.get(f"/v1/subscriptions/{schedule['subscription']}"))) == [2000]


def test_of_several_items_those_with_the_same_price_stay_themselves() -> None:
    shop = Shop()
    medium = shop.plan("Medium", 1500)
    first = {"items": [{"price": shop.small}, {"price": shop.large}], "duration": MONTH}
    second = {"items": [{"price": medium}, {"price": shop.large, "quantity": 3}], "duration": MONTH}
    schedule = planned(shop, first, second, customer=shop.customer())
    sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
    shop.wait("32d")
    after = shop.sub(sub)
    assert {each["price"]["id"]: each["quantity"] for each in after["items"]["data"]} == {
        medium: 1,
        shop.large: 3,
    }
    assert item(sub, 1)["id"] in [each["id"] for each in after["items"]["data"]]
    assert sorted(amounts(shop.latest(sub))) == [1500, 6000]


def test_release_and_cancel() -> None:
    shop = Shop()
    released = planned(shop, phase(shop.small), customer=shop.customer(), end_behavior="cancel")
    path = f"/v1/subscription_schedules/{released['id']}"
    assert shop.post(f"{path}/release", preserve_cancel_date=True)["status"] == "released"
    sub = shop.get(f"/v1/subscriptions/{released['subscription']}")
    assert (sub["schedule"], sub["cancel_at"]) == (None, released["phases"][0]["end_date"])
    assert shop.refusal("POST", f"{path}/cancel")["status"] == 400
    canceled = planned(shop, phase(shop.small), customer=shop.customer())
    assert shop.post(f"/v1/subscription_schedules/{canceled['id']}/cancel")["status"] == "canceled"
    assert shop.get(f"/v1/subscriptions/{canceled['subscription']}")["status"] == "canceled"


def test_a_subscription_that_ends_takes_its_schedule_with_it() -> None:
    shop = Shop()
    schedule = planned(shop, phase(shop.small), phase(shop.large), customer=shop.customer())
    path = f"/v1/subscriptions/{schedule['subscription']}"
    assert (
        "managed by the subscription schedule"
        in shop.refusal("POST", path, cancel_at_period_end=True)["message"]
    )
    shop.delete(path)
    assert now(shop, schedule)["status"] == "canceled"
    shop.wait("40d")
    assert shop.get(path)["status"] == "canceled"


def test_a_trial_and_another_interval_as_phases() -> None:
    shop = Shop()
    yearly = shop.plan("Yearly", 9000, "year")
    trial = {
        "items": [{"price": shop.small}],
        "duration": {"interval": "week", "interval_count": 2},
        "trial": True,
    }
    schedule = planned(shop, trial, phase(yearly), customer=shop.customer())
    sub = shop.get(f"/v1/subscriptions/{schedule['subscription']}")
    assert sub["status"] == "trialing"
    shop.wait("15d")
    assert shop.sub(sub)["status"] == "active"
    assert amounts(shop.latest(sub)) == [9000]
