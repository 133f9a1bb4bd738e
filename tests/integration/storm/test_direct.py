"""The consumers as they are, in a storm: right at every moment at which they are asked, whatever is missing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lab.storm.answers import ASPECTS
from lab.storm.direct import Direct
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import OPEN, Answers
from millrace_lab.storm.hunting import found, judge
from tests.integration.storm.conftest import MakeDirect
from tests.integration.storm.planted import planted
from tests.integration.storm.runs import run
from tests.unit.millrace_lab.storm.machine import Receiver, Storm

MOMENTS = 6


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_differs_at_any_moment_of_a_hostile_quarter(seed: int, system_of: MakeDirect) -> None:
    judged = await judge(await system_of({}), run(seed), MOMENTS)
    assert judged.differences == []
    assert judged.doubts < 10


async def test_nothing_differs_whatever_is_lost(system_of: MakeDirect) -> None:
    system, everything = await system_of({}), run(3)
    for share in (0.05, 0.2, 0.5, 0.8):
        chance = random.Random(f"lost: {share}")
        assert await found(system, [each for each in everything if chance.random() < share]) == []


async def test_the_same_deliveries_give_the_same_answers(system_of: MakeDirect) -> None:
    system, some = await system_of({}), run(4)[:700]
    first = await system.play(some, [300, 700])
    assert await system.play(run(5)[:400], [400]) != first[1:]
    assert await system.play(some, [300, 700]) == first


async def test_every_aspect_is_compared_somewhere(system_of: MakeDirect) -> None:
    """What the oracle leaves open or has no word for would be no comparison at all."""
    system, everything = await system_of({}), run(1)
    decided = Counter(
        aspect for (aspect, _), value in system.expected(everything).items() if value is not OPEN
    )
    [answers] = await system.play(everything, [len(everything)])
    said = Counter(aspect for (aspect, _), value in answers.items() if value)
    asked = ASPECTS - {"parked"}
    assert not {aspect for aspect in asked if not decided[aspect]}
    assert not {aspect for aspect in asked if not said[aspect]} - {"pausing", "refunded", "restricted"}


class Kept:
    """Deliveries that were taken so far; asked by playing them all. After a crash the last ones come again."""

    aspects = ASPECTS

    def __init__(self, system: Direct, loop: asyncio.AbstractEventLoop) -> None:
        self.system, self.loop = system, loop
        self.taken: list[Arrival] = []

    def take(self, arrival: Arrival) -> None:
        self.taken.append(arrival)

    def crash(self) -> None:
        self.taken += self.taken[-5:]

    def answers(self) -> Answers:
        played = asyncio.run_coroutine_threadsafe(self.system.play(self.taken, [len(self.taken)]), self.loop)
        return played.result()[0]


def storm(system: Direct, loop: asyncio.AbstractEventLoop) -> type[Storm]:
    class Over(Storm):
        def receiver(self) -> Receiver:
            return Kept(system, loop)

        def expected(self, arrivals: list[Arrival]) -> Answers:
            return system.expected(arrivals)

    return Over


TRIED = settings(
    max_examples=8,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)


async def test_the_state_machine_finds_nothing(system_of: MakeDirect) -> None:
    """In a thread of its own, because Hypothesis does not await."""
    machine = storm(await system_of({}), asyncio.get_running_loop())
    await asyncio.to_thread(run_state_machine_as_test, machine, settings=TRIED)


async def test_the_state_machine_finds_what_is_planted(system_of: MakeDirect) -> None:
    machine = storm(await system_of(planted("older overwrites newer")), asyncio.get_running_loop())
    with pytest.raises(AssertionError):
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=settings(TRIED, max_examples=60))
