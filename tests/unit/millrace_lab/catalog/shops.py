"""What the stories of the catalog need again and again."""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step
from tests.support.double import Double

Body = dict[str, Any]


def coupon(stripe: Double, **given: Any) -> str:
    made = stripe.post("/v1/coupons", **({"percent_off": "25", "duration": "forever"} | given))
    return str(made["id"])


def promotion_code(stripe: Double, code: str = "WELCOME", **given: Any) -> str:
    promotion = {"type": "coupon", "coupon": given.pop("coupon", None) or coupon(stripe)}
    made = stripe.post("/v1/promotion_codes", code=code, promotion=promotion, **given)
    return str(made["id"])


def customer(stripe: Double, **given: Any) -> str:
    return str(stripe.post("/v1/customers", **({"name": "Ada"} | given))["id"])


def step(stripe: Double) -> Step:
    return stripe.account.step()
