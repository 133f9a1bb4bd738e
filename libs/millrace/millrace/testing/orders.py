"""Whether the order of arrival matters: every order, and which of them ends differently."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from math import factorial
from typing import Any

from millrace.consumer import Each
from millrace.events import Event
from millrace.testing.harness import Harness

ORDERS_MAX = 5040  # of seven events; each order is a run of its own


async def permutations(
    events: Sequence[Event], make: Callable[[], Harness], end: Callable[[Harness], Any] | None = None
) -> Any:
    """Run every order of these events, each in a harness of its own, and return the end that all of them share.

    `end` says what is compared, and may be awaitable; without it, the states of a fold in memory.
    Raises: AssertionError, which names the first order that ends differently, and how · ValueError.
    """
    if (count := factorial(len(events))) > ORDERS_MAX:
        raise ValueError(f"{len(events)} events have {count} orders, more than {ORDERS_MAX}: give fewer")
    ends: list[Any] = []
    for order in itertools.permutations(events):
        harness = make()
        await harness.run(*order)
        found = (end or _states)(harness)
        ends.append(await found if isawaitable(found) else found)
        if ends[-1] != ends[0]:
            raise AssertionError(told(order, ends[0], ends[-1]))
    return ends[0]


def _states(harness: Harness) -> Mapping[str, Any]:
    if isinstance(harness.consumer, Each):
        raise ValueError("handlers leave no states here: say what is compared, end=lambda harness: …")
    return dict(harness.states)


def told(order: Sequence[Event], first: Any, other: Any) -> str:
    """What a person needs to see: the order, and where its end differs from that of the order as given."""
    steps = [f"  {n}. {event.type} {event.id}" for n, event in enumerate(order, 1)]
    return "\n".join(
        ["the end depends on the order of arrival. In this order", *steps, *_differences(first, other)]
    )


def _differences(first: Any, other: Any) -> list[str]:
    if not (isinstance(first, Mapping) and isinstance(other, Mapping)):
        return [f"it is {other!r}", f"as given: {first!r}"]
    keys = [key for key in {**first, **other} if first.get(key) != other.get(key)]
    return [
        line
        for key in keys
        for line in (f"{key}", f"  is        {other.get(key)!r}", f"  as given  {first.get(key)!r}")
    ]
