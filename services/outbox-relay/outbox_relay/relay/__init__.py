"""One relay of several: it waits for the lease, leads while it holds it, and starts over after any failure.

standby ── lease ──▶ leading: fence, cursor, identity, rows … ── failure ──▶ fence anew
   ▲                     │ lease lost
   └── nobody else has it┴─▶ somebody has: the process ends, so that nothing of its old life goes on
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from millrace.telemetry import describe
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor, Halt, begin
from outbox_relay.publisher import Halted, TxnPublisher
from outbox_relay.relay.stream import Pace, Source, Stream, pause

__all__ = ["Deposed", "Halted", "Pace", "Relay", "Source"]

log = logging.getLogger("outbox_relay")

STANDBY_SECONDS = 1.0
AGAIN_SECONDS = (0.1, 5.0)  # first and longest pause after a failure


class Deposed(Exception):
    """Another relay leads now."""


class Lease(Protocol):
    """The right to publish. `lost` is set as soon as it may have passed to somebody else.

    confirm() asks whether it is still held, and raises when it is not.
    """

    lost: asyncio.Event

    async def confirm(self) -> None: ...

    async def release(self) -> None: ...


class Relay:
    """The part that a process runs. `lease` answers None while another relay holds it."""

    name = "relay"

    def __init__(
        self,
        lease: Callable[[], Awaitable[Lease | None]],
        source: Callable[[], AbstractAsyncContextManager[Source]],
        publisher: TxnPublisher,
        pace: Pace,
        adopt: str = "",
    ) -> None:
        self.lease, self.source, self.publisher = lease, source, publisher
        self.pace, self.adopt = pace, adopt
        self.stream: Stream | None = None
        self.led = False
        self._progressed = time.monotonic()

    def ready(self) -> str:
        """Progress is a commit, an outbox found empty, or, for a standby, a leader found in office."""
        if self.stream and self.stream.holding:
            return self.stream.holding
        quiet = time.monotonic() - max(self._progressed, self.stream.progressed if self.stream else 0)
        return f"no progress for {quiet:.0f} s" if quiet > self.pace.stalled_seconds else ""

    async def run(self, stop: asyncio.Event) -> None:
        """Raises: Halted when a person must decide; Deposed when another relay took over."""
        while not stop.is_set():
            if lease := await self._elected(stop):
                await self._lead(lease, stop)

    async def _elected(self, stop: asyncio.Event) -> Lease | None:
        while not stop.is_set():
            try:
                lease = await self.lease()
            except Exception as problem:  # whatever keeps the database away, it is asked again
                log.warning("lease could not be asked for", extra={"problem": describe(problem)})
            else:
                self._progressed = time.monotonic()
                if lease:
                    return lease
                if self.led:
                    raise Deposed("another relay leads this outbox")
            await pause(stop, STANDBY_SECONDS)
        return None

    async def _lead(self, lease: Lease, stop: asyncio.Event) -> None:
        """Publish until the lease is lost, and not a step further."""
        self.led = True
        metrics.LEADER.set(1)
        log.info("leading")
        work = asyncio.create_task(self._terms(lease, stop))
        lost = asyncio.create_task(lease.lost.wait())
        try:
            await asyncio.wait({work, lost}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            else:
                log.warning("lease lost")
        finally:
            await _cancelled(work, lost)
            await self.publisher.discard()
            await lease.release()
            metrics.LEADER.set(0)

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
                log.warning("starting over", extra={"problem": describe(problem)})
                await self.publisher.discard()
                again = shortest if time.monotonic() - began > 30 else min(2 * again, AGAIN_SECONDS[1])
                await pause(stop, again)

    async def _term(self, stop: asyncio.Event) -> None:
        """The order is the correctness: fence, cursor, identity, rows."""
        left = await self.publisher.fence()
        async with self.source() as source:
            cursor = await self._beginning(source, left)
            self.stream = Stream(source, self.publisher, cursor, self.pace)
            await self.stream.follow(stop)

    async def _beginning(self, source: Source, left: Cursor | None) -> Cursor:
        found, now = await source.identity()
        cursor = begin(left, found, now, self.adopt)
        if isinstance(cursor, Halt):
            raise Halted(cursor.words)
        if left is None:
            log.warning("no cursor: beginning at the first row of the outbox")
        return cursor


async def _cancelled(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
