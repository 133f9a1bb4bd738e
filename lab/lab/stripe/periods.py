"""Billing periods on the calendar: the anchor's day of the month, or the last day of a shorter month."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

MONTHS = {"month": 1, "year": 12}


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def months_after(anchor: int, months: int) -> int:
    start = moment(anchor)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_end(anchor: int, start: int, interval: str) -> int:
    """The first period end after `start`, counted from the anchor so that short months do not drift."""
    step = MONTHS[interval]
    months = step
    while months_after(anchor, months) <= start:
        months += step
    return months_after(anchor, months)
