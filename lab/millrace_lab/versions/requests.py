"""Parameters of an older version, in the words of the newest.

What an older version took and the double cannot translate answers 501 or 400, as in the newest version.
Source: docs/lab/behaviours.md, docs.stripe.com/changelog.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace_lab.versions.known import NEWEST
from millrace_lab.versions.table import BASIL, CLOVER, DAHLIA, ENDIVE

Body = dict[str, Any]
Change = Callable[[Body], Body]

CREATE_SUBSCRIPTION = "POST /v1/subscriptions"
UPDATE_SUBSCRIPTION = "POST /v1/subscriptions/{}"
RESUME_SUBSCRIPTION = "POST /v1/subscriptions/{}/resume"
UI_MODES = {"hosted": "hosted_page", "embedded": "embedded_page", "custom": "elements"}


def translated(route: str, params: Body, version: str) -> Body:
    """The parameters of a request, brought up to the newest version change by change, oldest first."""
    if version == NEWEST:
        return params
    shape = "/".join("{}" if part.startswith("{") else part for part in route.split("/"))
    for since, routes, change in REQUESTS:
        if since > version and shape in routes:
            params = change(params)
    return params


def _one_discount(params: Body) -> Body:
    """`coupon` and `promotion_code`, where now there is a list of discounts; empty took the discount away."""
    given = {key: params[key] for key in ("coupon", "promotion_code") if key in params}
    rest = {key: value for key, value in params.items() if key not in given}
    if not given:
        return params
    named = [{key: value} for key, value in given.items() if value]
    return {**rest, "discounts": named or ""}


def _classic(params: Body) -> Body:
    """Billing was classic unless asked otherwise."""
    return {"billing_mode": {"type": "classic"}, **params}


def _promoted_coupon(params: Body) -> Body:
    if "coupon" not in params:
        return params
    rest = {key: value for key, value in params.items() if key != "coupon"}
    return {**rest, "promotion": {"type": "coupon", "coupon": params["coupon"]}}


def _ui_mode(params: Body) -> Body:
    mode = params.get("ui_mode")
    return {**params, "ui_mode": UI_MODES.get(mode, mode)} if isinstance(mode, str) else params


def _anchor(params: Body) -> Body:
    anchor = params.get("billing_cycle_anchor")
    return {**params, "billing_cycle_anchor": {"type": anchor}} if isinstance(anchor, str) else params


REQUESTS: tuple[tuple[str, tuple[str, ...], Change], ...] = (
    # (version that brought the new spelling, routes, from the old to the new)
    (BASIL, (CREATE_SUBSCRIPTION, UPDATE_SUBSCRIPTION), _one_discount),
    (CLOVER, (CREATE_SUBSCRIPTION, "POST /v1/subscription_schedules"), _classic),
    (CLOVER, ("POST /v1/promotion_codes",), _promoted_coupon),
    (DAHLIA, ("POST /v1/checkout/sessions",), _ui_mode),
    (ENDIVE, (UPDATE_SUBSCRIPTION, RESUME_SUBSCRIPTION), _anchor),
)
