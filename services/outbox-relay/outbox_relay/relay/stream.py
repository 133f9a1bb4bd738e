"""One term: page after page into Kafka, the next one read while this one commits."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.page import Page, Plan, Refused, plan
from outbox_relay.publisher import Batches, TxnPublisher

log = logging.getLogger("outbox_relay")


class Source(Protocol):
    """Committed outbox rows, each exactly once, rows of one key in commit order.

    identity()  which history of which database this is, and how far it has come
    page()      the next rows, and the position that must be published with them
    Replay:     page() called again with the same position returns the same rows, or those and later ones
    """

    async def identity(self) -> tuple[Identity, Snapshot]: ...

    async def page(self, position: Position) -> Page: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how patient; see `settings` for the reasons."""

    poll_seconds: float = 0.005
    idle_seconds: float = 0.2
    heartbeat_seconds: float = 5.0
    retry_seconds: float = 5.0
    stalled_seconds: float = 30.0
    record_bytes: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Load:
    """A page made ready to be sent, and the cursor that goes with it."""

    page: Page
    plan: Plan
    batches: Batches
    cursor: Cursor


class Stream:
    """Follows the outbox from a cursor. Any exception ends the term; nothing of it is used again."""

    def __init__(self, source: Source, publisher: TxnPublisher, cursor: Cursor, pace: Pace) -> None:
        self.source, self.publisher, self.cursor, self.pace = source, publisher, cursor, pace
        self.holding = ""  # why it stands before a row; '' when it does not
        self.progressed = self.committed = time.monotonic()
        self.wait = pace.poll_seconds
        self.oldest: datetime | None = None
        self._xmin, self._xmin_since = 0, time.monotonic()
        metrics.HEARTBEAT_AGE.set_function(lambda: time.monotonic() - self.committed)
        metrics.OLDEST_UNPUBLISHED_AGE.set_function(self._oldest_age)

    async def follow(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; what has begun is finished."""
        ahead: asyncio.Task[Load] | None = None
        try:
            while not stop.is_set():
                load = await (ahead or self._load(self.cursor))
                ahead = asyncio.create_task(self._load(load.cursor)) if load.page.goes_on else None
                await self._step(load, stop)
        finally:
            if ahead:
                ahead.cancel()
                with suppress(asyncio.CancelledError, Exception):  # a page that nobody will publish
                    await ahead

    async def _load(self, cursor: Cursor) -> Load:
        """Read, distribute, encode: what can go wrong with a row does so before a transaction is open."""
        with metrics.PAGE_SECONDS.time():
            page = await self.source.page(cursor.position)
        partitions = await self.publisher.partitions({row.topic for row in page.rows})
        made = plan(page.rows, partitions, cursor.pseq, self.pace.record_bytes)
        if made.refused:
            page = page.before(made.refused.row_id, cursor.position)
        batches = self.publisher.encode(made.batches)
        return Load(page, made, batches, replace(cursor, position=page.position, pseq=made.pseq))

    async def _step(self, load: Load, stop: asyncio.Event) -> None:
        self.oldest = load.page.since
        if load.page.rows:
            await self._publish(load)
            self.wait = self.pace.poll_seconds
        elif load.plan.refused:
            await self._hold(load.plan.refused, stop)
        else:
            await self._idle(load, stop)

    async def _publish(self, load: Load) -> None:
        await self.publisher.publish(load.batches, load.cursor)
        self.cursor, self.oldest = load.cursor, None
        self.progressed = self.committed = time.monotonic()
        self._let_go()
        for topic, rows in load.plan.published.items():
            metrics.PUBLISHED.labels(topic).inc(rows)

    async def _idle(self, load: Load, stop: asyncio.Event) -> None:
        """Nothing to do; now and then the cursor is committed alone, so that the whole way is known to work."""
        self.cursor, self.progressed = load.cursor, time.monotonic()
        self._watch(load.page.window)
        self._let_go()
        if time.monotonic() - self.committed > self.pace.heartbeat_seconds:
            await self._publish(load)
        await pause(stop, self.wait)
        self.wait = min(2 * self.wait, self.pace.idle_seconds)

    async def _hold(self, refused: Refused, stop: asyncio.Event) -> None:
        """Stand before a row that cannot go, and look again later; never step over it."""
        self.holding = f"outbox row {refused.row_id} cannot be published: {refused.detail}"
        metrics.HELD.labels(refused.reason).set(1)
        log.error("holding", extra={"outbox_id": refused.row_id, "reason": refused.reason})
        await pause(stop, self.pace.retry_seconds)

    def _let_go(self) -> None:
        if self.holding:
            self.holding = ""
            metrics.HELD.clear()

    def _watch(self, window: Snapshot) -> None:
        """How long the same transaction has been the oldest open one."""
        if window.xmin != self._xmin or window.xmin == window.xmax:
            self._xmin, self._xmin_since = window.xmin, time.monotonic()
        metrics.OLDEST_TRANSACTION_AGE.set(time.monotonic() - self._xmin_since)

    def _oldest_age(self) -> float:
        return (datetime.now(UTC) - self.oldest).total_seconds() if self.oldest else 0.0


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until `stop`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
