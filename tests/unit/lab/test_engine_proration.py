"""Prorations against the five lines that Stripe has published, and the rule for halves."""

from __future__ import annotations

from fractions import Fraction

import pytest

from lab.stripe.proration import percent_of, prorated, round_half_away, tax_within

# price, seconds left, seconds in the period, what Stripe's line says. Source: facts of Stripe's proration
# page and two public webhook bodies; credits are shown by their size.
PUBLISHED = [
    (1000, 445_540, 2_678_400, 166),
    (3252, 445_540, 2_678_400, 541),
    (2000, 2_573_558, 2_592_000, 1986),
    (2500, 2_573_558, 2_592_000, 2482),
    (1000, 881_112, 2_419_200, 364),
]


@pytest.mark.parametrize(("price", "left", "period", "line"), PUBLISHED)
def test_published_lines_come_out_to_the_unit(price: int, left: int, period: int, line: int) -> None:
    assert prorated(price, 1, at=period - left, period_start=0, period_end=period) == line


@pytest.mark.parametrize(("price", "left", "period", "line"), PUBLISHED)
def test_whole_days_would_not_have_matched(price: int, left: int, period: int, line: int) -> None:
    days_left = -(-left // 86_400)
    assert round(Fraction(price * days_left * 86_400, period)) != line


def test_rounding_is_once_per_line_not_once_per_seat() -> None:
    """Three seats at a third of a unit each make one unit, not none."""
    assert prorated(1, 3, at=2, period_start=0, period_end=3) == 1
    assert prorated(1, 1, at=2, period_start=0, period_end=3) == 0


@pytest.mark.parametrize(
    ("numerator", "denominator", "nearest"),
    [(5, 10, 1), (-5, 10, -1), (4, 10, 0), (-6, 10, -1), (15, 10, 2), (0, 7, 0), (-14, 7, -2)],
)
def test_halves_go_away_from_zero(numerator: int, denominator: int, nearest: int) -> None:
    assert round_half_away(numerator, denominator) == nearest


@pytest.mark.parametrize(
    ("amount", "percent", "on_top", "inside"),
    [(1900, 19, 361, 303), (-1900, 19, -361, -303), (2900, 10, 290, 264), (1, 19, 0, 0), (0, 19, 0, 0)],
)
def test_tax_on_top_and_tax_inside(amount: int, percent: int, on_top: int, inside: int) -> None:
    assert percent_of(amount, percent) == on_top
    assert tax_within(amount, percent) == inside
