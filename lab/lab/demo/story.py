"""What is delivered: the believable quarter, or a person's own recorded events; and how badly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from lab.demo.site import ACCOUNT, Endpoint
from lab.northwind import quarter
from lab.northwind.quarter import Quarter
from lab.northwind.truth import Truth
from millrace.errors import Misconfigured
from millrace_lab.account import Told
from millrace_lab.delivery.planning import plan
from millrace_lab.delivery.schedule import Schedule
from operations.send import events_in

PROFILE = "usual"  # 10 % twice, 5 % late, ties in any order

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Posting:
    """One POST: when, the exact bytes, and where it goes."""

    at: datetime
    body: bytes
    event_id: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Story:
    """Postings by day; what must be true at the end, and the company that lives on, where we know them."""

    name: str
    starts: datetime
    ends: datetime
    days: list[tuple[date, list[Posting]]]
    truth: Truth | None = None
    company: Quarter | None = None

    @property
    def deliveries(self) -> int:
        return sum(len(of_day) for _, of_day in self.days)

    @property
    def endpoints(self) -> list[Endpoint]:
        found = {posting.endpoint for _, of_day in self.days for posting in of_day}
        return sorted(found, key=lambda endpoint: endpoint.name)


def company(seed: int, customers: int) -> Story:
    """A quarter of Northwind Boards."""
    made = quarter.build(seed, customers=customers)
    return Story(
        name=f"Northwind Boards, seed {seed}: {len(made.truth.customers)} customers",
        starts=made.starts,
        ends=made.ends,
        days=_days([event for _, event in made.events], seed, made.ends),
        truth=made.truth,
        company=made,
    )


def recorded(file: Path, seed: int) -> Story:
    """A person's own events, of any version and type. Raises Misconfigured, naming file and event."""
    try:
        found = [orjson.loads(body) for body, _ in events_in(file.read_bytes(), str(file))]
    except OSError as problem:
        raise Misconfigured(f"{file}: {problem.strerror}") from None
    if not found:
        raise Misconfigured(f"{file}: holds no event")
    for number, event in enumerate(found, 1):
        if type(event.get("created")) is not int:
            raise Misconfigured(f"{file}: event {number} has no 'created' in seconds")
    events = sorted(found, key=lambda event: int(event["created"]))
    ends = _at(events[-1]["created"]) + timedelta(days=1)
    return Story(
        name=f"{len(events):,} events of {file.name}",
        starts=_at(events[0]["created"]),
        ends=ends,
        days=_days(events, seed, ends),
    )


def _days(events: list[Event], seed: int, ends: datetime) -> list[tuple[date, list[Posting]]]:
    """Every posting, by day. What is still under way when the story ends arrives in its last second."""
    postings = list(_postings(events, seed, ends - timedelta(seconds=1)))
    return [(day, list(of_day)) for day, of_day in groupby(postings, key=lambda posting: posting.at.date())]


def _postings(events: list[Event], seed: int, latest: datetime) -> Iterable[Posting]:
    bodies = [orjson.dumps(event, option=orjson.OPT_INDENT_2) for event in events]
    told = [
        Told(number, e["id"], str(e.get("type")), e["created"], {}, None, {})
        for number, e in enumerate(events)
    ]
    for delivery in plan(told, Schedule(seed, PROFILE)):
        number = delivery.event.number
        yield Posting(
            min(_at(delivery.at), latest), bodies[number], delivery.event.id, _endpoint(events[number])
        )


def _endpoint(event: Event) -> Endpoint:
    return Endpoint(event.get("account") or ACCOUNT, bool(event.get("livemode")))


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
