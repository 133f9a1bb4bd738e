"""A failing run as a story: a row for each delivery, what it says, and what is odd about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

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
    for number, other in enumerate(arrivals[:place], 1):
        if other.id == one.id:
            yield f"again, as {number}"
            break
        if other.twin_of(one):
            yield f"twin of {number}"
            break
    elders = [n for n, other in enumerate(arrivals[place + 1 :], place + 2) if other.number < one.number]
    if elders:
        yield (
            f"before its elder {', '.join(map(str, elders))}"
            if len(elders) == 1
            else (f"before its elders {', '.join(map(str, elders))}")
        )
    if one.at > one.created:
        yield f"{lasting(one.at - one.created)} late"


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


# What a shorter story is tried for, boldest first, and how what is left is made plainer.


def kin(arrivals: Sequence[Arrival], difference: Difference) -> Iterator[list[Arrival]]:
    """Parts of a run that may well show the difference alone: its object's deliveries, then its customer's."""
    about = [each for each in arrivals if _names(each.object, difference.object)]
    yield about
    family = {id_ for each in about for id_ in _family(each.object)}
    customers = {id_ for id_ in family if id_.startswith("cus_")}
    yield [each for each in arrivals if _family(each.object) & family - customers]
    yield [each for each in arrivals if _family(each.object) & customers]


def plainer(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    """Easier to read and never harder: in the true order, on time; wholly or for one delivery at a time."""
    yield from _different(arrivals, _in_order(arrivals))
    for place in range(len(arrivals) - 1):
        first, second = arrivals[place], arrivals[place + 1]
        if first.number > second.number:
            swapped = [replace(second, at=first.at), replace(first, at=second.at)]
            yield [*arrivals[:place], *swapped, *arrivals[place + 2 :]]
    for place, one in enumerate(arrivals):
        earliest = max([one.created, *(each.at for each in arrivals[:place])])
        if one.at > earliest:
            yield [*arrivals[:place], replace(one, at=earliest), *arrivals[place + 1 :]]


def _in_order(arrivals: Sequence[Arrival]) -> list[Arrival]:
    return [replace(each, at=each.created) for each in sorted(arrivals, key=lambda each: each.number)]


def _different(arrivals: Sequence[Arrival], other: list[Arrival]) -> Iterator[list[Arrival]]:
    if [(each.id, each.at) for each in arrivals] != [(each.id, each.at) for each in other]:
        yield other


def _names(body: Body, id_: str) -> bool:
    return id_ in _ids(body)


def _family(body: Body) -> set[str]:
    """The ids that an object stands with: itself, its customer, its subscription, its invoice, its charge."""
    return {id_ for id_ in _ids(body) if id_.partition("_")[0] in FAMILY}


FAMILY = frozenset({"cus", "sub", "in", "ch", "py", "pi", "re", "pyr", "inpay", "cn"})


def _ids(value: Any) -> set[str]:
    """Every string inside that may be an id."""
    if isinstance(value, str):
        return {value} if "_" in value else set()
    if isinstance(value, dict):
        return {id_ for each in value.values() for id_ in _ids(each)}
    if isinstance(value, Iterable):
        return {id_ for each in value for id_ in _ids(each)}
    return set()
