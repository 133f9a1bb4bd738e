"""A failing run as a story: a row for each delivery, what it says, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from millrace_lab.account import DAY, HOUR, MINUTE
from millrace_lab.errors import Body
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import Difference

HEADINGS = ("", "arrives", "event", "about", "says", "odd")


@dataclass(frozen=True, slots=True)
class Story:
    """The deliveries that bring a difference about, in the order of arrival."""

    difference: Difference
    arrivals: tuple[Arrival, ...]
    origin: str = ""  # how to have the whole run again: seed, days, customers, schedule

    def rows(self) -> list[tuple[str, ...]]:
        """Number, arrival, type, object, what it says, what is odd."""
        return [
            (
                str(number),
                f"{datetime.fromtimestamp(each.at, UTC):%d %b %H:%M:%S}",
                each.type,
                str(each.object.get("id", "")),
                says(each),
                "; ".join(oddities(self.arrivals, number - 1)),
            )
            for number, each in enumerate(self.arrivals, 1)
        ]

    def __str__(self) -> str:
        origin = [f"found by {self.origin}"] if self.origin else []
        return "\n".join([str(self.difference), "", *table([HEADINGS, *self.rows()]), *origin])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of equal columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(row).rstrip() for row in padded]


def oddities(arrivals: Sequence[Arrival], place: int) -> Iterator[str]:
    """What is unusual about one of these deliveries, among the others."""
    one = arrivals[place]
    yield from _before(arrivals[:place], one)
    if elders := [n for n, other in enumerate(arrivals[place + 1 :], place + 2) if other.number < one.number]:
        yield f"before its {'elder' if len(elders) == 1 else 'elders'} {', '.join(map(str, elders))}"
    if one.at > one.created:
        yield f"{lasting(one.at - one.created)} late"


def _before(arrivals: Sequence[Arrival], one: Arrival) -> Iterator[str]:
    """Which of the earlier deliveries said the same."""
    for number, other in enumerate(arrivals, 1):
        if other.id == one.id:
            yield f"again, as {number}"
            return
        if other.twin_of(one):
            yield f"twin of {number}"
            return


def lasting(seconds: int) -> str:
    """A length of time in its largest unit."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def says(arrival: Arrival) -> str:
    """What a delivery tells, in a few words."""
    body, previous = arrival.object, arrival.event["data"].get("previous_attributes")
    told = SAYS.get(body["object"], _plain)(body)
    return f"{told} (was: {', '.join(previous)})" if previous else told


def _subscription(body: Body) -> str:
    items = ", ".join(f"{each['price']['id']} x {each.get('quantity')}" for each in body["items"]["data"])
    return f"{body['status']}: {items}"


def _invoice(body: Body) -> str:
    return f"{body['status']}: {body['amount_remaining']} of {body['total']} {body['currency']} remain"


def _amount(name: str) -> Callable[[Body], str]:
    return lambda body: f"{body[name]} {body['currency']} {body.get('status', '')}".rstrip()


def _plain(body: Body) -> str:
    return str(body.get("status", ""))


SAYS: dict[str, Callable[[Body], str]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "invoice_payment": _amount("amount_paid"),
    "charge": _amount("amount"),
    "refund": _amount("amount"),
    "payment_intent": _amount("amount"),
    "credit_note": _amount("total"),
}
