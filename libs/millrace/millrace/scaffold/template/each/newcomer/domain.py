"""When a first letter goes out: on the third day, and never on a weekend.

Nothing here awaits, reads a clock or draws a random number: time arrives with the event.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

DAYS = 3
SATURDAY, MONDAY = 5, 7


def letter_on(created: datetime) -> date:
    """The day of a customer's first letter, in UTC."""
    day = created.date() + timedelta(days=DAYS)
    weekday = day.weekday()
    return day if weekday < SATURDAY else day + timedelta(days=MONDAY - weekday)
