"""Prorations and percentages, exact: integers in, integers out, rounded once per line.

Source: docs.stripe.com/billing/subscriptions/prorations. Stripe prorates to the second and rounds to
the nearest minor unit. How it rounds an exact half is not published; here a half goes away from zero.
"""

from __future__ import annotations


def round_half_away(numerator: int, denominator: int) -> int:
    """The nearest integer to a fraction with a positive denominator; halves go away from zero."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude


def prorated(unit_amount: int, quantity: int, at: int, period_start: int, period_end: int) -> int:
    """What the rest of a period, from `at` to its end, costs."""
    return round_half_away(unit_amount * quantity * (period_end - at), period_end - period_start)


def percent_of(amount: int, percent: int) -> int:
    return round_half_away(amount * percent, 100)


def tax_within(gross: int, percent: int) -> int:
    """The tax that an inclusive amount already contains."""
    return round_half_away(gross * percent, 100 + percent)
