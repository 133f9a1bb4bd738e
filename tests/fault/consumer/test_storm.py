"""A group that never comes to rest: members are started and ended every second, in every way, while events arrive.

STORM_SECONDS=60 makes it as long as one likes; the seed of a run is in its output.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import Counter
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

import asyncpg
import pytest

from tests.fault.consumer.conftest import Group, Member, seats, until

SESSION_SECONDS = 6.0  # the least that the broker takes
SEATS = ("a", "b", "c")
SEED = int(os.environ.get("STORM_SEED", "6"))
EVENTS_A_SECOND, KEYS = 600, 60  # enough for a batch to be in flight whenever somebody dies
IN_FLIGHT = """
-- Which of these members is in the middle of a transaction that has written something.
select application_name from pg_stat_activity
 where application_name = any($1::text[]) and datname = current_database() and backend_xid is not null
 limit 1
"""
pytestmark = pytest.mark.timeout(400)


class Storm:
    """Every second one member is ended, by the next signal in turn, and one that is not there is started."""

    def __init__(self, group: Group) -> None:
        self.group, self.random = group, random.Random(SEED)
        self.signals = itertools.cycle([SIGKILL, SIGTERM, SIGSTOP])
        self.seats: dict[str, Member] = {}
        self.ended: Counter[str] = Counter()
        self.in_flight = 0  # how many were struck in the middle of a batch
        self._thawing: set[asyncio.Task[None]] = set()

    async def rage(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        await self.fill(2)
        await self.group.reached(1)
        end = loop.time() + seconds
        while loop.time() < end:
            await self.fill(1 + len(self.seats))
            await asyncio.sleep(1.0)
            await self.strike()

    async def strike(self) -> None:
        """Whoever is struck, in the middle of a batch, is not looked after; who is stopped comes back when its session
        is over."""
        running = [m for m in self.seats.values() if m.lives and not m.stopped]
        if not running:
            return
        works, signal = await self.works(running), next(self.signals)
        struck = works or self.random.choice(running)
        self.in_flight += works is not None
        struck.send(signal)
        self.ended[signal.name] += 1
        struck.stopped = signal == SIGSTOP
        if struck.stopped:
            task = asyncio.create_task(self.thaw(struck))
            self._thawing.add(task)

    async def works(self, running: list[Member]) -> Member | None:
        """Wait a moment for one of them to be in a transaction; in a rebalance nobody is."""
        seats = {member.instance: member for member in running}
        connection = await asyncpg.connect(self.group.database)
        try:
            async with asyncio.timeout(1.0):
                while not (found := await connection.fetchval(IN_FLIGHT, list(seats))):
                    pass
            return seats[found]
        except TimeoutError:
            return None
        finally:
            await connection.close()

    async def thaw(self, member: Member) -> None:
        await asyncio.sleep(SESSION_SECONDS + 2)
        member.send(SIGCONT)
        member.stopped = False

    async def fill(self, seats: int) -> None:
        """One more member than live, as long as there are seats."""
        for seat in SEATS[:seats]:
            if seat not in self.seats or not self.seats[seat].lives:
                self.seats[seat] = await self.group.member(seat, SESSION_SECONDS=SESSION_SECONDS)

    async def calm(self) -> None:
        """Everybody is thawed, and every seat filled."""
        await asyncio.gather(*self._thawing)
        await self.fill(len(SEATS))


async def storm(group: Group, seconds: float) -> None:
    print(f"STORM_SEED={SEED}")  # noqa: T201 how to have it again
    raging = Storm(group)
    async with group.producing() as producer:
        work = asyncio.create_task(raging.rage(seconds))
        while not work.done():
            await group.send(producer, EVENTS_A_SECOND // 4, keys=KEYS)
            await asyncio.sleep(0.25)
        await work
    await raging.calm()
    await group.all_applied()
    struck = f"members ended by {dict(raging.ended)}, {raging.in_flight} in the middle of a batch"
    print(f"{sum(map(len, group.sent.values()))} events; {struck}")  # noqa: T201
    assert raging.in_flight, "nobody was struck in the middle of a batch"
    assert set(raging.ended) == {"SIGTERM", "SIGSTOP", "SIGKILL"}
    codes = {await member.end() for member in group.nursery.members}
    assert codes <= {0, -SIGKILL}, "a member ended by itself"


async def test_nothing_is_lost_doubled_or_out_of_order_in_a_storm_of_rebalances(group: Group) -> None:
    await storm(group, float(os.environ.get("STORM_SECONDS", "8")))


@pytest.mark.nightly
async def test_nor_in_a_minute_of_it(group: Group) -> None:
    await storm(group, 60)


async def test_a_restart_within_the_session_moves_no_partition(group: Group) -> None:
    """The successor has its seat at once; the other member is not asked to give anything up."""
    first, second = [await group.member(seat, SESSION_SECONDS=30) for seat in "ab"]
    async with group.producing() as producer:
        await until(lambda: [seats(first)[-1:], seats(second)[-1:]] == [[3], [3]])
        before = seats(second)
        assert await first.end(SIGTERM) == 0
        await group.send(producer, 40)
        await group.member("a", SESSION_SECONDS=30)
        await group.all_applied()
    assert seats(second) == before


async def test_of_two_live_members_with_one_name_the_latecomer_leaves_and_the_other_is_not_disturbed(
    group: Group,
) -> None:
    async with group.producing() as producer:
        holder = await group.member("a")
        await group.send(producer, 40)
        await group.all_applied()
        before = seats(holder)
        late = await group.member("a", SEAT_SECONDS=2)
        assert await late.end_by_itself() == 1
        assert "is taken by another live process" in str(late.said()[-1]["why"])
        await group.send(producer, 40)
        await group.all_applied()
    assert holder.lives
    assert seats(holder) == before


async def test_killed_it_leaves_its_seat_to_a_successor_at_once(group: Group) -> None:
    async with group.producing() as producer:
        await group.send(producer, 40)
        first = await group.member("a", SESSION_SECONDS=30)
        await group.all_applied()
        await first.end(SIGKILL)
        await group.send(producer, 40)
        second = await group.member("a", SESSION_SECONDS=30)
        await group.reached(80, seconds=25)  # before the session of the first is over
        await group.all_applied()
    assert second.lives
