"""One term: page after page into Kafka, the next one read while this one is on its way.

read │ plan │ send ─────── commit ──▶          a long window: the next page is read while this one is sent
     └────────────────┬── read │ plan │ send   its end: as late as it costs nothing, when all is acknowledged and
                      └─ while it commits      only the commit is left; so it brings the most
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from millrace import tracing
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor, Identity, Obstacles, Position, Snapshot
from outbox_relay.domain.page import Page, Plan, Refused
from outbox_relay.publisher import Batches, Publisher, Rejected, nothing
from outbox_relay.relay.ahead import ReadAhead
from outbox_relay.relay.quarantine import Quarantine
from outbox_relay.store.threads import worked

log = logging.getLogger("outbox_relay")


class Source(Protocol):
    """Committed outbox rows, each exactly once, rows of one key in commit order.

    identity()  which history of which database this is, and how far it has come
    obstacles() what only a person may step over before the first page
    page()      the next rows, and the position that must be published with them
    Replay:     page() called again with the same position returns the same rows, or those and later ones
    """

    async def identity(self) -> tuple[Identity, Snapshot]: ...

    async def obstacles(self) -> Obstacles: ...

    async def page(self, position: Position) -> Page: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how patient; see `settings` for the reasons."""

    poll_seconds: float = 0.005
    idle_seconds: float = 0.2
    heartbeat_seconds: float = 5.0
    retry_seconds: float = 5.0
    stalled_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """A page made ready to be sent, and the cursor that goes with it."""

    page: Page
    plan: Plan
    batches: Batches
    cursor: Cursor


