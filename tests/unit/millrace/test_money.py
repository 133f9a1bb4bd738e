"""Money: whole minor units and a currency, and splits that lose nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.money import Money, allocate, decimal, exponent

WRITTEN = """
 currency  exponent  amount_minor   as people write it
 usd       2         123456         1,234.56
 usd       2         5              0.05
 usd       2         0              0.00
 eur       2         -7             -0.07
 jpy       0         123456         123,456
 mga       0         1              1
 isk       2         10000          100.00
 ugx       2         10000          100.00
 kwd       3         1234567        1,234.567
 kwd       3         -1             -0.001
"""
ROWS = [line.split() for line in WRITTEN.splitlines()[2:]]
AMOUNTS = st.integers(-(10**18), 10**18)
WEIGHTS = st.lists(st.integers(0, 10**12), min_size=1, max_size=50).filter(any)


@pytest.mark.parametrize(("currency", "places", "amount", "written"), ROWS)
def test_amounts_are_written_with_the_decimals_that_stripe_gives_the_currency(
    currency: str, places: str, amount: str, written: str
) -> None:
    assert exponent(currency) == int(places)
    assert decimal(int(amount), currency) == written
    assert str(Money(int(amount), currency)) == f"{written} {currency.upper()}"


@pytest.mark.parametrize("amount", [1.0, 0.1, True, "1", None, Decimal(1)])
def test_nothing_but_a_whole_number_is_an_amount(amount: Any) -> None:
    with pytest.raises(TypeError, match="amount_minor must be an int"):
        Money(amount, "eur")


@pytest.mark.parametrize("currency", ["EUR", "eu", "euro", "", "e r", "12a", "éur"])
def test_a_currency_is_three_lower_case_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="three lower-case letters"):
        Money(1, currency)


def test_money_of_one_currency_adds_subtracts_negates_and_compares() -> None:
    assert Money(5, "eur") + Money(7, "eur") == Money(12, "eur")
    assert Money(5, "eur") - Money(7, "eur") == Money(-2, "eur")
    assert -Money(5, "eur") == Money(-5, "eur")
    assert Money(5, "eur") < Money(7, "eur") <= Money(7, "eur")
    assert Money(7, "eur") > Money(5, "eur") >= Money(5, "eur")


@pytest.mark.parametrize(
    "mix", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a < b, lambda a, b: a >= b]
)
def test_two_currencies_do_not_mix(mix: Any) -> None:
    with pytest.raises(ValueError, match=r"(eur and usd|usd and eur) do not mix"):
        mix(Money(1, "eur"), Money(2, "usd"))


@given(AMOUNTS, WEIGHTS)
def test_a_split_adds_up_to_the_last_unit(total: int, weights: list[int]) -> None:
    parts = allocate(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)


@given(AMOUNTS, WEIGHTS)
def test_no_part_strays_a_whole_unit_from_its_share(total: int, weights: list[int]) -> None:
    whole = sum(weights)
    for part, weight in zip(allocate(total, weights), weights, strict=True):
        assert abs(part * whole - total * weight) < whole
        assert type(part) is int


@given(AMOUNTS, WEIGHTS)
def test_a_refund_splits_as_its_charge_did(total: int, weights: list[int]) -> None:
    assert allocate(-total, weights) == [-part for part in allocate(total, weights)]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1]])
def test_weights_must_weigh_something(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        allocate(100, weights)
