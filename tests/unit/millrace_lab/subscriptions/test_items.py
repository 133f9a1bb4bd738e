"""Items: several of them, seats and usage, one by one; and how subscriptions are listed."""

from __future__ import annotations

import pytest

from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400


def test_several_items_are_one_invoice_and_have_no_plan_at_the_top() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, shop.large, quantity=2)
    assert sorted(amounts(shop.latest(sub))) == [2000, 4000]
    assert (sub["plan"], sub["quantity"]) == (None, None)
    one = shop.subscribe(shop.customer(), shop.small, quantity=2)
    assert (one["plan"]["id"], one["quantity"]) == (shop.small, 2)
    assert (item(one)["plan"]["amount"], item(one)["price"]["unit_amount"]) == (1000, 1000)


def test_an_item_comes_and_goes_at_its_own_address() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    added = shop.post("/v1/subscription_items", subscription=sub["id"], price=shop.large, quantity=1)
    assert added["subscription"] == sub["id"]
    assert added["current_period_end"] == item(sub)["current_period_end"]
    changed = shop.post(f"/v1/subscription_items/{added['id']}", quantity=2, metadata={"for": "guests"})
    assert (changed["quantity"], changed["metadata"]) == (2, {"for": "guests"})
    listed = shop.get("/v1/subscription_items", subscription=sub["id"])["data"]
    assert [each["id"] for each in listed] == [each["id"] for each in shop.sub(sub)["items"]["data"]]
    assert shop.delete(f"/v1/subscription_items/{added['id']}")["deleted"]
    waiting = [told.object["amount"] for told in shop.told("invoiceitem.created")]
    assert waiting == [1000, -1000, 2000, -2000]
    assert shop.refusal("GET", f"/v1/subscription_items/{added['id']}")["status"] == 404
    shop.wait("16d")
    assert shop.latest(sub)["total"] == 1000


def test_one_update_adds_changes_and_removes() -> None:
    shop = Shop()
    medium = shop.plan("Medium", 1500)
    sub = shop.subscribe(shop.customer(), shop.small, shop.large)
    mark = shop.mark()
    first, second = (each["id"] for each in sub["items"]["data"])
    sub = shop.change(
        sub, items=[{"id": first, "quantity": 3}, {"id": second, "deleted": True}, {"price": medium}]
    )
    assert [(each["price"]["id"], each["quantity"]) for each in sub["items"]["data"]] == [
        (shop.small, 3),
        (medium, 1),
    ]
    told = shop.told("customer.subscription.updated", since=mark)
    assert len(told) == 1
    assert len((told[0].previous or {})["items"]["data"]) == 2


def test_what_may_not_be_combined_is_refused() -> None:
    shop = Shop()
    buyer = shop.customer()
    yearly, euros = shop.plan("Yearly", 9000, "year"), shop.plan("Euro", 1000, currency="eur")
    sub = shop.subscribe(buyer, shop.small)
    path, only = f"/v1/subscriptions/{sub['id']}", item(sub)["id"]
    assert "same plan" in shop.refusal("POST", path, items=[{"price": shop.small}])["message"]
    assert "at least one" in shop.refusal("POST", path, items=[{"id": only, "deleted": True}])["message"]
    assert (
        shop.refusal("POST", path, items=[{"id": "si_nobody", "quantity": 1}])["code"] == "resource_missing"
    )
    assert shop.refusal("POST", path, items=[{"price": euros}])["status"] == 400
    assert (
        "combine currencies"
        in shop.refusal("POST", "/v1/subscriptions", customer=buyer, items=[{"price": euros}])["message"]
    )
    classic = {"customer": buyer, "billing_mode": {"type": "classic"}}
    mixed = [{"price": shop.large}, {"price": yearly}]
    assert "interval" in shop.refusal("POST", "/v1/subscriptions", **classic, items=mixed)["message"]
    assert shop.refusal("POST", path, items=[{"price_data": {}}])["status"] == 501


def test_mixed_intervals_have_periods_of_their_own() -> None:
    """Source: docs.stripe.com/billing/subscriptions/mixed-interval; docs/lab/behaviours.md (basil)."""
    shop = Shop()
    yearly = shop.plan("Yearly", 9000, "year")
    sub = shop.subscribe(shop.customer(), shop.small, yearly)
    ends = [each["current_period_end"] - shop.now for each in sub["items"]["data"]]
    assert ends == [31 * DAY, 365 * DAY]
    shop.wait("32d")
    assert amounts(shop.latest(sub)) == [1000]


