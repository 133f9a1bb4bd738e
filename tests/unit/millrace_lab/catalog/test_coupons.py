"""Coupons: what may be made, how long they are valid."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.catalog import discounts
from millrace_lab.catalog.asking import DiscountGiven
from tests.support.double import OPENS, Double
from tests.unit.millrace_lab.catalog.shops import coupon, customer, step

REFUSED = [
    ({}, "percent_off"),
    ({"percent_off": "10", "amount_off": "500", "currency": "usd"}, "percent_off"),
    ({"percent_off": "0"}, "percent_off"),
    ({"percent_off": "100.5"}, "percent_off"),
    ({"percent_off": "ten"}, "percent_off"),
    ({"amount_off": "500"}, "currency"),
    ({"amount_off": "0", "currency": "usd"}, "amount_off"),
    ({"percent_off": "10", "duration": "repeating"}, "duration_in_months"),
    ({"percent_off": "10", "duration": "once", "duration_in_months": "3"}, "duration_in_months"),
    ({"percent_off": "10", "redeem_by": str(OPENS)}, "redeem_by"),
    ({"percent_off": "10", "max_redemptions": "0"}, "max_redemptions"),
    ({"percent_off": "10", "applies_to": {"products": ["prod_none"]}}, "applies_to[products]"),
]


@pytest.mark.parametrize(("given", "param"), REFUSED)
def test_what_is_no_coupon_is_refused_by_its_parameter(given: dict[str, Any], param: str) -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/coupons", **given)["param"] == param
    assert stripe.types() == []


def test_a_percentage_is_the_number_it_was() -> None:
    stripe = Double()
    assert [
        stripe.post("/v1/coupons", percent_off=off)["percent_off"] for off in ("25", "33.3", "12.50")
    ] == [
        25,
        33.3,
        12.5,
    ]


def test_a_coupon_is_valid_until_it_was_redeemed_as_often_as_it_may_be() -> None:
    stripe = Double()
    id_ = coupon(stripe, max_redemptions="2")
    for times in (1, 2):
        doing = step(stripe)
        discounts.attach(doing, [DiscountGiven(coupon=id_)], customer=customer(stripe), subscription="sub_1")
        doing.commit()
        kept = stripe.get(f"/v1/coupons/{id_}")
        assert (kept["times_redeemed"], kept["valid"]) == (times, times < 2)


def test_a_coupon_is_valid_until_its_time_has_come() -> None:
    stripe = Double()
    id_ = coupon(stripe, redeem_by=str(OPENS + 86400))
    stripe.wait("23h")
    assert stripe.get(f"/v1/coupons/{id_}")["valid"]
    stripe.wait("1h")
    assert not stripe.get(f"/v1/coupons/{id_}")["valid"]
    assert stripe.types() == ["coupon.created"]


def test_what_a_coupon_applies_to_is_shown_where_it_is_expanded() -> None:
    stripe = Double()
    stripe.post("/v1/products", id="team", name="Team")
    id_ = coupon(stripe, applies_to={"products": ["team"]})
    shown = stripe.get(f"/v1/coupons/{id_}", expand=["applies_to"])
    assert shown["applies_to"] == {"products": ["team"]}
    everything = coupon(stripe)
    assert stripe.refusal("GET", f"/v1/coupons/{everything}", expand=["applies_to"])["param"] == "expand"


def test_an_amount_off_may_be_worth_something_in_other_currencies() -> None:
    stripe = Double()
    made = stripe.post(
        "/v1/coupons",
        amount_off="500",
        currency="usd",
        currency_options={"eur": {"amount_off": "450"}},
        expand=["currency_options"],
    )
    assert made["currency_options"] == {"usd": {"amount_off": 500}, "eur": {"amount_off": 450}}
    kept = stripe.account.objects[made["id"]]
    assert [discounts.amount_off(kept, currency) for currency in ("usd", "eur", "gbp")] == [500, 450, 0]
    more = {"jpy": {"amount_off": "700"}}
    stripe.post(f"/v1/coupons/{made['id']}", currency_options=more, name="Summer")
    assert discounts.amount_off(stripe.account.objects[made["id"]], "jpy") == 700
    assert stripe.told("coupon.updated")[0].previous == {"name": None}


def test_a_deleted_coupon_is_gone_and_its_id_is_free_again() -> None:
    stripe = Double()
    coupon(stripe, id="SUMMER")
    assert (
        stripe.refusal("POST", "/v1/coupons", id="SUMMER", percent_off="5")["code"]
        == "resource_already_exists"
    )
    assert stripe.delete("/v1/coupons/SUMMER")["deleted"]
    assert not stripe.told("coupon.deleted")[0].object["valid"]
    assert stripe.refusal("GET", "/v1/coupons/SUMMER")["message"] == "No such coupon: 'SUMMER'"
    coupon(stripe, id="SUMMER", percent_off="5")
    assert [each["percent_off"] for each in stripe.get("/v1/coupons")["data"]] == [5]
