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


def period_before(anchor: int, interval: str, count: int = 1) -> int:
    """The start of the natural period that ends at `anchor`: what a shorter first period is measured by."""
    match interval:
        case "day":
            return anchor - count * DAY
        case "week":
            return anchor - 7 * count * DAY
        case "month":
            return _months_after(anchor, anchor, -count)
        case "year":
            return _months_after(anchor, anchor, -12 * count)
    raise ValueError(f"no such interval: {interval}")


def period_around(anchor: int, at: int, interval: str, count: int = 1) -> tuple[int, int]:
    """The period of an anchor's cycle in which `at` lies: its start is not after `at`, its end is."""
    start = anchor
    while start > at:
        start = _one_back(anchor, start, interval, count)
    while (end := period_end(anchor, start, interval, count)) <= at:
        start = end
    return start, end


def _one_back(anchor: int, start: int, interval: str, count: int) -> int:
    """One period back, on the anchor's own day wherever the month has it."""
    if interval in ("day", "week"):
        return period_before(start, interval, count)
    return _months_after(anchor, start, -count if interval == "month" else -12 * count)


def day_of_month(at: int, day: int, *, month: int | None = None, clock: tuple[int, int, int]) -> int:
    """The first second after `at` with this day of the month (its last where it is shorter) and this time."""
    now = datetime.fromtimestamp(at, UTC)
    for later in range(14):
        whole = now.year * 12 + now.month - 1 + later
        year, number = whole // 12, whole % 12 + 1
        date = min(day, calendar.monthrange(year, number)[1])
        found = int(datetime(year, number, date, *clock, tzinfo=UTC).timestamp())
        if found > at and month in (None, number):
            return found
    raise ValueError(f"no such day: {day}")
