"""What the catalog can be asked, what time does in it, and what it puts where something is expanded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.account import Step
from millrace_lab.catalog import coupons, discounts, features, prices, products, promotion_codes, tax_rates
from millrace_lab.errors import Body
from millrace_lab.operations import DueAction, Operation

OPERATIONS: tuple[Operation, ...] = (
    *products.OPERATIONS,
    *prices.OPERATIONS,
    *features.OPERATIONS,
    *coupons.OPERATIONS,
    *promotion_codes.OPERATIONS,
    *discounts.OPERATIONS,
    *tax_rates.OPERATIONS,
)
DUE: dict[str, DueAction] = {**coupons.DUE, **promotion_codes.DUE, **discounts.DUE}
INCLUDED: dict[tuple[str, str], Callable[[Step, Body], Any]] = {
    ("price", "tiers"): prices.tiers_of,
    ("price", "currency_options"): prices.currency_options_of,
    ("coupon", "applies_to"): coupons.applies_to_of,
    ("coupon", "currency_options"): coupons.currency_options_of,
}
