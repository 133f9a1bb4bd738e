"""When a delivery that failed is tried again.

Stripe tries a live endpoint for up to three days, with exponential waits that it does not publish, and a
sandbox's three times over a few hours. Source: docs.stripe.com/webhooks#retries; the figures are our reading.
"""

from __future__ import annotations

from millrace_lab.account import HOUR, MINUTE

LIVE = (5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR)
SANDBOX = (10 * MINUTE, 2 * HOUR)
WAITS = {"live": LIVE, "sandbox": SANDBOX}


def next_try(waits: tuple[int, ...], attempt: int, at: int) -> int | None:
    """The second of the attempt after `attempt`, which failed at `at`; None when that was the last."""
    return at + waits[attempt - 1] if attempt <= len(waits) else None
