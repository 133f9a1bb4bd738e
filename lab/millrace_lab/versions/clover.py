"""What 2025-09-30.clover changed. Source: docs.stripe.com/changelog/clover."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Find = Callable[[str], Body | None]


def discount(body: Body, find: Find) -> Body:
    """The whole coupon, where now `source` names it."""
    old = {key: value for key, value in body.items() if key != "source"}
    return {**old, "coupon": body.get("_coupon") or find(body["source"]["coupon"])}


def promotion_code(body: Body, find: Find) -> Body:
    """The whole coupon, where now `promotion` names it."""
    old = {key: value for key, value in body.items() if key != "promotion"}
    return {**old, "coupon": find(body["promotion"]["coupon"])}


def credit_note(body: Body, _: Find) -> Body:
    """A note of both kinds had no type of its own: it was one after the payment."""
    return {**body, "type": "post_payment" if body["type"] == "mixed" else body["type"]}
