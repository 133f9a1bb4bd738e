"""Decimal amounts: strings with at most twelve places, in minor units; exact fractions inside.

Source: docs.stripe.com/api/prices/object#price_object-unit_amount_decimal.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator

WRITTEN = re.compile(r"\d{1,20}(\.\d{1,12})?")
PERCENT = re.compile(r"\d{1,3}(\.\d{1,4})?")


def _amount(value: Any) -> str:
    text = str(value)
    if not WRITTEN.fullmatch(text):
        raise ValueError(f"Invalid decimal: {text}; must have at most 12 decimal places")
    return plain(Fraction(text))


def _percent(value: Any) -> Decimal:
    text = str(value)
    if not PERCENT.fullmatch(text):
        raise ValueError(f"Invalid decimal: {text}")
    return Decimal(text)


def _signed(value: Any) -> str:
    text = str(value)
    return f"-{_amount(text[1:])}" if text.startswith("-") else _amount(text)


DecimalAmount = Annotated[str, BeforeValidator(_amount)]
SignedDecimalAmount = Annotated[str, BeforeValidator(_signed)]
Percent = Annotated[Decimal, BeforeValidator(_percent)]


def plain(amount: Fraction) -> str:
    """As Stripe writes it: no trailing zeros, no exponent."""
    scaled = amount.numerator * 10**12 // amount.denominator
    whole, places = divmod(scaled, 10**12)
    return f"{whole}.{places:012d}".rstrip("0").rstrip(".")


def shown_percent(percent: Decimal) -> int | float:
    """A percentage as the JSON number that Stripe shows; never calculated with."""
    return int(percent) if percent == percent.to_integral_value() else float(percent)


def exact(shown: int | float) -> Fraction:
    """The percentage that a shown number stands for."""
    return Fraction(str(shown))


def whole_or_none(amount: str) -> int | None:
    """`unit_amount` beside `unit_amount_decimal`: None where it is no whole number of minor units."""
    return int(amount) if "." not in amount else None
