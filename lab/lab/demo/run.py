"""The demo itself: stack, processes, deliveries day by day, quiet, proof, digest."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import asyncpg

from lab.demo.compare import compare, digest
from lab.demo.processes import Owner, Processes, processes
from lab.demo.site import SERVICES, Endpoint, Site, prepare, remember
from lab.demo.story import Posting, Story
from lab.stack import manage
from millrace import postgres
from millrace.sealing import Keys, provider
from operations import flow, verify
from operations.send import Sender, sender
from operations.settings import ENV_FILE

AT_ONCE = 32  # deliveries side by side
REST_DAYS = 7  # how often the demo waits for everything to be quiet
Advance = Callable[[str, int], None]  # what is going on, and how many deliveries are done


@dataclass(slots=True)
class Result:
    """What one run ended with."""

    site: Site
    checks: list[verify.Check]
    digest: str
    deliveries: int
    retries: int
    killed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True)
class Running:
    """A demo that has proved its end, every process of it still alive."""

    result: Result
    services: Processes
    connection: postgres.Connection


async def run(
    story: Story,
    folder: Path,
    *,
    chaos: int | None,
    say: Callable[[str], None],
    advance: Advance,
    env_file: Path = ENV_FILE,
) -> Result:
    """As `playing`, and that is all. Leaves: PostgreSQL and Kafka running when all went well."""
    async with playing(
        story, folder, chaos=chaos, say=say, advance=advance, env_file=env_file, keep=True
    ) as running:
        return running.result


@asynccontextmanager
async def playing(
    story: Story,
    folder: Path,
    *,
    chaos: int | None,
    say: Callable[[str], None],
    advance: Advance,
    env_file: Path = ENV_FILE,
    keep: bool,
) -> AsyncIterator[Running]:
    """Play a story through a fresh stack. `chaos` seeds when each process is killed; None kills nobody.

    Writes: everything below `folder`, which is wiped first; `env_file` for the `millrace` command.
    Leaves: PostgreSQL and Kafka running when all went well and they are to be kept, nothing at all otherwise.
    """
    manage.down(folder, wipe=True)
    shutil.rmtree(folder / "processes", ignore_errors=True)
    with Owner(folder) as owner:
        try:
            stack = manage.up(folder, say=say)
            site = await prepare(folder, stack, story.endpoints, story.starts)
            remember(site, story.endpoints[0], env_file)
            async with processes(site) as services, _connected(site) as connection:
                yield await _play(story, services, connection, chaos, advance)
        except BaseException:
            manage.down(folder)
            raise
        if keep:
            owner.keep()
        else:
            manage.down(folder)


async def _play(
    story: Story,
    services: Processes,
    connection: postgres.Connection,
    chaos: int | None,
    advance: Advance,
) -> Running:
    """Deliver it all, and prove the end."""
    site = services.site
    post = Post(site, story, services, flow.Quiet(connection), _kills(story, chaos), advance)
    sent = await post.deliver()
    await flow.published(connection, site.stack.kafka)
    advance("proving", story.deliveries)
    checks = await verify.verify(connection, site.stack.kafka, sent.acknowledged)
    checks += await compare(connection, story.truth) if story.truth else []
    async with await postgres.pool(site.database, size=1) as pool:
        end = await digest(connection, Keys(pool, provider(site.keys)))
    result = Result(site, checks, end, sent.deliveries, sent.retries, services.killed)
    return Running(result, services, connection)


@asynccontextmanager
async def _connected(site: Site) -> AsyncIterator[postgres.Connection]:
    connection: postgres.Connection = await asyncpg.connect(site.database)
    try:
        await postgres.prepare(connection)
        yield connection
    finally:
        await connection.close()


def _kills(story: Story, chaos: int | None) -> dict[int, str]:
    """delivery number → the service that is killed there; each once, somewhere in the middle of the story."""
    if chaos is None:
        return {}
    chance = random.Random(f"{chaos}:kills")  # noqa: S311 a schedule, not a secret
    first, last = story.deliveries // 20, story.deliveries * 19 // 20
    return dict(zip(sorted(chance.sample(range(first, last), len(SERVICES))), SERVICES, strict=True))


class Post:
    """Delivers a story, turning the clock as it goes."""

    def __init__(
        self,
        site: Site,
        story: Story,
        services: Processes,
        quiet: flow.Quiet,
        kills: dict[int, str],
        advance: Advance,
    ) -> None:
        self.site, self.story, self.services = site, story, services
        self.quiet, self.kills, self.advance = quiet, kills, advance
        self.done = 0

    async def deliver(self) -> Sent:
        """Everything, day by day, until all is quiet at the end of the last."""
        total = Sent()
        async with AsyncExitStack() as open_:
            senders = {
                endpoint: await open_.enter_async_context(
                    sender(self.site.url(endpoint), self.site.secret, self.site.clock, at_once=AT_ONCE)
                )
                for endpoint in self.story.endpoints
            }
            for number, (day, of_day) in enumerate(self.story.days, 1):
                await self._day(day, of_day, senders)
                if number % REST_DAYS == 0:
                    await self._rest(day)
            self.site.clock.turn(self.story.ends)
            await self.quiet.wait(self.story.ends)
            for each in senders.values():
                total.add(each)
        return total

    async def _day(self, day: date, of_day: list[Posting], senders: dict[Endpoint, Sender]) -> None:
        """Turn the clock to the end of the day, and deliver it."""
        self.site.clock.turn(_evening(day))
        for endpoint, sender_ in senders.items():
            bodies = [(posting.body, posting.event_id) for posting in of_day if posting.endpoint == endpoint]
            await sender_.send_all(bodies, at_once=AT_ONCE, progress=lambda: self._delivered(day))

    def _delivered(self, day: date) -> None:
        self.done += 1
        self.advance(f"{day:%d %B %Y}", self.done)
        if victim := self.kills.get(self.done):
            self.services.kill(victim)

    async def _rest(self, day: date) -> None:
        self.services.revive()
        await self.quiet.wait(_evening(day))


@dataclass(slots=True)
class Sent:
    """What all senders together have done."""

    acknowledged: set[str] = field(default_factory=set)
    deliveries: int = 0
    retries: int = 0

    def add(self, of: Sender) -> None:
        if of.sent.refused:
            event, status, why = of.sent.refused[0]
            raise RuntimeError(
                f"{len(of.sent.refused)} deliveries refused, the first {event}: {status} {why}"
            )
        self.acknowledged |= of.sent.acknowledged
        self.deliveries += of.sent.deliveries
        self.retries += of.sent.retries


def _evening(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(days=1, seconds=-1)
