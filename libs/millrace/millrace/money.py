"""Money is a whole number of minor units and a currency; nothing here ever divides.

The exponents are Stripe's, not ISO 4217's: MGA is zero-decimal and ISK is sent as if it had two decimals.
Source: docs.stripe.com/currencies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ZERO_DECIMAL = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
CURRENCY = re.compile(r"[a-z]{3}")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in the minor unit of its currency, which is three lower-case letters as Stripe writes it."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError(f"amount_minor must be an int, not {type(self.amount_minor).__name__}")
        if not CURRENCY.fullmatch(self.currency):
            raise ValueError("currency must be three lower-case letters, as in 'eur'")

    def __add__(self, other: Money) -> Money:
        return Money(self.amount_minor + self._same(other).amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount_minor - self._same(other).amount_minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount_minor < self._same(other).amount_minor

    def __le__(self, other: Money) -> bool:
        return self.amount_minor <= self._same(other).amount_minor

    def __str__(self) -> str:
        return f"{decimal(self.amount_minor, self.currency)} {self.currency.upper()}"

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other


def exponent(currency: str) -> int:
    """How many decimals the currency's major unit has at Stripe."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def decimal(amount_minor: int, currency: str) -> str:
    """The amount as people write it, exact: 123456 usd is '1,234.56'."""
    places = exponent(currency)
    whole, rest = divmod(abs(amount_minor), 10**places)
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{whole:,}" + (f".{rest:0{places}d}" if places else "")


def allocate(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Split a total by weights. The parts add up exactly: their running sum is what is rounded down."""
    if not weights or min(weights) < 0 or sum(weights) == 0:
        raise ValueError("weights must be non-negative and not all zero")
    whole, sign = sum(weights), -1 if total_minor < 0 else 1
    marks = [abs(total_minor) * upto // whole for upto in _running(weights)]
    return [sign * (mark - before) for before, mark in zip([0, *marks], marks, strict=False)]


def _running(weights: Iterable[int]) -> Iterable[int]:
    upto = 0
    for weight in weights:
        upto += weight
        yield upto
