"""A storm, seed after seed: a company is played, its events are delivered badly, the system is judged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from lab.stack import owned
from lab.stack.jars import CHECKOUT
from lab.storm.direct import Direct, database, direct
from lab.storm.whole import Whole
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.storm import rare_lives
from millrace_lab.storm.arrivals import arrivals
from millrace_lab.storm.companies import Company
from millrace_lab.storm.comparing import Difference
from millrace_lab.storm.hunting import Judgement, found, judge, shrunk
from millrace_lab.storm.story import Story

HOME = CHECKOUT / ".millrace" / "storm"
TWINS = 0.02  # the share of changes that are told by two Event objects
MOMENTS = 8  # at how many moments of a run everything is compared
STORIES_MOST = 3  # differences of one seed that are shrunk: one an aspect, and no more
Tell = Callable[[str, int, int], None]  # what goes on, how far it is, and of how many; 0 where nobody knows


@dataclass(frozen=True, slots=True)
class Weather:
    """What a storm is made of, the seed apart."""

    days: int
    customers: int
    schedule: str
    whole: bool

    def origin(self, seed: int) -> str:
        """The command that brings it about again."""
        against = " --against whole" if self.whole else ""
        return (
            f"millrace-lab storm --seed {seed} --days {self.days} --customers {self.customers} "
            f"--schedule {self.schedule}{against}"
        )


@dataclass(frozen=True, slots=True)
class Seed:
    """What became of one seed. `lost` counts events that no delivery brought."""

    seed: int
    deliveries: int
    lost: int
    answers: int
    doubts: int
    differences: Sequence[Difference]
    stories: Sequence[Story] = field(default=())


async def storm(
    weather: Weather, seeds: Iterable[int], say: Callable[[str], None], tell: Tell
) -> AsyncIterator[Seed]:
    """Judge seed after seed, on a stack that lives as long as this. Raises StackError, Misconfigured."""
    async with AsyncExitStack() as open_:
        stack = open_.enter_context(owned(HOME / "direct", say=say))
        near = await open_.enter_async_context(
            direct(await open_.enter_async_context(database(stack.postgres)))
        )
        for seed in seeds:
            yield await _one(weather, seed, near, say, tell)


async def _one(weather: Weather, seed: int, near: Direct, say: Callable[[str], None], tell: Tell) -> Seed:
    company = Company(seed, weather.days, weather.customers, rare_lives.EVERYBODY, twins=TWINS)
    account = company.play(lambda day: tell("living", day, weather.days))
    came = arrivals(account, Schedule(seed, weather.schedule))
    tell("delivering", 0, len(came))
    system = (
        Whole(HOME / "whole", say, lambda done: tell("delivering", done, len(came)))
        if weather.whole
        else near
    )
    judged = await judge(system, came, MOMENTS)
    lost = len({told.number for told in account.events if not told.thin} - {each.number for each in came})
    stories = [story async for story in _stories(judged, near, weather.origin(seed), tell)]
    return Seed(seed, len(came), lost, judged.answers, judged.doubts, judged.differences, stories)


async def _stories(judged: Judgement, near: Direct, origin: str, tell: Tell) -> AsyncIterator[Story]:
    """The first difference of each aspect, shrunk; as it is, where the shorter way does not show it."""
    firsts = {each.aspect: each for each in reversed(judged.differences)}
    shown = {each.key for each in await found(near, judged.arrivals)} if firsts else set()
    for difference in list(firsts.values())[:STORIES_MOST]:
        if difference.key in shown:
            yield await shrunk(
                near,
                judged.arrivals,
                difference,
                origin=origin,
                progress=lambda tries, left: tell(f"shrinking, {left} left", tries, 0),
            )
