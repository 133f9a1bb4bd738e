"""Discounts: how much they take off each line, and when they end."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_lab.account import Step
from millrace_lab.catalog import discounts
from millrace_lab.catalog.asking import DiscountGiven
from millrace_lab.errors import StripeError
from tests.support.double import OPENS, Double
from tests.unit.millrace_lab.catalog.shops import coupon, customer, step

Body = dict[str, Any]
AMOUNT = {"percent_off": "", "currency": "usd"}


def attached(stripe: Double, doing: Step, *coupons: Body) -> list[Body]:
    """Discounts of coupons that take off so much, on one subscription."""
    given = [DiscountGiven(coupon=coupon(stripe, **each)) for each in coupons]
    return discounts.attach(doing, given, customer=None, subscription="sub_1")


def off(amount: int) -> Body:
    return {"percent_off": None, "amount_off": str(amount), "currency": "usd"}


def percent(share: str) -> Body:
    return {"percent_off": share}


SPLITS = [
    # coupons                          amounts              taken off each, by each coupon
    ([off(500)], [1000, 2000], [[166], [334]]),  # docs/lab/behaviours.md
    ([off(500)], [2000, 1000], [[333], [167]]),
    ([off(5000)], [1000, 2000], [[1000], [2000]]),
    ([off(500)], [1000, -1000], [[500], []]),
    ([off(100)], [0, 33, 33, 34], [[], [33], [33], [34]]),
    ([off(3)], [1, 1, 2], [[], [1], [2]]),  # the last has no room for all of the remainder
    ([percent("25")], [1000, 333], [[250], [83]]),
    ([percent("12.5")], [4], [[1]]),  # 0.5 rounds away from zero
    ([percent("100")], [999, 1], [[999], [1]]),
    ([percent("50"), off(100)], [1000, 1000], [[500, 50], [500, 50]]),
    ([off(100), percent("50")], [1000, 1000], [[50, 475], [50, 475]]),
    ([percent("100"), off(100)], [1000], [[1000]]),
    ([], [1000], [[]]),
]


@pytest.mark.parametrize(("coupons", "amounts", "taken"), SPLITS)
def test_what_discounts_take_off(coupons: list[Body], amounts: list[int], taken: list[list[int]]) -> None:
    stripe = Double()
    doing = step(stripe)
    found = discounts.split(doing, amounts, attached(stripe, doing, *coupons), "usd")
    assert [[amount for _, amount in each] for each in found] == taken


def test_a_coupon_takes_off_only_what_it_applies_to_and_only_in_its_currency() -> None:
    stripe = Double()
    for name in ("team", "solo"):
        stripe.post("/v1/products", id=name, name=name)
    doing = step(stripe)
    (for_team,) = attached(stripe, doing, {"percent_off": "10", "applies_to": {"products": ["team"]}})
    (in_dollars,) = attached(stripe, doing, off(500))
    products = ["team", "solo", None]
    assert discounts.split(doing, [100, 100, 100], [for_team], "usd", products) == [
        [(for_team["id"], 10)],
        [],
        [],
    ]
    assert discounts.split(doing, [1000], [in_dollars], "eur") == [[]]


@given(amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=8), share=st.fractions(0, 1))
def test_shares_add_up_within_what_is_there(amounts: list[int], share: Fraction) -> None:
    total = int(sum(amounts) * share)
    parts = discounts.shared(total, amounts)
    assert sum(parts) == total
    assert all(0 <= part <= amount for part, amount in zip(parts, amounts, strict=True))
    assert all(part >= total * amount // sum(amounts) for part, amount in zip(parts, amounts, strict=True))


@given(
    shares=st.lists(st.integers(1, 100), max_size=3),
    taken=st.lists(st.integers(1, 5000), max_size=3),
    amounts=st.lists(st.integers(-3000, 3000), max_size=6),
)
def test_nothing_is_ever_worth_less_than_nothing(
    shares: list[int], taken: list[int], amounts: list[int]
) -> None:
    stripe = Double()
    doing = step(stripe)
    found = attached(stripe, doing, *map(percent, map(str, shares)), *map(off, taken))
    for amount, each in zip(amounts, discounts.split(doing, amounts, found, "usd"), strict=True):
        assert all(part > 0 for _, part in each)
        assert sum(part for _, part in each) <= max(amount, 0)


REFUSED = [
    ({"coupon": "NONE"}, "resource_missing"),
    ({"promotion_code": "promo_none"}, "resource_missing"),
    ({"discount": "di_none"}, "resource_missing"),
    ({}, None),
    ({"coupon": "A", "promotion_code": "B"}, None),
]


@pytest.mark.parametrize(("named", "code"), REFUSED)
def test_what_cannot_be_redeemed_is_refused(named: dict[str, str], code: str | None) -> None:
    with pytest.raises(StripeError) as refused:
        discounts.attach(step(Double()), [DiscountGiven(**named)], customer=None, subscription="sub_1")
    assert refused.value.code == code


def test_an_expired_coupon_is_refused_but_its_discount_lives_on() -> None:
    stripe = Double()
    used = coupon(stripe, max_redemptions="1")
    doing = step(stripe)
    (discount,) = discounts.attach(doing, [DiscountGiven(coupon=used)], customer=None, subscription="sub_1")
    with pytest.raises(StripeError, match="Coupon expired") as refused:
        discounts.attach(doing, [DiscountGiven(coupon=used)], customer=None, subscription="sub_2")
    assert (refused.value.code, refused.value.status) == ("coupon_expired", 400)
    doing.commit()
    stripe.delete(f"/v1/coupons/{used}")
    assert discounts.split(step(stripe), [1000], [discount], "usd") == [[(discount["id"], 250)]]


def test_a_discount_that_is_named_stays_itself() -> None:
    stripe = Double()
    doing = step(stripe)
    (first,) = attached(stripe, doing, percent("10"))
    assert discounts.attach(doing, [DiscountGiven(discount=first["id"])], customer=None, invoice="in_1") == [
        first
    ]


def test_a_discount_of_an_invoice_is_told_by_the_invoice_alone() -> None:
    stripe = Double()
    doing = step(stripe)
    discounts.attach(doing, [DiscountGiven(coupon=coupon(stripe))], customer=None, invoice="in_1")
    discounts.attach(doing, [DiscountGiven(coupon=coupon(stripe))], customer=None, subscription="sub_1")
    doing.commit()
    assert stripe.types().count("customer.discount.created") == 1


DURATIONS = [
    # duration       months   end of the discount          remains after an invoice
    ("once", None, None, False),
    ("forever", None, None, True),
    ("repeating", "3", OPENS + 92 * 86400, True),  # 1 July to 1 October
]


@pytest.mark.parametrize(("duration", "months", "ends", "remains"), DURATIONS)
def test_how_long_a_discount_lasts(
    duration: str, months: str | None, ends: int | None, remains: bool
) -> None:
    stripe = Double()
    doing = step(stripe)
    (discount,) = attached(stripe, doing, {"duration": duration, "duration_in_months": months})
    assert discount["end"] == ends
    assert discounts.lasting(doing, [discount["id"]]) == ([discount["id"]] if remains else [])
    assert discounts.live(doing, [discount["id"]]) == [discount]
    if ends is not None:
        assert discounts.live(doing, [discount["id"]], at=ends) == []


def subscribed(stripe: Double, **given: Any) -> Body:
    """A discount on a subscription of nothing but a list of discounts."""
    doing = step(stripe)
    doing.add({"id": "sub_1", "object": "subscription", "discounts": []})
    (discount,) = discounts.attach(
        doing,
        [DiscountGiven(coupon=coupon(stripe, **given))],
        customer=customer(stripe),
        subscription="sub_1",
    )
    doing.change("sub_1", discounts=[discount["id"]])
    doing.commit()
    return discount


def test_a_repeating_discount_leaves_its_subscription_at_its_end() -> None:
    stripe = Double()
    discount = subscribed(stripe, duration="repeating", duration_in_months="1")
    stripe.wait("30d")
    assert stripe.account.objects["sub_1"]["discounts"] == [discount["id"]]
    stripe.wait("1d")
    assert stripe.account.objects["sub_1"]["discounts"] == []
    assert stripe.told("customer.discount.deleted")[0].created == discount["end"]


def test_the_discount_of_a_customer_can_be_taken_away() -> None:
    stripe = Double()
    ada = customer(stripe)
    assert stripe.refusal("DELETE", f"/v1/customers/{ada}/discount")["status"] == 404
    doing = step(stripe)
    (discount,) = discounts.attach(doing, [DiscountGiven(coupon=coupon(stripe))], customer=ada)
    doing.commit()
    assert stripe.get(f"/v1/customers/{ada}")["discount"]["id"] == discount["id"]
    assert stripe.delete(f"/v1/customers/{ada}/discount")["deleted"]
    assert stripe.get(f"/v1/customers/{ada}")["discount"] is None
    assert stripe.types()[-2:] == ["customer.discount.created", "customer.discount.deleted"]
