"""What a shorter story is looked for in, and how what is left is made plainer: the shrinker's knowledge of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import Difference


def kin(arrivals: Sequence[Arrival], difference: Difference) -> Iterator[list[Arrival]]:
    """Parts of a run that may well show the difference alone: the deliveries that name its object, then those
    of its family, then its customer's."""
    named = {each.id: _ids(each.object) for each in arrivals}
    about = [each for each in arrivals if difference.object in named[each.id]]
    yield about
    family = {id_ for each in about for id_ in named[each.id] if id_.partition("_")[0] in FAMILY}
    yield [each for each in arrivals if named[each.id] & family]
    owners = {id_ for each in about for id_ in named[each.id] if id_.startswith("cus_")}
    yield [each for each in arrivals if named[each.id] & owners]


FAMILY = frozenset({"sub", "in", "ch", "py", "pi", "re", "pyr", "inpay", "cn"})  # beginnings of ids


def _ids(value: Any) -> frozenset[str]:
    """Every string inside that may be an id."""
    if isinstance(value, str):
        return frozenset((value,)) if "_" in value else frozenset()
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable):
        return frozenset().union(*map(_ids, value))
    return frozenset()


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
