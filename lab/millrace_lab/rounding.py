"""Rounding to whole minor units, exactly: fractions in, integers out, halves away from zero."""

from __future__ import annotations

from fractions import Fraction


def round_half_away(exact: Fraction) -> int:
    """Ties away from zero. Exact ties are unproven at Stripe; see facts/ledger.md §4."""
    magnitude = abs(exact.numerator) * 2 + exact.denominator
    whole = magnitude // (2 * exact.denominator)
    return whole if exact >= 0 else -whole
