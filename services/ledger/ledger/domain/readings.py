"""Small readings that several postings share: a line's net amount, its period, the date of a fact."""

from __future__ import annotations

import re
from datetime import datetime

from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import (
    Object,
    at,
    credits_of,
    dig,
    discounts_of,
    taxes_of,
    text,
    transition,
    whole,
)

CODE = re.compile("[a-z]{3}")
LATEST = 253_402_300_799  # the last second that a timestamp has a year for


def currency_of(obj: Object) -> str:
    """The currency of an object's amounts. Raises Poison when it is not a code."""
    found = text(obj, "currency")
    if not CODE.fullmatch(found):
        raise Poison(f"{obj.get('object', 'object')}.currency is not a currency")
    return found


def whole_or_zero(obj: Object, path: str) -> int:
    """The integer at a dotted path, 0 where there is nothing. Raises Poison for anything else."""
    return 0 if dig(obj, path) is None else whole(obj, path)


def when(obj: Object, name: str) -> datetime:
    """The instant in a field of seconds. Raises Poison."""
    return _instant(whole(obj, name))


def _instant(seconds: int) -> datetime:
    if not 0 <= seconds <= LATEST:
        raise Poison(f"{seconds} is not a time in seconds")
    return at(seconds)


def moment(obj: Object, event: Event, name: str) -> datetime:
    """When a transition happened, by the object itself; the event's own time only where the object is silent.

    Two events that tell one fact may be a second apart; the object says the same in both.
    """
    seconds = transition(obj, name)
    return event.time if seconds is None else _instant(seconds)


def net_of(line: Object) -> int:
    """What a line earns: its amount without discounts, prepaid credits and the tax inside it."""
    inside = sum(amount for amount, inclusive in taxes_of(line) if inclusive)
    return whole(line, "amount") - discounts_of(line) - credits_of(line) - inside


def period_of(line: Object) -> tuple[datetime | None, datetime | None]:
    """The period that a line is earned over; nothing when it is earned at once. Raises Poison."""
    start, end = dig(line, "period.start"), dig(line, "period.end")
    if type(start) is not int or type(end) is not int:
        raise Poison("line_item.period is missing")
    return (_instant(start), _instant(end)) if start < end else (None, None)
