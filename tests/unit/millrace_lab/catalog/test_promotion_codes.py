"""Promotion codes: who may redeem them, until when, how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millrace_lab.catalog import discounts, promotion_codes
from millrace_lab.catalog.asking import DiscountGiven
from millrace_lab.errors import StripeError
from tests.support.double import OPENS, Double
from tests.unit.millrace_lab.catalog.shops import coupon, customer, promotion_code, step


def redeem(stripe: Double, code: str, by: str) -> dict[str, Any]:
    doing = step(stripe)
    (discount,) = discounts.attach(
        doing, [DiscountGiven(promotion_code=code)], customer=by, subscription="sub_1"
    )
    doing.commit()
    return discount


def test_a_code_is_redeemed_into_a_discount_of_its_coupon() -> None:
    stripe = Double()
    code, ada = promotion_code(stripe), customer(stripe)
    discount = redeem(stripe, code, ada)
    kept = stripe.get(f"/v1/promotion_codes/{code}", expand=["promotion.coupon"])
    assert (discount["promotion_code"], discount["source"]["coupon"]) == (
        code,
        kept["promotion"]["coupon"]["id"],
    )
    assert (kept["times_redeemed"], kept["promotion"]["coupon"]["times_redeemed"]) == (1, 1)


def test_a_code_ends_with_its_redemptions() -> None:
    stripe = Double()
    code, ada = promotion_code(stripe, max_redemptions="1"), customer(stripe)
    redeem(stripe, code, ada)
    assert not stripe.get(f"/v1/promotion_codes/{code}")["active"]
    with pytest.raises(StripeError, match="expired or is inactive"):
        redeem(stripe, code, ada)
    assert (
        "cannot be activated"
        in stripe.refusal("POST", f"/v1/promotion_codes/{code}", active="true")["message"]
    )


def test_a_code_ends_with_its_time() -> None:
    stripe = Double()
    code = promotion_code(stripe, expires_at=str(OPENS + 3600))
    stripe.wait("1h")
    assert not stripe.get(f"/v1/promotion_codes/{code}")["active"]


ENDS: dict[str, Callable[[Double, str], Any]] = {
    "its last redemption": lambda stripe, coupon: redeem(
        stripe, promotion_code(stripe, "OTHER", coupon=coupon), customer(stripe)
    ),
    "its time": lambda stripe, _: stripe.wait("1h"),
    "its deletion": lambda stripe, coupon: stripe.delete(f"/v1/coupons/{coupon}"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_code_ends_with_its_coupon(end: str) -> None:
    stripe = Double()
    ours = coupon(stripe, max_redemptions="1", redeem_by=str(OPENS + 3600))
    code = promotion_code(stripe, coupon=ours)
    ENDS[end](stripe, ours)
    assert not stripe.get(f"/v1/promotion_codes/{code}")["active"]


def test_a_code_of_one_customer_is_no_other_ones() -> None:
    stripe = Double()
    ada, bob = customer(stripe), customer(stripe, name="Bob")
    code = promotion_code(stripe, customer=ada)
    with pytest.raises(StripeError, match="restricted to another customer"):
        redeem(stripe, code, bob)
    assert redeem(stripe, code, ada)["customer"] == ada


def test_a_code_for_first_purchases_is_refused_to_who_has_paid_before() -> None:
    stripe = Double()
    ada, code = customer(stripe), promotion_code(stripe, restrictions={"first_time_transaction": "true"})
    redeem(stripe, code, ada)
    doing = step(stripe)
    doing.add({"id": "in_1", "object": "invoice", "status": "paid"}, ada)
    doing.commit()
    with pytest.raises(StripeError, match="prior transactions"):
        redeem(stripe, code, ada)


@pytest.mark.parametrize(("currency", "least"), [("usd", 1000), ("eur", 900), ("gbp", 0)])
def test_the_least_that_an_invoice_must_come_to(currency: str, least: int) -> None:
    restrictions = {
        "minimum_amount": "1000",
        "minimum_amount_currency": "usd",
        "currency_options": {"eur": {"minimum_amount": "900"}},
    }
    stripe = Double()
    kept = stripe.account.objects[promotion_code(stripe, restrictions=restrictions)]
    assert promotion_codes.minimum_of(kept, currency) == least


def test_a_word_is_there_once_among_active_codes() -> None:
    stripe = Double()
    first = promotion_code(stripe, "Spring")
    again = {"code": "SPRING", "promotion": {"type": "coupon", "coupon": coupon(stripe)}}
    assert stripe.refusal("POST", "/v1/promotion_codes", **again)["code"] == "resource_already_exists"
    stripe.post(f"/v1/promotion_codes/{first}", active="false")
    second = stripe.post("/v1/promotion_codes", **again)["id"]
    assert [
        each["id"] for each in stripe.get("/v1/promotion_codes", code="spring", active="true")["data"]
    ] == [second]
    assert stripe.refusal("POST", f"/v1/promotion_codes/{first}", active="true")["param"] == "code"


def test_an_invalid_coupon_gets_no_code_and_a_word_has_no_blanks() -> None:
    stripe = Double()
    spent = coupon(stripe, redeem_by=str(OPENS + 60))
    stripe.wait("60s")
    of_spent = {"type": "coupon", "coupon": spent}
    assert stripe.refusal("POST", "/v1/promotion_codes", promotion=of_spent)["param"] == "promotion[coupon]"
    of_valid = {"type": "coupon", "coupon": coupon(stripe)}
    assert (
        stripe.refusal("POST", "/v1/promotion_codes", code="TWO WORDS", promotion=of_valid)["param"] == "code"
    )


def test_a_code_without_a_word_is_given_one_and_lists_under_its_coupon() -> None:
    stripe = Double()
    ours = coupon(stripe)
    made = stripe.post(
        "/v1/promotion_codes", promotion={"type": "coupon", "coupon": ours}, metadata={"a": "1"}
    )
    promotion_code(stripe, "OTHER")
    assert len(made["code"]) == 8
    assert [each["id"] for each in stripe.get("/v1/promotion_codes", coupon=ours)["data"]] == [made["id"]]
    stripe.post(f"/v1/promotion_codes/{made['id']}", metadata={"a": "2"})
    assert stripe.told("promotion_code.updated")[0].previous == {"metadata": {"a": "1"}}
