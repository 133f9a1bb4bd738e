"""Previews: what would be billed, without anything having happened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop

DAY = 86400


def price(stripe: Double, amount: int, interval: str = "month") -> str:
    made = stripe.post(
        "/v1/prices",
        currency="usd",
        unit_amount=amount,
        recurring={"interval": interval},
        product_data={"name": "Plan"},
    )
    id_: str = made["id"]
    return id_


def subscribed(stripe: Double, buyer: str, amount: int = 3000) -> Any:
    return stripe.post("/v1/subscriptions", customer=buyer, items=[{"price": price(stripe, amount)}])


def preview(stripe: Double, **params: Any) -> Any:
    """A preview, after which everything is as it was."""
    began, objects = stripe.mark(), dict(stripe.account.objects)
    shown = stripe.post("/v1/invoices/create_preview", **params)
    assert stripe.types(began) == []
    assert stripe.account.objects == objects
    assert shop.parts(shown, "status", "number", "ending_balance") == ("draft", None, None)
    assert shown["id"].startswith("upcoming_in_")
    return shown


def test_the_next_renewal_with_what_waits_for_it() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    sub = subscribed(stripe, buyer)
    shop.item(stripe, buyer, 500)
    shown = preview(stripe, subscription=sub["id"])
    end = sub["items"]["data"][0]["current_period_end"]
    assert shop.parts(shown, "total", "billing_reason", "period_end") == (3500, "upcoming", end)
    assert shown["created"] == end
    stripe.wait("31d")
    real = stripe.get("/v1/invoices", subscription=sub["id"])["data"][0]
    assert [line["amount"] for line in real["lines"]["data"]] == [
        line["amount"] for line in shown["lines"]["data"]
    ]


def test_a_change_of_plan_shows_its_prorations_on_the_renewal_or_at_once() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    sub = subscribed(stripe, buyer, 3100)
    stripe.wait("15d 12h")
    change = {"items": [{"id": sub["items"]["data"][0]["id"], "price": price(stripe, 6200)}]}
    later = preview(stripe, subscription=sub["id"], subscription_details=change)
    assert [line["amount"] for line in later["lines"]["data"]] == [-1550, 3100, 6200]
    now = preview(
        stripe, subscription=sub["id"], subscription_details=change | {"proration_behavior": "always_invoice"}
    )
    assert [line["amount"] for line in now["lines"]["data"]] == [-1550, 3100]
    assert shop.parts(now, "total", "amount_due", "amount_remaining", "billing_reason") == (
        1550,
        1550,
        1550,
        "subscription_update",
    )


def test_the_first_invoice_of_a_subscription_that_does_not_exist() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank=None)
    off = stripe.post("/v1/coupons", duration="once", percent_off=10)["id"]
    shown = preview(
        stripe,
        customer=buyer,
        subscription_details={"items": [{"price": price(stripe, 3000), "quantity": 2}]},
        discounts=[{"coupon": off}],
    )
    assert shop.parts(shown, "subtotal", "total", "billing_reason") == (6000, 5400, "subscription_create")


def test_waiting_items_and_items_that_do_not_exist() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    shop.item(stripe, buyer, 500)
    shown = preview(
        stripe, customer=buyer, invoice_items=[{"amount": 250, "currency": "usd", "description": "Bolt"}]
    )
    assert [line["amount"] for line in shown["lines"]["data"]] == [500, 250]


def test_a_subscription_that_ends_has_no_next_invoice() -> None:
    stripe = Double()
    sub = subscribed(stripe, shop.customer(stripe))
    stripe.post(f"/v1/subscriptions/{sub['id']}", cancel_at_period_end="true")
    refused = stripe.refusal("POST", "/v1/invoices/create_preview", subscription=sub["id"])
    assert shop.parts(refused, "status", "code") == (404, "invoice_upcoming_none")


@pytest.mark.parametrize("missing", ["schedule", "preview_mode", "customer_details"])
def test_what_a_preview_cannot_do_it_says(missing: str) -> None:
    assert Double().refusal("POST", "/v1/invoices/create_preview", **{missing: "next"})["status"] == 501


def test_a_renewal_is_foretold_as_many_days_before_as_the_account_says() -> None:
    stripe = Double(upcoming_days=7)
    buyer = shop.customer(stripe)
    sub = subscribed(stripe, buyer)
    stripe.wait("24d")
    (told,) = stripe.told("invoice.upcoming")
    assert shop.parts(told.object, "total", "status", "billing_reason") == (3000, "draft", "upcoming")
    assert len(stripe.get("/v1/invoices")["data"]) == 1
    stripe.wait("31d")
    assert len(stripe.told("invoice.upcoming")) == 2
    stripe.delete(f"/v1/subscriptions/{sub['id']}")
    stripe.wait("60d")
    assert len(stripe.told("invoice.upcoming")) == 2


def test_unless_the_account_says_so_nothing_is_foretold() -> None:
    stripe = Double()
    subscribed(stripe, shop.customer(stripe))
    stripe.wait("40d")
    assert not stripe.told("invoice.upcoming")
