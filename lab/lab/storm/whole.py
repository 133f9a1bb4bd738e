"""The running system: real processes, ingest over HTTP with signatures, the relay, Kafka and the consumers.

Dear: a stack is made for each play. So a storm plays a run once through it, and leaves the shrinking to `direct`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path

import asyncpg
import orjson

from lab.demo.processes import Owner, Processes, processes
from lab.demo.site import ACCOUNT, Endpoint, Site, prepare
from lab.stack import manage
from lab.storm.answers import ASPECTS, answers, expected
from millrace import postgres
from millrace.postgres import Connection
from millrace_lab.account import DAY
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import Answers
from operations import flow
from operations.send import Sender, sender

AT_ONCE = 32  # deliveries side by side
REST_DAYS = 7  # how often it waits for everything to be quiet, so that timers fire on their days
HERE = Endpoint(ACCOUNT, livemode=False)
Progress = Callable[[int], None]  # deliveries done


class Whole:
    """A system under test: everything, from the webhook on. Wipes its folder before every play."""

    aspects = ASPECTS

    def __init__(
        self, folder: Path, say: Callable[[str], None], progress: Progress = lambda done: None
    ) -> None:
        self.folder, self.say, self.progress = folder, say, progress

    def expected(self, arrivals: Sequence[Arrival]) -> Answers:
        return expected(arrivals)

    async def play(self, arrivals: Sequence[Arrival], moments: Sequence[int]) -> list[Answers]:
        """Writes: everything below the folder. Leaves: nothing running."""
        manage.down(self.folder, wipe=True)
        with Owner(self.folder):
            try:
                site = await self._site(_at(arrivals[0].at))
                async with AsyncExitStack() as open_:
                    services = await open_.enter_async_context(processes(site))
                    connection: Connection = await asyncpg.connect(site.database)
                    open_.push_async_callback(connection.close)
                    await postgres.prepare(connection)
                    post = await open_.enter_async_context(
                        sender(site.url(HERE), site.secret, site.clock, at_once=AT_ONCE)
                    )
                    playing = Playing(site, services, connection, post, self.progress)
                    return [
                        await playing.until(arrivals[start:end]) for start, end in pairwise([0, *moments])
                    ]
            finally:
                manage.down(self.folder, wipe=True)

    async def _site(self, starts: datetime) -> Site:
        stack = manage.up(self.folder, say=self.say)
        return await prepare(self.folder, stack, [HERE], starts)


class Playing:
    """One play: deliveries day by day, with the services' clock turned along."""

    def __init__(
        self, site: Site, services: Processes, connection: Connection, post: Sender, progress: Progress
    ) -> None:
        self.site, self.services, self.connection, self.post = site, services, connection, post
        self.quiet, self.progress, self.done = flow.Quiet(connection), progress, 0

    async def until(self, arrivals: Sequence[Arrival]) -> Answers:
        """Deliver these, wait until all is quiet, and ask."""
        for of_week in _weeks(arrivals):
            for day, of_day in groupby(of_week, key=lambda each: each.at // DAY):
                self.site.clock.turn(_at((day + 1) * DAY - 1))
                await self._send(list(of_day))
            await self._rest(of_week[-1].at)
        return await answers(self.connection, arrivals[-1].at)

    async def _send(self, of_day: Sequence[Arrival]) -> None:
        bodies = [(orjson.dumps(each.event), each.id) for each in of_day]
        await self.post.send_all(bodies, at_once=AT_ONCE, progress=self._delivered)
        if self.post.sent.refused:
            event, status, why = self.post.sent.refused[0]
            raise RuntimeError(f"{event} was refused: {status} {why}")

    def _delivered(self) -> None:
        self.done += 1
        self.progress(self.done)

    async def _rest(self, at: int) -> None:
        self.services.revive()
        await self.quiet.wait(_at((at // DAY + 1) * DAY - 1))


def _weeks(arrivals: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    for _, of_week in groupby(arrivals, key=lambda each: each.at // (REST_DAYS * DAY)):
        yield list(of_week)


def _at(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
