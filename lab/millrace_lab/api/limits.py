"""How often one may ask: so many requests a second over all, and so many of each operation.

Off unless the account's setting `limits` says otherwise: "documented", or {"account": 25, "operation": 25}.
Source: docs.stripe.com/rate-limits (100 a second live, 25 in a sandbox; 25 a second of each operation).
"""

from __future__ import annotations

from collections import deque

from millrace_lab.errors import Body, StripeError

SECOND = 1.0
DOCUMENTED = {False: {"account": 25, "operation": 25}, True: {"account": 100, "operation": 25}}
MESSAGE = (
    "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits."
)


class Limiter:
    """Counts over the last second. Time is an argument."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[float]] = {}

    def admit(self, route: str, at: float, limits: Body) -> None:
        """Raises StripeError 429; what was refused does not count."""
        for bucket, reason, most in (
            ("", "global-rate", limits["account"]),
            (route, "endpoint-rate", limits["operation"]),
        ):
            if len(self._within(bucket, at)) >= most:
                raise StripeError(
                    429, MESSAGE, code="rate_limit", headers={"Stripe-Rate-Limited-Reason": reason}
                )
        self._seen[""].append(at)
        self._seen[route].append(at)

    def _within(self, bucket: str, at: float) -> deque[float]:
        seen = self._seen.setdefault(bucket, deque())
        while seen and seen[0] <= at - SECOND:
            seen.popleft()
        return seen


def limits_of(settings: Body, livemode: bool) -> Body | None:
    """What the setting says, or None where nobody is held to anything."""
    given: Body | str | None = settings["limits"]
    return DOCUMENTED[livemode] if isinstance(given, str) else given
