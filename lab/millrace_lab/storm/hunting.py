"""The hunt: deliveries are applied to a system, its answers are held against the oracle, a difference is shrunk.

The system is anybody's: whatever can take deliveries from an empty state and then say what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace_lab.storm import simpler
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import Answers, Difference, differences, doubts
from millrace_lab.storm.shrinking import TRIES_MOST, shrink
from millrace_lab.storm.story import Story

Progress = Callable[[int, int], None]  # tries so far, and how many deliveries the last one had


class System(Protocol):
    """What is under test.

    aspects     which of the oracle's questions it answers; see `oracle`
    expected()  what it must answer after these deliveries: mostly `oracle.of`, in the system's own words
    play()      from nothing, apply deliveries in their order; what it answers after the first n of them, for
                each n of `moments`, which grow

    Replay: the same deliveries give the same answers.
    """

    @property
    def aspects(self) -> frozenset[str]: ...

    def expected(self, arrivals: Sequence[Arrival]) -> Answers: ...

    async def play(self, arrivals: Sequence[Arrival], moments: Sequence[int]) -> list[Answers]: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a system got wrong at the first moment at which it got anything wrong, or how it stood at the end.

    `arrivals` are the deliveries up to that moment; `answers` counts what was compared over all moments.
    """

    arrivals: Sequence[Arrival]
    differences: list[Difference]
    answers: int
    doubts: int


async def judge(system: System, arrivals: Sequence[Arrival], moments: int = 1) -> Judgement:
    """Hold a system against the oracle at so many moments, the last of them the end."""
    counts = [len(arrivals) * number // moments for number in range(1, moments + 1)]
    answers = unsure = 0
    for count, found_ in zip(counts, await system.play(arrivals, counts), strict=True):
        part = arrivals[:count]
        expected = system.expected(part)
        answers += sum(aspect in system.aspects for aspect, _ in expected)
        unsure = doubts(found_)
        if differ := differences(expected, found_, system.aspects):
            return Judgement(part, differ, answers, unsure)
    return Judgement(arrivals, [], answers, unsure)


async def found(system: System, arrivals: Sequence[Arrival]) -> list[Difference]:
    """What a system gets wrong after these deliveries."""
    return (await judge(system, arrivals)).differences


async def shrunk(
    system: System,
    arrivals: Sequence[Arrival],
    difference: Difference,
    *,
    origin: str = "",
    most: int = TRIES_MOST,
    progress: Progress = lambda tries, left: None,
) -> Story:
    """The shortest story that still ends in a difference of the same aspect and object."""

    async def fails(some: Sequence[Arrival]) -> bool:
        return any(each.key == difference.key for each in await found(system, some))

    least = await shrink(
        arrivals,
        fails,
        guesses=simpler.kin(arrivals, difference),
        plainer=simpler.plainer,
        most=most,
        progress=progress,
    )
    [at_last] = [each for each in await found(system, least.items) if each.key == difference.key]
    return Story(at_last, tuple(least.items), origin)


async def hunt(
    system: System,
    run: Callable[[int], Sequence[Arrival]],
    seeds: Iterable[int],
    *,
    moments: int = 1,
    origin: Callable[[int], str] = lambda seed: f"seed {seed}",
    progress: Progress = lambda tries, left: None,
) -> Story | None:
    """The first difference that any of these seeds brings about, shrunk; None when all of them are clean."""
    for seed in seeds:
        judged = await judge(system, run(seed), moments)
        for difference in judged.differences:
            return await shrunk(system, judged.arrivals, difference, origin=origin(seed), progress=progress)
    return None
