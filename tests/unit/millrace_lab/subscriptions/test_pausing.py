"""Pausing, both ways: no collection while the status stays, and the status `paused` with nothing billed."""

from __future__ import annotations

import pytest

from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400
NEVER = "insufficient_funds"


@pytest.mark.parametrize(
    ("behavior", "becomes"),
    [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")],
)
def test_paused_collection_leaves_the_status_and_gives_invoices_up(behavior: str, becomes: str) -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.change(sub, pause_collection={"behavior": behavior})
    shop.wait("32d")
    assert (shop.sub(sub)["status"], shop.latest(sub)["status"]) == ("active", becomes)
    assert shop.latest(sub)["amount_paid"] == 0
    shop.change(sub, pause_collection="")
    shop.wait("31d")
    assert (shop.sub(sub)["pause_collection"], shop.latest(sub)["status"]) == (None, "paid")


def test_paused_collection_goes_on_by_itself_at_its_date() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.change(sub, pause_collection={"behavior": "void", "resumes_at": shop.now + 40 * DAY})
    shop.wait("39d")
    mark = shop.mark()
    shop.wait("1d")
    told = shop.told("customer.subscription.updated", since=mark)[-1]
    assert told.previous == {"pause_collection": {"behavior": "void", "resumes_at": shop.now}}
    shop.wait("30d")
    assert [invoice["status"] for invoice in shop.invoices(sub)] == ["paid", "void", "paid"]


def paused(shop: Shop, sub: Body, **given: object) -> Body:
    return shop.post(f"/v1/subscriptions/{sub['id']}/pause", **given)


def test_a_pause_says_why_and_bills_nothing() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    mark = shop.mark()
    sub = paused(shop, sub)
    assert sub["status_details"]["paused"] == {
        "subscription": {"type": "pause_requested"}, "transitioned_at": shop.now, "type": "subscription",
    }  # fmt: skip
    assert shop.types(mark) == [
        "invoiceitem.created",
        "customer.subscription.updated",
        "customer.subscription.paused",
    ]
    shop.wait("90d")
    assert len(shop.invoices(sub)) == 1


WHAT_IS_GIVEN_BACK = [
    # bill_for                                                       given back at half-time
    ({}, [-500]),
    ({"unused_time_from": {"type": "now"}}, [-500]),
    ({"unused_time_from": {"type": "item_current_period_start"}}, [-1000]),
    ({"unused_time_from": {"type": "none"}}, []),
]


@pytest.mark.parametrize(("bill_for", "back"), WHAT_IS_GIVEN_BACK)
def test_a_pause_gives_back_what_was_asked(bill_for: Body, back: list[int]) -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    paused(shop, sub, bill_for=bill_for)
    assert [told.object["amount"] for told in shop.told("invoiceitem.created")] == back
    shop.wait("9d")
    resumed = shop.post(f"/v1/subscriptions/{sub['id']}/resume")
    assert sorted(amounts(shop.latest(sub))) == sorted([*back, 1000])
    assert (resumed["status"], resumed["status_details"]) == ("active", None)
    assert resumed["billing_cycle_anchor"] == item(resumed)["current_period_start"] == shop.now


def test_a_pause_can_be_settled_on_an_invoice_of_its_own() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    paused(shop, sub, invoicing_behavior="invoice")
    assert (amounts(shop.latest(sub)), shop.latest(sub)["status"]) == ([-500], "paid")


@pytest.mark.parametrize(("behavior", "charged"), [("always_invoice", [1000, 500]), ("none", [1000])])
def test_resuming_in_the_old_cycle_charges_the_rest_of_the_running_period(
    behavior: str, charged: list[int]
) -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    anchor = sub["billing_cycle_anchor"]
    paused(shop, sub, bill_for={"unused_time_from": {"type": "none"}})
    shop.wait("46d 12h")  # the middle of August
    resumed = shop.post(
        f"/v1/subscriptions/{sub['id']}/resume",
        billing_cycle_anchor={"type": "unchanged"},
        proration_behavior=behavior,
    )
    assert (resumed["status"], resumed["billing_cycle_anchor"]) == ("active", anchor)
    assert item(resumed)["current_period_start"] == anchor + 31 * DAY
    assert [amount for invoice in shop.invoices(sub) for amount in amounts(invoice)] == charged


def test_a_resumption_can_wait_for_its_payment() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(f"ok,{NEVER},ok"), shop.small)
    paused(shop, sub, bill_for={"unused_time_from": {"type": "none"}})
    shop.wait("5d")
    asked = {"payment_behavior": "resume_on_payment_success"}
    sub = shop.post(f"/v1/subscriptions/{sub['id']}/resume", **asked)
    assert (sub["status"], shop.latest(sub)["status"]) == ("paused", "open")
    shop.post(f"/v1/invoices/{sub['latest_invoice']}/pay")
    assert shop.sub(sub)["status"] == "active"
    assert "customer.subscription.resumed" in shop.types()


def test_a_resumption_that_is_not_paid_in_a_day_is_voided() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(f"ok,{NEVER}"), shop.small)
    paused(shop, sub, bill_for={"unused_time_from": {"type": "none"}})
    shop.wait("5d")
    shop.post(f"/v1/subscriptions/{sub['id']}/resume", payment_behavior="resume_on_payment_success")
    shop.wait("23h")
    assert (shop.sub(sub)["status"], shop.latest(sub)["status"]) == ("paused", "void")


def test_who_may_not_be_paused() -> None:
    shop = Shop()
    classic = shop.subscribe(shop.customer(), shop.small, billing_mode={"type": "classic"})
    assert "flexible" in shop.refusal("POST", f"/v1/subscriptions/{classic['id']}/pause")["message"]
    planned = shop.subscribe(shop.customer(), shop.small)
    shop.post("/v1/subscription_schedules", from_subscription=planned["id"])
    assert "schedule" in shop.refusal("POST", f"/v1/subscriptions/{planned['id']}/pause")["message"]
    assert "not paused" in shop.refusal("POST", f"/v1/subscriptions/{classic['id']}/resume")["message"]


def test_the_classic_mode_can_be_left_and_never_entered_again() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, billing_mode={"type": "classic"})
    path = f"/v1/subscriptions/{sub['id']}/migrate"
    migrated = shop.post(path, billing_mode={"type": "flexible"})
    assert (migrated["billing_mode"]["type"], migrated["billing_mode"]["updated_at"]) == (
        "flexible",
        shop.now,
    )
    assert shop.refusal("POST", path, billing_mode={"type": "classic"})["status"] == 400
    assert paused(shop, sub)["status"] == "paused"
