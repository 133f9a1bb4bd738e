"""Which days of the outbox may go: those that are old, and published and audited to the last row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from outbox_relay.domain.cursor import Position
from outbox_relay.domain.lane import Lane

KEEP_DAYS = 7  # rows at hand for a replay or a question; Kafka keeps them as long as its topics do
SOON_DAYS = 2  # a missing day as near as this is an alarm


@dataclass(frozen=True, slots=True)
class Day:
    """The table of a day. Units: `rows` as the server estimates them, `bytes` with indexes."""

    name: str  # outbox.event_20261128
    day: date
    rows: int
    bytes: int
    closed: bool = False  # no row can come any more
    attached: bool = True  # a part of the outbox
    detaching: bool = False  # it was leaving when whoever took it out was interrupted


@dataclass(frozen=True, slots=True)
class Covered:
    """What every lane of an outbox has behind it."""

    lanes: Mapping[Lane, Position] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every key, whatever its hash, belongs to one of the lanes."""
        shards: dict[int, set[int]] = {}
        for lane in self.lanes:
            shards.setdefault(lane.shards, set()).add(lane.shard)
        return any(found == set(range(count)) for count, found in shards.items())

    @property
    def floor(self) -> int:
        """Every row of an older transaction is behind every lane."""
        return min(place.seen.xmin for place in self.lanes.values())


def kept(day: Day, today: date, keep_days: int) -> str:
    """Why a day stays whatever its rows are; '' when they decide."""
    if day.day >= today:
        return "today" if day.day == today else "in the future"
    if day.day > today - timedelta(days=keep_days):
        return f"younger than {keep_days} days"
    if not day.attached and not day.closed:
        return "taken out of the outbox by somebody else: attach it again, or drop it by hand"
    return ""


def missing(days: list[Day], today: date, ahead: int = SOON_DAYS) -> list[date]:
    """The days without a table, from today on, in which a row would be refused."""
    there = {day.day for day in days if day.attached and not day.closed}
    return [day for n in range(ahead + 1) if (day := today + timedelta(days=n)) not in there]
