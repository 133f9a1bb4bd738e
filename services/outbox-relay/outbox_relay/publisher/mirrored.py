"""A copy of the cursor in PostgreSQL, for people and for whoever removes old rows; and the way back from the mode
`idempotent`, whose cursor counts until a transaction carried a later one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from millrace.telemetry import describe
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.page import Record
from outbox_relay.publisher.contract import Batches, CursorStore, Publisher, nothing

log = logging.getLogger("outbox_relay")

COPY_SECONDS = 5.0


class Mirrored:
    """A transactional Publisher with its cursor copied beside the way, some seconds late: nothing waits for it,
    and when it fails nothing but the copy is old."""

    def __init__(self, inner: Publisher, cursors: CursorStore, every_seconds: float = COPY_SECONDS) -> None:
        self.inner, self.lane = inner, inner.lane
        self.cursors, self.every = cursors, every_seconds
        self._copying: asyncio.Task[None] | None = None
        self._due = 0.0

    async def fence(self) -> Cursor | None:
        """The cursor topic's, or the one that the mode `idempotent` left behind it, if that is later."""
        left, self._due = await self.inner.fence(), 0.0
        return later(left, await self.cursors.take())

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        return await self.inner.partitions(topics)

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches:
        return self.inner.encode(batches)

    async def publish(self, batches: Batches, cursor: Cursor, halfway: Callable[[], None] = nothing) -> None:
        await self.inner.publish(batches, cursor, halfway)
        if time.monotonic() >= self._due and (self._copying is None or self._copying.done()):
            self._due = time.monotonic() + self.every
            self._copying = asyncio.create_task(self._copy(cursor))

    async def discard(self) -> None:
        copying, self._copying = self._copying, None
        if copying:
            copying.cancel()
            await asyncio.wait([copying])
        await self.inner.discard()
        await self.cursors.close()

    async def _copy(self, cursor: Cursor) -> None:
        try:
            if not await self.cursors.mirror(cursor):
                log.warning("the cursor is not copied: a later term has begun")
        except Exception as problem:  # a copy is worth no more than a line
            log.warning("the cursor could not be copied", extra={"problem": describe(problem)})


def later(one: Cursor | None, other: Cursor | None) -> Cursor | None:
    """Of two cursors of one lane, the one that covers more."""
    return max((it for it in (one, other) if it), key=_progress, default=None)


def _progress(cursor: Cursor) -> tuple[int, int, int, int]:
    """What never falls from one cursor of a lane to the next."""
    published = sum(map(sum, cursor.pseq.values()))
    return cursor.generation, published, cursor.redriven, cursor.position.proven
