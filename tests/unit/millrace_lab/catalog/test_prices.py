"""Prices: what a quantity costs, and what Stripe refuses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_lab.catalog import currencies, prices
from tests.support.double import Double
from tests.support.stripe_spec import problems

Body = dict[str, Any]
TEN_AT_5_THEN_3: list[Body] = [{"up_to": "10", "unit_amount": "500"}, {"up_to": "inf", "unit_amount": "300"}]
WITH_FLAT: list[Body] = [
    {"up_to": "5", "unit_amount": "500", "flat_amount": "1000"},
    {"up_to": "10", "unit_amount": "400", "flat_amount": "2000"},
    {"up_to": "inf", "unit_amount": "300", "flat_amount": "0"},
]
FREE_THEN_DECIMAL: list[Body] = [
    {"up_to": "1000", "unit_amount": "0"},
    {"up_to": "inf", "unit_amount_decimal": "0.05"},
]


def price_of(stripe: Double, **given: Any) -> Body:
    """A price as it is kept, of a product of its own."""
    made = stripe.post("/v1/prices", **({"currency": "usd", "product_data": {"name": "Team"}} | given))
    return stripe.account.objects[made["id"]]


def tiered(mode: str, tiers: list[Body]) -> Body:
    return {"billing_scheme": "tiered", "tiers_mode": mode, "tiers": tiers}


COSTS = [
    # what is sold                                        quantity   (amount, quantity, per unit) of each line
    ({"unit_amount": "1250"}, 3, [(3750, 3, "1250")]),
    ({"unit_amount": "1250"}, 0, [(0, 0, "1250")]),
    ({"unit_amount_decimal": "0.000000000001"}, 10**12, [(1, 10**12, "0.000000000001")]),
    ({"unit_amount_decimal": "0.5"}, 3, [(2, 3, "0.5")]),  # 1.5 rounds away from zero
    ({"unit_amount_decimal": "12.340"}, 100, [(1234, 100, "12.34")]),
    (
        {"unit_amount": "700", "transform_quantity": {"divide_by": "10", "round": "up"}},
        21,
        [(2100, 3, "700")],
    ),
    (
        {"unit_amount": "700", "transform_quantity": {"divide_by": "10", "round": "down"}},
        29,
        [(1400, 2, "700")],
    ),
    (tiered("graduated", TEN_AT_5_THEN_3), 10, [(5000, 10, "500")]),
    (tiered("graduated", TEN_AT_5_THEN_3), 12, [(5000, 10, "500"), (600, 2, "300")]),
    (tiered("volume", TEN_AT_5_THEN_3), 10, [(5000, 10, "500")]),
    (tiered("volume", TEN_AT_5_THEN_3), 12, [(3600, 12, "300")]),
    (tiered("volume", WITH_FLAT), 7, [(2800, 7, "400"), (2000, 0, None)]),
    (
        tiered("graduated", WITH_FLAT),
        12,
        [(2500, 5, "500"), (1000, 0, None), (2000, 5, "400"), (2000, 0, None), (600, 2, "300"), (0, 0, None)],
    ),
    (tiered("graduated", WITH_FLAT), 0, [(0, 0, "500"), (1000, 0, None)]),
    (tiered("graduated", FREE_THEN_DECIMAL), 1500, [(0, 1000, "0"), (25, 500, "0.05")]),
    (
        tiered("graduated", FREE_THEN_DECIMAL),
        Fraction(2001, 2),
        [(0, 1000, "0"), (0, Fraction(1, 2), "0.05")],
    ),
]


@pytest.mark.parametrize(("sold", "quantity", "lines"), COSTS)
def test_what_a_quantity_costs(sold: Body, quantity: int, lines: list[tuple[int, int, str | None]]) -> None:
    price = price_of(Double(), **sold)
    found = prices.charges(price, quantity)
    assert [(charge.amount, charge.quantity, charge.unit_amount_decimal) for charge in found] == lines
    assert prices.total(price, quantity) == sum(amount for amount, _, _ in lines)


@given(
    bounds=st.lists(st.integers(1, 500), min_size=1, max_size=4, unique=True).map(sorted),
    unit=st.integers(0, 900),
    quantity=st.integers(0, 3000),
)
def test_tiers_of_one_amount_cost_what_a_flat_price_costs(
    bounds: list[int], unit: int, quantity: int
) -> None:
    tiers = [_tier(bound, unit) for bound in [*bounds, None]]
    plain = {"billing_scheme": "tiered", "currency": "usd", "transform_quantity": None}
    for mode in ("graduated", "volume"):
        price = plain | {"tiers_mode": mode, "_tiers": tiers}
        assert prices.total(price, quantity) == unit * quantity
        assert sum(charge.quantity for charge in prices.charges(price, quantity)) == quantity


def _tier(up_to: int | None, unit: int) -> Body:
    return {"up_to": up_to, "unit_amount_decimal": str(unit), "flat_amount_decimal": None}


def test_an_amount_is_shown_whole_where_it_is_whole() -> None:
    stripe = Double()
    shown = [price_of(stripe, unit_amount_decimal=text) for text in ("1900", "1900.0", "0.25")]
    assert [(price["unit_amount"], price["unit_amount_decimal"]) for price in shown] == [
        (1900, "1900"),
        (1900, "1900"),
        (None, "0.25"),
    ]


REFUSED = [
    ({"unit_amount": "1", "unit_amount_decimal": "1"}, "unit_amount_decimal"),
    ({}, "unit_amount"),
    ({"unit_amount": "-5"}, "unit_amount"),
    ({"unit_amount_decimal": "0.0000000000001"}, "unit_amount_decimal"),
    ({"unit_amount_decimal": "1/3"}, "unit_amount_decimal"),
    ({"unit_amount": "1", "product": "prod_x"}, "product_data"),
    ({"unit_amount": "1", "currency": "xxx"}, "currency"),
    ({"unit_amount": "1005", "currency": "kwd"}, "unit_amount"),
    ({"unit_amount": "150", "currency": "isk"}, "unit_amount"),
    ({"unit_amount": "1", "tiers": TEN_AT_5_THEN_3}, "tiers"),
    ({"billing_scheme": "tiered", "tiers": TEN_AT_5_THEN_3}, "tiers_mode"),
    (tiered("volume", []), "tiers"),
    (tiered("volume", TEN_AT_5_THEN_3[:1]), "tiers"),
    (tiered("volume", [TEN_AT_5_THEN_3[0], *TEN_AT_5_THEN_3]), "tiers"),
    (tiered("volume", [{"up_to": "inf"}]), "tiers"),
    ({"unit_amount": "1", "recurring": {"interval": "month", "usage_type": "metered"}}, "recurring[meter]"),
    (
        {"unit_amount": "1", "recurring": {"interval": "month", "interval_count": "37"}},
        "recurring[interval_count]",
    ),
    ({"unit_amount": "1", "recurring": {"interval": "hour"}}, "recurring[interval]"),
]


@pytest.mark.parametrize(("sold", "param"), REFUSED)
def test_what_is_no_price_is_refused_by_its_parameter(sold: Body, param: str) -> None:
    stripe = Double()
    refused = stripe.refusal(
        "POST", "/v1/prices", **({"currency": "usd", "product_data": {"name": "Team"}} | sold)
    )
    assert (refused["status"], refused["param"]) == (400, param)
    assert stripe.types() == []


def test_a_lookup_key_moves_only_where_that_is_asked_for() -> None:
    stripe = Double()
    old = price_of(stripe, unit_amount="1900", lookup_key="team")
    new = {"currency": "usd", "product": old["product"], "unit_amount": "2400", "lookup_key": "team"}
    assert stripe.refusal("POST", "/v1/prices", **new)["code"] == "resource_already_exists"
    seen = stripe.mark()
    made = stripe.post("/v1/prices", **new, transfer_lookup_key="true")
    assert [price["id"] for price in stripe.get("/v1/prices", lookup_keys=["team"])["data"]] == [made["id"]]
    assert stripe.types(seen) == ["price.updated", "price.created"]
    assert stripe.told("price.updated")[0].previous == {"lookup_key": "team"}


def test_a_price_may_be_sold_in_several_currencies() -> None:
    options = {"eur": {"unit_amount": "1700", "tax_behavior": "inclusive"}, "jpy": {"unit_amount": "2900"}}
    stripe = Double()
    price = price_of(stripe, unit_amount="1900", currency_options=options)
    in_yen = prices.in_currency(price, "jpy")
    assert (prices.total(in_yen, 2), in_yen["currency"]) == (5800, "jpy")
    assert prices.in_currency(price, "eur")["tax_behavior"] == "inclusive"
    shown = stripe.get(f"/v1/prices/{price['id']}", expand=["currency_options"])["currency_options"]
    assert {currency: option["unit_amount"] for currency, option in shown.items()} == {
        "usd": 1900,
        "eur": 1700,
        "jpy": 2900,
    }
    with pytest.raises(Exception, match="only supports `usd`"):
        prices.in_currency(price, "gbp")


def test_tiers_are_shown_where_they_are_expanded() -> None:
    stripe = Double()
    price = price_of(stripe, **tiered("graduated", TEN_AT_5_THEN_3))["id"]
    assert "tiers" not in stripe.get(f"/v1/prices/{price}")
    assert [t["up_to"] for t in stripe.get(f"/v1/prices/{price}", expand=["tiers"])["tiers"]] == [10, None]
    flat = price_of(stripe, unit_amount="1")["id"]
    assert stripe.refusal("GET", f"/v1/prices/{flat}", expand=["tiers"])["param"] == "expand"


def test_a_metered_price_names_its_meter() -> None:
    stripe = Double()
    meter = stripe.post(
        "/v1/billing/meters",
        display_name="Requests",
        event_name="requests",
        default_aggregation={"formula": "sum"},
    )["id"]
    metered = {"interval": "month", "usage_type": "metered", "meter": meter}
    price = price_of(stripe, unit_amount_decimal="0.05", recurring=metered)
    assert price["recurring"]["meter"] == meter
    missing = stripe.refusal(
        "POST",
        "/v1/prices",
        currency="usd",
        product=price["product"],
        unit_amount="1",
        recurring={**metered, "meter": "mtr_none"},
    )
    assert (missing["code"], missing["param"]) == ("resource_missing", "recurring[meter]")


def test_the_legacy_plan_of_a_price_fits_stripes_description() -> None:
    price = price_of(Double(), unit_amount="1900", recurring={"interval": "year"}, nickname="Yearly")
    plan = prices.plan_of(price)
    assert problems(plan) == []
    assert (plan["id"], plan["amount"], plan["interval"], plan["nickname"]) == (
        price["id"],
        1900,
        "year",
        "Yearly",
    )


@pytest.mark.parametrize(
    ("chosen", "refused"),
    [("price_team", None), ("team", "begins with price_"), ("price_old", "already exists")],
)
def test_a_catalog_may_name_its_prices(chosen: str, refused: str | None) -> None:
    stripe = Double()
    price_of(stripe, unit_amount="1", metadata={"lab_id": "price_old"})
    wanted = {"currency": "usd", "product_data": {"name": "Team"}, "unit_amount": "2"}
    if refused is None:
        assert stripe.post("/v1/prices", **wanted, metadata={"lab_id": chosen})["id"] == chosen
    else:
        error = stripe.refusal("POST", "/v1/prices", **wanted, metadata={"lab_id": chosen})
        assert refused in error["message"]
        assert error["param"] == "metadata[lab_id]"


def test_an_update_changes_what_may_change_and_tells_what_it_was() -> None:
    stripe = Double()
    price = price_of(stripe, unit_amount="1900", metadata={"a": "1"})["id"]
    stripe.post(
        f"/v1/prices/{price}", active="false", nickname="Old", metadata={"b": "2"}, tax_behavior="inclusive"
    )
    assert stripe.told("price.updated")[0].previous == {
        "active": True,
        "metadata": {"a": "1"},
        "nickname": None,
        "tax_behavior": "unspecified",
    }
    again = stripe.refusal("POST", f"/v1/prices/{price}", tax_behavior="exclusive")
    assert again["param"] == "tax_behavior"
    assert stripe.refusal("POST", f"/v1/prices/{price}", unit_amount="5")["code"] == "parameter_unknown"


@pytest.mark.parametrize(
    ("filters", "amounts"),
    [
        ({}, [3, 2, 1]),
        ({"type": "recurring"}, [3, 2]),
        ({"currency": "eur"}, [2]),
        ({"active": "false"}, [3]),
        ({"recurring": {"interval": "year"}}, [3]),
        ({"recurring": {"usage_type": "metered"}}, []),
        ({"product": "b"}, [2]),
    ],
)
def test_filters_of_the_list(filters: Body, amounts: list[int]) -> None:
    stripe = Double()
    for name in ("a", "b"):
        stripe.post("/v1/products", id=name, name=name)
    stripe.post("/v1/prices", product="a", currency="usd", unit_amount="1")
    stripe.post("/v1/prices", product="b", currency="eur", unit_amount="2", recurring={"interval": "month"})
    yearly = {"interval": "year"}
    stripe.post("/v1/prices", product="a", currency="usd", unit_amount="3", recurring=yearly, active="false")
    assert [price["unit_amount"] for price in stripe.get("/v1/prices", **filters)["data"]] == amounts


@pytest.mark.parametrize(("currency", "places"), [("jpy", 0), ("mga", 0), ("usd", 2), ("isk", 2), ("kwd", 3)])
def test_decimals_are_stripes_not_those_of_iso(currency: str, places: int) -> None:
    assert currencies.decimals(currency) == places
