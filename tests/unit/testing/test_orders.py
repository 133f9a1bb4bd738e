"""Every order of arrival: the end that all share, or the first order whose end differs, told to a person."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.consumer import Each
from millrace.events import Event
from millrace.testing import Harness, permutations
from tests.support.tally import Tally, event, fold


async def test_facts_that_wait_for_each_other_end_alike_in_every_order() -> None:
    stream = [event("add", "a1", 1), event("take", "t3", 3), event("add", "a4", 4)]
    total = await permutations(stream, lambda: Harness(fold()), end=lambda h: h.states["a"].total)
    assert total == 2


async def test_an_order_that_ends_differently_is_shown_with_its_difference() -> None:
    with pytest.raises(AssertionError) as told:
        await permutations([event("add", "e1", 1), event("add", "e2", 2)], lambda: Harness(fold()))
    assert str(told.value).splitlines() == [
        "the end depends on the order of arrival. In this order",
        "  1. stripe.add e2",
        "  2. stripe.add e1",
        "a",
        f"  is        {Tally(('e2', 'e1'), 3)}",
        f"  as given  {Tally(('e1', 'e2'), 3)}",
    ]


async def test_any_end_may_be_compared_and_asked_for_from_a_database() -> None:
    async def last(harness: Harness) -> str:
        return next(reversed(harness.outcomes))

    with pytest.raises(AssertionError, match="it is 'e1'\nas given: 'e2'"):
        await permutations([event("add", "e1"), event("add", "e2")], lambda: Harness(fold()), end=last)


async def test_more_orders_than_anybody_waits_for_are_refused() -> None:
    with pytest.raises(ValueError, match="8 events have 40320 orders, more than 5040: give fewer"):
        await permutations([event("add", f"e{n}") for n in range(8)], lambda: Harness(fold()))


async def test_handlers_must_say_what_is_compared() -> None:
    async def nothing(tx: Any, e: Event) -> None: ...

    each = Each("tally", {"stripe.add": nothing})
    with pytest.raises(ValueError, match="say what is compared"):
        await permutations([event("add", "e1")], lambda: Harness(each, tx=object()))
