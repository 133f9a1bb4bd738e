"""Calendar arithmetic of billing: months of different lengths, and the anchor day that they keep."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

DAY = 86400


def period_end(anchor: int, start: int, interval: str, count: int = 1) -> int:
    """The end of the period that begins at `start` for a subscription anchored at `anchor`.

    A month keeps the anchor's day where the month has it, else its last day: 31 January, 28 February,
    31 March. Source: docs.stripe.com/billing/subscriptions/billing-cycle.
    """
    match interval:
        case "day":
            return start + count * DAY
        case "week":
            return start + 7 * count * DAY
        case "month":
            return _months_after(anchor, start, count)
        case "year":
            return _months_after(anchor, start, 12 * count)
    raise ValueError(f"no such interval: {interval}")


def _months_after(anchor: int, start: int, months: int) -> int:
    anchored, began = (datetime.fromtimestamp(at, UTC) for at in (anchor, start))
    whole = began.year * 12 + began.month - 1 + months
    day = min(anchored.day, calendar.monthrange(whole // 12, whole % 12 + 1)[1])
    clock = anchored - datetime(anchored.year, anchored.month, anchored.day, tzinfo=UTC)
    return int((datetime(whole // 12, whole % 12 + 1, day, tzinfo=UTC) + clock).timestamp())


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def iso(seconds: int) -> str:
    """A time of the second API: RFC 3339 in UTC with milliseconds."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