def test_usage_is_billed_after_its_period_and_seats_before_it() -> None:
    shop = Shop()
    calls, event = shop.metered("Calls", 5)
    buyer = shop.customer()
    sub = shop.subscribe(buyer, shop.small, calls)
    assert amounts(shop.latest(sub)) == [1000]
    assert "quantity" not in item(sub, 1)
    shop.used(event, buyer, 40)
    shop.wait("3d")
    shop.used(event, buyer, 60)
    shop.wait("29d")
    used, seats = shop.latest(sub)["lines"]["data"]
    assert (used["amount"], used["quantity"], seats["amount"]) == (500, 100, 1000)
    assert used["period"] == {
        "start": item(sub)["current_period_start"],
        "end": item(sub)["current_period_end"],
    }
    assert seats["period"]["start"] == used["period"]["end"]


@pytest.mark.parametrize(("mode", "invoices"), [("flexible", []), ("classic", [[0]])])
def test_usage_alone_costs_nothing_at_first(mode: str, invoices: list[list[int]]) -> None:
    """The flexible mode makes no invoice of nothing. Source: docs.stripe.com/billing/subscriptions/billing-mode."""
    shop = Shop()
    calls, _ = shop.metered("Calls", 5)
    sub = shop.subscribe(shop.customer(), calls, billing_mode={"type": mode})
    assert sub["status"] == "active"
    assert [amounts(invoice) for invoice in shop.invoices(sub)] == invoices


USAGE_AT_THE_END = [
    # how it ends                  the last invoice
    ({"invoice_now": True}, [200]),
    ({}, None),
]


@pytest.mark.parametrize(("how", "last"), USAGE_AT_THE_END)
def test_usage_is_settled_at_the_end_if_asked(how: dict[str, bool], last: list[int] | None) -> None:
    shop = Shop()
    calls, event = shop.metered("Calls", 5)
    buyer = shop.customer()
    sub = shop.subscribe(buyer, calls)
    shop.used(event, buyer, 40)
    shop.wait("2d")
    shop.delete(f"/v1/subscriptions/{sub['id']}", **how)
    assert [amounts(invoice) for invoice in shop.invoices(sub)] == ([] if last is None else [last])


def test_usage_of_the_last_period_is_billed_at_a_scheduled_end() -> None:
    shop = Shop()
    calls, event = shop.metered("Calls", 5)
    buyer = shop.customer()
    sub = shop.subscribe(buyer, calls)
    shop.used(event, buyer, 40)
    shop.change(sub, cancel_at_period_end=True)
    shop.wait("32d")
    assert (shop.sub(sub)["status"], amounts(shop.latest(sub)), shop.latest(sub)["status"]) == (
        "canceled",
        [200],
        "paid",
    )


def test_a_metered_item_goes_with_its_usage_or_is_billed() -> None:
    for cleared, waits in ((True, []), (False, [200])):
        shop = Shop()
        calls, event = shop.metered("Calls", 5)
        buyer = shop.customer()
        sub = shop.subscribe(buyer, shop.small, calls)
        shop.used(event, buyer, 40)
        shop.wait("1h")
        shop.delete(f"/v1/subscription_items/{item(sub, 1)['id']}", clear_usage=cleared)
        assert [told.object["amount"] for told in shop.told("invoiceitem.created")] == waits


def test_a_metered_item_has_no_quantity() -> None:
    shop = Shop()
    calls, _ = shop.metered("Calls", 5)
    asked = {"customer": shop.customer(), "items": [{"price": calls, "quantity": 3}]}
    assert "usage-based" in shop.refusal("POST", "/v1/subscriptions", **asked)["message"]


def test_a_change_between_seats_and_usage_takes_the_quantity_along() -> None:
    shop = Shop()
    calls, _ = shop.metered("Calls", 5)
    sub = shop.subscribe(shop.customer(), shop.small)
    path, only = f"/v1/subscriptions/{sub['id']}", item(sub)["id"]
    asked = {"id": only, "price": calls}
    assert "usage-based" in shop.refusal("POST", path, items=[{**asked, "quantity": 2}])["message"]
    assert "quantity" not in item(shop.change(sub, items=[asked]))
    assert item(shop.change(sub, items=[{"id": only, "price": shop.large}]))["quantity"] == 1


def test_in_the_classic_mode_usage_is_not_lost_by_accident() -> None:
    shop = Shop()
    calls, _ = shop.metered("Calls", 5)
    sub = shop.subscribe(shop.customer(), shop.small, calls, billing_mode={"type": "classic"})
    metered = item(sub, 1)["id"]
    assert "clear_usage" in shop.refusal("DELETE", f"/v1/subscription_items/{metered}")["message"]
    assert shop.delete(f"/v1/subscription_items/{metered}", clear_usage=True)["deleted"]


