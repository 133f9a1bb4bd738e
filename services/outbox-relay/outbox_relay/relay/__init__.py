"""A relay of one lane: it waits for the lease, leads while it holds it, and starts over after any failure.

standby ── lease ──▶ leading: fence, cursor, identity, rows … ── failure ──▶ fence anew
   ▲                     │ lease lost
   └── nobody else has it┴─▶ somebody has: it is deposed, and nothing of its old life goes on

`lanes` runs one for each lane of the process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiokafka.errors import UnknownTopicOrPartitionError

from millrace.telemetry import describe
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor, Halt, begin
from outbox_relay.domain.lane import Lane
from outbox_relay.publisher import Halted, Publisher, Rejected
from outbox_relay.relay.quarantine import Quarantine
from outbox_relay.relay.stream import Pace, Source, Stream, pause

__all__ = ["Candidate", "Crew", "Deposed", "Halted", "Lease", "Pace", "Relay", "Source", "Upkeep"]

log = logging.getLogger("outbox_relay")

STANDBY_SECONDS = 0.25  # between two questions for the lease: most of what a hand-over takes
AGAIN_SECONDS = (0.1, 5.0)  # first and longest pause after a failure


class Deposed(Exception):
    """Another relay leads now."""


class NoCursorTopic(Exception):
    """The lane's cursor has no place to be kept. The words say which it is."""


class Lease(Protocol):
    """The right to publish. `lost` is set as soon as it may have passed to somebody else.

    confirm() asks whether it is still held, and raises when it is not.
    """

    lost: asyncio.Event

    async def confirm(self) -> None: ...

    async def release(self) -> None: ...


class Candidate(Protocol):
    """Who may become leader. `ask` answers None while another relay leads; `leave` ends the candidacy."""

    async def ask(self) -> Lease | None: ...

    async def leave(self) -> None: ...


class Upkeep(Protocol):
    """What a leader does beside publishing. Nothing of it may disturb that: run() works until it is cancelled.

    heard    when something that it wrote last came back from Kafka; 0 before
    wrong()  what it found amiss, for readiness
    """

    heard: float

    def wrong(self) -> str: ...

    async def run(self) -> None: ...


class Crew:
    """The relays of one process. The more of them lead, the longer the others let other processes ask first, so
    that processes share the lanes."""

    leading = 0

    @property
    def courtesy_seconds(self) -> float:
        return STANDBY_SECONDS * self.leading


