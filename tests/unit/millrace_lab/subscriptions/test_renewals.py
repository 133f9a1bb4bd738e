"""Renewals: what is told in which order, what changed, and who else hears of it."""

from __future__ import annotations

from millrace_lab.account import Step
from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400


def test_a_renewal_is_told_with_the_whole_old_item() -> None:
    """Source: docs/lab/behaviours.md: `previous_attributes` is the old item, whole, and the latest invoice."""
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, metadata={"team": "7"})
    shop.wait("30d")
    mark = shop.mark()
    shop.wait("1d")
    assert [type_ for type_ in shop.types(mark) if type_ != "balance.available"] == [
        "customer.subscription.updated",
        "invoice.created",
    ]
    previous = shop.told("customer.subscription.updated", since=mark)[0].previous or {}
    assert set(previous) == {"items", "latest_invoice"}
    assert previous["items"]["data"][0] == item(sub)
    assert previous["latest_invoice"] == sub["latest_invoice"]
    renewed = shop.latest(sub)
    assert (renewed["status"], renewed["billing_reason"]) == ("draft", "subscription_cycle")
    assert (renewed["period_start"], renewed["period_end"]) == (sub["created"], sub["created"] + 31 * DAY)
    line = renewed["lines"]["data"][0]
    assert (line["period"]["start"], line["metadata"]) == (renewed["period_end"], {"team": "7"})
    assert line["description"] == "1 \N{MULTIPLICATION SIGN} Small (at $10.00 / month)"


def test_a_year_of_months_keeps_its_day_and_its_price() -> None:
    shop = Shop()
    shop.wait("30d")  # 31 July
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("365d 2h")
    found = shop.invoices(sub)
    assert len(found) == 13
    assert {invoice["amount_paid"] for invoice in found} == {1000}
    assert item(shop.sub(sub))["current_period_start"] == sub["created"] + 365 * DAY


def test_a_discount_for_one_invoice_is_gone_after_it() -> None:
    shop = Shop()
    shop.post("/v1/coupons", id="WELCOME", percent_off="25", duration="once")
    sub = shop.subscribe(shop.customer(), shop.small, discounts=[{"coupon": "WELCOME"}])
    assert (shop.latest(sub)["total"], shop.sub(sub)["discounts"]) == (750, [])
    shop.wait("32d")
    assert shop.latest(sub)["total"] == 1000


def test_a_discount_of_one_item_leaves_the_others_alone() -> None:
    for duration, then in (
        ({"duration": "once"}, 3000),
        ({"duration": "repeating", "duration_in_months": 2}, 2500),
    ):
        shop = Shop()
        shop.post("/v1/coupons", id="HALF", percent_off="50", **duration)
        items = [{"price": shop.small, "discounts": [{"coupon": "HALF"}]}, {"price": shop.large}]
        sub = shop.post("/v1/subscriptions", customer=shop.customer(), items=items)
        assert shop.latest(sub)["total"] == 2500
        shop.wait("32d")
        assert shop.latest(sub)["total"] == then
        shop.wait("62d")
        assert shop.latest(sub)["total"] == 3000


def test_what_waits_for_the_customer_is_on_the_next_invoice_too() -> None:
    shop = Shop()
    buyer = shop.customer()
    sub = shop.subscribe(buyer, shop.small)
    shop.post("/v1/invoiceitems", customer=buyer, amount=250, currency="usd", description="A book")
    shop.wait("32d")
    assert sorted(amounts(shop.latest(sub))) == [250, 1000]


def test_a_deleted_customer_has_no_subscription_left() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    mark = shop.mark()
    shop.delete(f"/v1/customers/{sub['customer']}")
    assert shop.sub(sub)["status"] == "canceled"
    assert shop.types(mark)[0] == "customer.subscription.deleted"
    shop.wait("40d")
    assert len(shop.invoices(sub)) == 1


def test_other_rooms_hear_of_status_and_items_and_of_nothing_else() -> None:
    shop = Shop()
    heard: list[tuple[str, int | None]] = []

    def listen(_: Step, sub: Body, **__: object) -> None:
        heard.append((sub["status"], sub["quantity"]))

    shop.account.reactions = {
        **shop.account.reactions,
        "subscription.changed": (*shop.account.reactions["subscription.changed"], listen),
    }
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.change(sub, description="nothing of interest")
    shop.change(sub, items=[{"id": item(sub)["id"], "quantity": 2}])
    shop.delete(f"/v1/subscriptions/{sub['id']}")
    assert heard == [("incomplete", 1), ("active", 1), ("active", 2), ("canceled", 2)]


def test_a_subscription_lives_on_its_customers_clock() -> None:
    shop = Shop()
    clock = shop.post("/v1/test_helpers/test_clocks", frozen_time=shop.now)["id"]
    buyer = shop.customer(test_clock=clock)
    sub = shop.subscribe(buyer, shop.small)
    assert sub["test_clock"] == clock
    shop.wait("40d")
    assert len(shop.invoices(sub)) == 1
    shop.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=sub["created"] + 32 * DAY)
    shop.get(f"/v1/test_helpers/test_clocks/{clock}")
    assert len(shop.invoices(sub)) == 2


def test_a_start_can_be_dated_back_within_its_period() -> None:
    shop = Shop()
    began = shop.now - 5 * DAY
    asked = {"customer": shop.customer(), "items": [{"price": shop.small}]}
    sub = shop.post("/v1/subscriptions", **asked, backdate_start_date=began)
    assert (sub["start_date"], item(sub)["current_period_start"]) == (began, began)
    assert (
        shop.refusal("POST", "/v1/subscriptions", **asked, backdate_start_date=began - 90 * DAY)["status"]
        == 501
    )


def test_a_detached_card_is_nobodys_own_and_the_customers_default_is_next() -> None:
    shop = Shop()
    buyer = shop.customer()
    own = shop.card(buyer, "ok")
    shop.card(buyer, "ok")
    sub = shop.subscribe(buyer, shop.small, default_payment_method=own)
    mark = shop.mark()
    shop.post(f"/v1/payment_methods/{own}/detach")
    assert shop.told("customer.subscription.updated", since=mark)[0].previous == {
        "default_payment_method": own
    }
    shop.wait("32d")
    assert shop.latest(sub)["status"] == "paid"


def test_an_end_that_is_known_at_the_start_is_told_with_it() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, cancel_at_period_end=True)
    told = shop.told("customer.subscription.created")[0]
    assert told.object["cancel_at"] == sub["cancel_at"] == item(sub)["current_period_end"]
    shop.wait("32d")
    assert shop.sub(sub)["status"] == "canceled"
