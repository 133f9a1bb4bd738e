"""What is delivered: the believable quarter, or a person's own recorded events; and how badly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path

import orjson

from lab.demo.site import ACCOUNT, Endpoint
from lab.stripe import quarter
from lab.stripe.delivery import Delivery, deliveries
from lab.stripe.truth import Truth
from millrace.errors import Misconfigured
from operations.send import events_in

DUPLICATES, REORDERED = 0.10, 0.05


@dataclass(frozen=True, slots=True)
class Story:
    """Deliveries by day, the endpoint of each event, and what must be true at the end where we know it."""

    name: str
    starts: datetime
    ends: datetime
    days: list[tuple[date, list[Delivery]]]
    endpoints: dict[str, Endpoint]  # event id → where it goes
    truth: Truth | None

    @property
    def deliveries(self) -> int:
        return sum(len(of_day) for _, of_day in self.days)


def company(seed: int, customers: int) -> Story:
    """A quarter of Northwind Boards."""
    made = quarter.build(seed, customers=customers)
    here = Endpoint(ACCOUNT, livemode=False)
    return Story(
        name=f"Northwind Boards, seed {seed}: {len(made.truth.customers)} customers",
        starts=made.starts,
        ends=made.ends,
        days=_by_day(deliveries(made.events, seed, DUPLICATES, REORDERED)),
        endpoints={event["id"]: here for _, event in made.events},
        truth=made.truth,
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
    events = sorted(((datetime.fromtimestamp(e["created"], UTC), e) for e in found), key=lambda one: one[0])
    return Story(
        name=f"{len(events):,} events of {file.name}",
        starts=events[0][0],
        ends=events[-1][0] + timedelta(days=1),
        days=_by_day(deliveries(events, seed, DUPLICATES, REORDERED)),
        endpoints={e["id"]: Endpoint(e.get("account") or ACCOUNT, bool(e.get("livemode"))) for e in found},
        truth=None,
    )


def _by_day(sent: list[Delivery]) -> list[tuple[date, list[Delivery]]]:
    return [(day, list(of_day)) for day, of_day in groupby(sent, key=lambda d: d.at.date())]
