"""Rounding to whole minor units, exactly: fractions in, integers out, halves away from zero."""

from __future__ import annotations

from fractions import Fraction


def round_half_away(exact: Fraction, to: int = 1) -> int:
    """The nearest multiple of `to`. Ties away from zero: they are unproven at Stripe; see docs/lab/behaviours.md."""
    denominator = exact.denominator * to
    magnitude = abs(exact.numerator) * 2 + denominator
    whole = magnitude // (2 * denominator) * to
    return whole if exact >= 0 else -whole
