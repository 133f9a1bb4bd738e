"""Small readings that several postings share: a line's net amount, its period, the date of a fact."""

from __future__ import annotations

from datetime import datetime

from millrace.errors import Poison
from millrace.events import Event
from millrace.events.stripe import Object, at, credits_of, dig, discounts_of, taxes_of, transition, whole


def moment(obj: Object, event: Event, name: str) -> datetime:
    """When a transition happened, by the object itself; the event's own time only where the object is silent.

    Two events that tell one fact may be a second apart; the object says the same in both.
    """
    seconds = transition(obj, name)
    return event.time if seconds is None else at(seconds)


def net_of(line: Object) -> int:
    """What a line earns: its amount without discounts, prepaid credits and the tax inside it."""
    inside = sum(amount for amount, inclusive in taxes_of(line) if inclusive)
    return whole(line, "amount") - discounts_of(line) - credits_of(line) - inside


def period_of(line: Object) -> tuple[datetime | None, datetime | None]:
    """The period that a line is earned over; nothing when it is earned at once. Raises Poison."""
    start, end = dig(line, "period.start"), dig(line, "period.end")
    if type(start) is not int or type(end) is not int:
        raise Poison("line_item.period is missing")
    return (at(start), at(end)) if start < end else (None, None)
