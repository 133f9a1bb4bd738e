"""What a quantity of a price costs: flat, by tiers, by packages; each charge rounded once.

Source: docs.stripe.com/products-prices/pricing-models (per-seat, package, graduated and volume pricing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from millrace_lab.catalog.currencies import grain
from millrace_lab.errors import Body
from millrace_lab.rounding import round_half_away


@dataclass(frozen=True, slots=True)
class Charge:
    """One line's worth of money.

    `amount` in minor units. `quantity` is what was bought, packages where the price sells packages; 0 for the
    flat amount of a tier, which has no amount per unit. `tier` counts from 1.
    """

    amount: int
    quantity: int | Fraction
    unit_amount_decimal: str | None
    tier: int | None = None


def charges(price: Body, quantity: int | Fraction) -> list[Charge]:
    """What a quantity costs, tiers one by one. A price in another currency: first `prices.in_currency`."""
    bought, to = _packages(price, Fraction(quantity)), grain(price["currency"])
    if price["billing_scheme"] == "per_unit":
        return [_per_unit(price["unit_amount_decimal"], bought, to)]
    if price["tiers_mode"] == "volume":
        return _volume(price["_tiers"], bought, to)
    return _graduated(price["_tiers"], bought, to)


def total(price: Body, quantity: int | Fraction) -> int:
    """What a quantity costs altogether."""
    return sum(charge.amount for charge in charges(price, quantity))


def _packages(price: Body, quantity: Fraction) -> Fraction:
    if not (transform := price["transform_quantity"]):
        return quantity
    packages = quantity / transform["divide_by"]
    return Fraction(-(-packages // 1) if transform["round"] == "up" else packages // 1)


def _per_unit(unit: str, quantity: Fraction, to: int, tier: int | None = None) -> Charge:
    return Charge(round_half_away(Fraction(unit) * quantity, to), _whole(quantity), unit, tier)


def _volume(tiers: list[Body], quantity: Fraction, to: int) -> list[Charge]:
    """Every unit at the rate of the tier that the whole quantity falls into."""
    for number, tier in enumerate(tiers, 1):
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            return list(_of_tier(number, tier, quantity, to))
    raise AssertionError("the last tier has no end")


def _graduated(tiers: list[Body], quantity: Fraction, to: int) -> list[Charge]:
    """Each tier's units at its own rate. The first tier's flat amount is due even for nothing."""
    found: list[Charge] = []
    start = Fraction(0)
    for number, tier in enumerate(tiers, 1):
        if number > 1 and quantity <= start:
            break
        end = quantity if tier["up_to"] is None else min(quantity, Fraction(tier["up_to"]))
        found += _of_tier(number, tier, end - start, to)
        start = end if tier["up_to"] is None else Fraction(tier["up_to"])
    return found


def _of_tier(number: int, tier: Body, quantity: Fraction, to: int) -> Iterator[Charge]:
    if tier["unit_amount_decimal"] is not None:
        yield _per_unit(tier["unit_amount_decimal"], quantity, to, number)
    if tier["flat_amount_decimal"] is not None:
        flat = round_half_away(Fraction(tier["flat_amount_decimal"]), to)
        yield Charge(flat, 0, None, number)


def _whole(quantity: Fraction) -> int | Fraction:
    return quantity.numerator if quantity.denominator == 1 else quantity