class Relay:
    """Carries one lane, whenever it is elected."""

    def __init__(
        self,
        lane: Lane,
        candidate: Candidate,
        source: Callable[[], AbstractAsyncContextManager[Source]],
        publisher: Publisher,
        pace: Pace,
        quarantine: Quarantine,
        upkeep: Upkeep | None = None,
    ) -> None:
        self.lane, self.name = lane, f"relay {lane}"
        self.lease: Callable[[], Awaitable[Lease | None]] = candidate.ask
        self.candidate, self.source, self.publisher = candidate, source, publisher
        self.pace, self.quarantine, self.upkeep = pace, quarantine, upkeep
        self.crew = Crew()
        self.stream: Stream | None = None
        self.led = self.leading = False
        self.trouble = ""  # what went wrong last
        self._progressed = time.monotonic()

    def ready(self) -> str:
        """Progress is a commit, a heartbeat that came back, or, for a standby, a leader found in office."""
        if self.leading and self.stream and self.stream.holding:
            return self.stream.holding
        quiet = time.monotonic() - self.progressed
        if quiet > self.pace.stalled_seconds:
            return f"no progress for {quiet:.0f} s" + (f": {self.trouble}" if self.trouble else "")
        return self.upkeep.wrong() if self.leading and self.upkeep else ""

    @property
    def progressed(self) -> float:
        """When it last did."""
        streamed = self.stream.committed if self.stream else 0.0
        return max(self._progressed, streamed, self.upkeep.heard if self.upkeep else 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Raises: Halted when a person must decide; Deposed when another relay took over."""
        self.led = False
        try:
            while not stop.is_set():
                if lease := await self._elected(stop):
                    await self._lead(lease, stop)
        finally:
            await self.candidate.leave()

    async def _elected(self, stop: asyncio.Event) -> Lease | None:
        while not stop.is_set():
            await pause(stop, self.crew.courtesy_seconds)
            try:
                lease = await self.lease()
            except Exception as problem:  # whatever keeps the database away, it is asked again
                self.trouble = describe(problem)
                log.warning("lease could not be asked for", extra=self._extra())
            else:
                self._progressed, self.trouble = time.monotonic(), ""
                if lease:
                    return lease
                if self.led:
                    raise Deposed(f"another relay leads {self.lane}")
            await pause(stop, STANDBY_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 two never ask in step for ever
        return None

    async def _lead(self, lease: Lease, stop: asyncio.Event) -> None:
        """Publish until the lease is lost, and not a step further."""
        self._office(True)
        log.info("leading", extra={"lane": str(self.lane)})
        work = asyncio.create_task(self._terms(lease, stop))
        lost = asyncio.create_task(lease.lost.wait())
        beside = asyncio.create_task(self._beside())
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                log.warning("lease lost", extra={"lane": str(self.lane)})
        finally:
            await _cancelled(work, lost, beside)
            await self.publisher.discard()
            await lease.release()
            self._office(False)

    def _office(self, taken: bool) -> None:
        self.leading, self.led, self.stream = taken, True, None
        self.crew.leading += 1 if taken else -1
        if taken:
            metrics.LEADER.labels(str(self.lane)).set(1)
        else:
            metrics.stands_by(str(self.lane))

    async def _beside(self) -> None:
        if self.upkeep:
            await self.upkeep.run()

    async def _terms(self, lease: Lease, stop: asyncio.Event) -> None:
        """Term after term, each with a producer of its own. Nobody is fenced without the lease."""
        shortest, again = AGAIN_SECONDS[0], AGAIN_SECONDS[0]
        while not stop.is_set():
            began = time.monotonic()
            try:
                await lease.confirm()
                await self._term(stop)
            except Halted:
                raise
            except Exception as problem:  # the client raises AssertionError too: any doubt ends the term
                self.trouble = str(problem) if isinstance(problem, NoCursorTopic) else describe(problem)
                log.warning("starting over", extra=self._extra())
                await self.publisher.discard()
                fresh = isinstance(problem, Rejected) or time.monotonic() - began > 30
                again = shortest if fresh else min(2 * again, AGAIN_SECONDS[1])
                await pause(stop, again)

    async def _term(self, stop: asyncio.Event) -> None:
        """The order is the correctness: fence, cursor, identity, rows."""
        left = await self._fenced()
        async with self.source() as source:
            cursor = await self._beginning(source, left)
            before = self.stream.committed if self.stream else None
            self.stream = Stream(source, self.publisher, cursor, self.pace, self.quarantine, before)
            await self.stream.follow(stop)

    async def _fenced(self) -> Cursor | None:
        try:
            return await self.publisher.fence()
        except UnknownTopicOrPartitionError as problem:
            raise NoCursorTopic(MISSING.format(lane=self.lane)) from problem

    async def _beginning(self, source: Source, left: Cursor | None) -> Cursor:
        found, now = await source.identity()
        cursor = begin(left, found, now, self.lane, await source.obstacles())
        if isinstance(cursor, Halt):
            raise Halted(cursor.words)
        if left is None:
            log.warning("no cursor: beginning at the first row of the outbox", extra={"lane": str(self.lane)})
        return cursor

    def _extra(self) -> dict[str, str]:
        return {"lane": str(self.lane), "problem": self.trouble}


MISSING = (
    "lane {lane} has no cursor topic: make it with one partition and cleanup.policy=compact, named RELAY_CURSOR_TOPIC, "
    "and for every lane but main with its name behind it (millrace.relay.cursor.billing)"
)


async def _cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