def test_the_cycle_can_begin_later_with_a_shorter_first_period() -> None:
    """Anchored to the middle of July: 15.5 of the 30 days since the middle of June, then whole months."""
    for behavior, first in (("create_prorations", [517]), ("none", None)):
        shop = Shop()
        anchor = shop.now + 31 * DAY // 2
        sub = shop.subscribe(
            shop.customer(), shop.small, billing_cycle_anchor=anchor, proration_behavior=behavior
        )
        assert (sub["status"], item(sub)["current_period_end"]) == ("active", anchor)
        assert [amounts(invoice) for invoice in shop.invoices(sub)] == ([] if first is None else [first])
        shop.wait("16d")
        assert amounts(shop.latest(sub)) == [1000]


def test_the_cycle_can_be_anchored_to_a_day_of_the_month() -> None:
    shop = Shop()
    config = {"day_of_month": 31, "hour": 6}
    sub = shop.subscribe(shop.customer(), shop.small, billing_cycle_anchor_config=config)
    assert sub["billing_cycle_anchor"] == shop.now + 30 * DAY + 6 * 3600
    assert sub["billing_cycle_anchor_config"] == {
        "day_of_month": 31, "month": None, "hour": 6, "minute": None, "second": None,
    }  # fmt: skip
    shop.wait("62d")  # 1 September: the period that began on 31 August ends on 30 September
    assert item(shop.sub(sub))["current_period_end"] == sub["billing_cycle_anchor"] + 61 * DAY


def test_something_sold_once_rides_along() -> None:
    shop = Shop()
    product = shop.post("/v1/products", name="Setup")["id"]
    setup = shop.post("/v1/prices", product=product, currency="usd", unit_amount=5000)["id"]
    sub = shop.subscribe(shop.customer(), shop.small, add_invoice_items=[{"price": setup}])
    assert amounts(shop.latest(sub)) == [1000, 5000]


def test_what_waits_can_be_invoiced_every_week() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, pending_invoice_item_interval={"interval": "week"})
    assert sub["next_pending_invoice_item_invoice"] == shop.now + 7 * DAY
    shop.wait("1d")
    shop.change(sub, items=[{"id": item(sub)["id"], "quantity": 2}])
    shop.wait("6d 2h")
    assert amounts(shop.latest(sub)) == [-968, 1935]
    shop.wait("8d")
    assert len(shop.invoices(sub)) == 2


def test_a_list_shows_the_living_unless_it_is_asked_for_more() -> None:
    shop = Shop()
    ada, bob = shop.customer(), shop.customer()
    old, new = shop.subscribe(ada, shop.small), shop.subscribe(ada, shop.large)
    other = shop.subscribe(bob, shop.small)
    shop.delete(f"/v1/subscriptions/{old['id']}")

    def found(**asked: object) -> list[str]:
        return [sub["id"] for sub in shop.get("/v1/subscriptions", **asked)["data"]]

    assert found() == [other["id"], new["id"]]
    assert found(status="all") == [other["id"], new["id"], old["id"]]
    assert found(status="canceled") == found(status="ended") == [old["id"]]
    assert found(customer=ada, status="all") == [new["id"], old["id"]]
    assert found(price=shop.small) == [other["id"]]
    assert found(current_period_end={"lt": shop.now}) == []


def test_subscriptions_are_found_by_their_metadata() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, metadata={"team": "7"})
    shop.subscribe(shop.customer(), shop.small, metadata={"team": "8"})
    shop.wait("5m")
    found = shop.get("/v1/subscriptions/search", query="metadata['team']:'7' AND status:'active'")
    assert [each["id"] for each in found["data"]] == [sub["id"]]


def test_the_terms_of_a_subscription_can_be_changed_in_one_told_update() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, metadata={"team": "7"})
    mark = shop.mark()
    rate = shop.post("/v1/tax_rates", display_name="VAT", inclusive=False, percentage="20")["id"]
    changed = shop.change(
        sub, description="Team seats", metadata={"team": "", "city": "Graz"}, default_tax_rates=[rate]
    )
    assert (changed["description"], changed["metadata"]) == ("Team seats", {"city": "Graz"})
    told = shop.told("customer.subscription.updated", since=mark)
    assert [each.previous for each in told] == [
        {"default_tax_rates": [], "description": None, "metadata": {"team": "7"}}
    ]
    shop.wait("32d")
    assert shop.latest(sub)["total"] == 1200