class Stream:
    """Follows the outbox from a cursor. Any exception ends the term; nothing of it is used again."""

    def __init__(
        self,
        source: Source,
        publisher: Publisher,
        cursor: Cursor,
        pace: Pace,
        quarantine: Quarantine,
        committed: float | None = None,
    ) -> None:
        self.pages, self.publisher, self.cursor, self.pace = ReadAhead(source), publisher, cursor, pace
        self.quarantine = quarantine
        self.lane = str(publisher.lane)
        self.holding = ""  # why it stands before a row; '' when it does not
        self.committed = time.monotonic() if committed is None else committed  # the last time, in any term
        self.wait = pace.poll_seconds
        self.oldest: datetime | None = None
        self._ahead: asyncio.Task[Load] | None = None
        self._xmin, self._xmin_since = 0, time.monotonic()
        metrics.HEARTBEAT_AGE.labels(self.lane).set_function(lambda: time.monotonic() - self.committed)
        metrics.OLDEST_UNPUBLISHED_AGE.labels(self.lane).set_function(self._oldest_age)

    async def follow(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; what has begun is finished."""
        async with self.quarantine.term(self.cursor):
            try:
                while not stop.is_set():
                    await self._step(await self._next(), stop)
                    if not self._ahead:
                        await self._redrive()
            finally:
                await self._drop_ahead()

    async def _next(self) -> Load:
        ahead, self._ahead = self._ahead, None
        return await (ahead or self._load(self.cursor))

    def _read_on(self, cursor: Cursor) -> None:
        """Begin with the page behind a cursor that is not committed yet. If it never is, nothing of it counts."""
        if self._ahead is None and not self.quarantine.due:
            self._ahead = asyncio.create_task(self._load(cursor))

    async def _drop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead:
            ahead.cancel()
            with suppress(asyncio.CancelledError, Exception):  # a page that nobody will publish
                await ahead
        await self.pages.close()

    async def _load(self, cursor: Cursor) -> Load:
        """Read, distribute, encode: what can go wrong with a row does so before a transaction is open."""
        with self._timed("read"):
            page = await self.pages.page(cursor.position)
        with self._timed("plan"):
            page = self.quarantine.narrowed(page, cursor.position)
            made = await self.quarantine.planned(page.rows, cursor, self.publisher)
            if made.held:
                page = page.before(made.held.row_id, cursor.position)
            size = sum(row.size for row in page.rows)
            batches = await worked(len(page.rows), size, self.publisher.encode, made.batches)
        return Load(page, made, batches, replace(cursor, position=page.position, pseq=made.pseq))

    def _timed(self, part: str) -> AbstractContextManager[Any]:
        timer: AbstractContextManager[Any] = metrics.CYCLE_SECONDS.labels(self.lane, part).time()
        return timer

    async def _step(self, load: Load, stop: asyncio.Event) -> None:
        self.oldest = load.page.since
        if load.page.rows:
            await self._publish(load)
            self.wait = self.pace.poll_seconds
        elif load.plan.held:
            await self._hold(load.plan.held, stop)
        else:
            await self._idle(load, stop)

    async def _publish(self, load: Load) -> None:
        if load.page.goes_on:
            self._read_on(load.cursor)
        more = partial(self._read_on, load.cursor) if load.page.rows else nothing
        await self._commit(load.plan, load.batches, load.cursor, more)
        self.oldest = None
        self.quarantine.passed(load.plan)
        self._let_go()

    async def _redrive(self) -> None:
        """Carry out what operators decided about parked rows."""
        if decided := await self.quarantine.decided(self.cursor, self.publisher):
            made, cursor = decided
            await self._commit(made, self.publisher.encode(made.batches), cursor, decision=cursor.redriven)
            await self.quarantine.settled(cursor)

    async def _commit(
        self,
        made: Plan,
        batches: Batches,
        cursor: Cursor,
        halfway: Callable[[], None] = nothing,
        decision: int | None = None,
    ) -> None:
        try:
            with self._traced(made):
                await self.publisher.publish(batches, cursor, halfway)
        except Rejected as refusal:
            await self.quarantine.refused(made, refusal, decision)
            raise
        self.cursor, self.committed = cursor, time.monotonic()
        for topic, rows in made.published.items():
            metrics.PUBLISHED.labels(self.lane, topic).inc(rows)

    def _traced(self, made: Plan) -> tracing.Span:
        """The span of a page, which links to the traces in it."""
        if not made.batches:  # the cursor alone
            return tracing.Span()
        counted: tracing.Attributes = {tracing.LANE: self.lane, tracing.COUNT: sum(made.published.values())}
        return tracing.many(
            "publish", "producer", _traces(made), since=self.oldest, attributes={**SENDING, **counted}
        )

    async def _idle(self, load: Load, stop: asyncio.Event) -> None:
        """Nothing to do; now and then the cursor is committed alone, so that the whole way is known to work."""
        self.cursor = load.cursor
        self._watch(load.page.window)
        self._let_go()
        if time.monotonic() - self.committed > self.pace.heartbeat_seconds:
            await self._publish(load)
        await pause(stop, self.wait)
        self.wait = min(2 * self.wait, self.pace.idle_seconds)

    async def _hold(self, refused: Refused, stop: asyncio.Event) -> None:
        """Stand before a row that cannot go, and look again later; never step over it."""
        self.holding = f"outbox row {refused.row_id} cannot be published: {refused.detail}"
        metrics.HELD.labels(self.lane, refused.reason).set(1)
        log.error("holding", extra={"outbox_id": refused.row_id, "reason": refused.reason})
        await pause(stop, self.pace.retry_seconds)

    def _let_go(self) -> None:
        if self.holding:
            self.holding = ""
            metrics.HELD.remove_by_labels({"lane": self.lane})

    def _watch(self, window: Snapshot) -> None:
        """How long the same transaction has been the oldest open one."""
        if window.xmin != self._xmin or window.xmin == window.xmax:
            self._xmin, self._xmin_since = window.xmin, time.monotonic()
        metrics.OLDEST_TRANSACTION_AGE.labels(self.lane).set(time.monotonic() - self._xmin_since)

    def _oldest_age(self) -> float:
        return (datetime.now(UTC) - self.oldest).total_seconds() if self.oldest else 0.0


SENDING: tracing.Attributes = {
    tracing.SYSTEM: "kafka",
    tracing.OPERATION: "publish",
    tracing.OPERATION_TYPE: "send",
}


def _traces(made: Plan) -> Iterator[str]:
    """The traceparents of a plan's records."""
    for records in made.batches.values():
        for record in records:
            yield from (value.decode("latin-1") for name, value in record.headers if name == "traceparent")


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until `stop`."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
