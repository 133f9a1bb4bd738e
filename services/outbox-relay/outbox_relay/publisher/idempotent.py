"""Publishing without transactions: one round trip, no waiting for markers, and at least once.

The records of a page are acknowledged first; then the cursor is saved in PostgreSQL. A page comes twice when

1. the relay ends, or loses PostgreSQL, after the broker took records and before the cursor was saved;
2. a deadline passes, or the broker fails, while it takes them: some are in, and all are sent again by a producer
   that the broker does not know. So long as one producer lives, its own repetitions are recognised and dropped;
3. a leader that was deposed still has records on the way; it saves no cursor, for its term has passed;
4. the mode is changed while a relay of the other one runs.

Repeated records have the same outbox id and the same number in their partition, so consumers drop them.
Readers see records as they arrive: `read_committed` holds nothing back, and half a page may be seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from millrace import topics
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Record
from outbox_relay.publisher.client import Catalog, Producer
from outbox_relay.publisher.contract import (
    IN_DOUBT,
    Batches,
    CursorStore,
    Superseded,
    Unacknowledged,
    nothing,
)
from outbox_relay.publisher.cursors import last_cursor
from outbox_relay.publisher.txn import delivered, encoded, timed


class IdempotentPublisher:
    """A Publisher that is at least once. A term in PostgreSQL does what a transactional id does: only the last
    leader moves the cursor."""

    def __init__(
        self,
        kafka: str,
        lane: Lane,
        cursors: CursorStore,
        *,
        cursor_prefix: str = topics.RELAY_CURSOR,
        deadline_seconds: float,
        batch_bytes: int,
    ) -> None:
        self.kafka, self.lane, self.cursors = kafka, lane, cursors
        self.cursor_topic, self.deadline = lane.cursor_topic(cursor_prefix), deadline_seconds
        self.catalog = Catalog(batch_bytes)
        self.producer: Producer | None = None
        self.sound = False

    async def fence(self) -> Cursor | None:
        """The saved cursor; before the first one was saved, what transactions left in the cursor topic."""
        await self.discard()
        self.producer = Producer(
            self.kafka, None, seconds=self.deadline, transaction_seconds=self.deadline,
            batch=self.catalog.batch_bytes,
        )  # fmt: skip
        async with asyncio.timeout(self.deadline):
            await self.producer.start()
        metrics.FENCES.labels(str(self.lane)).inc()
        async with asyncio.timeout(2 * self.deadline):
            left = await self.cursors.take() or await last_cursor(self.kafka, self.cursor_topic)
        self.sound = True
        return left

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        async with asyncio.timeout(self.deadline):
            return await self.catalog.partitions(self._live.client, topics)

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches:
        return list(encoded(batches, self.catalog, transactional=False))

    async def publish(self, batches: Batches, cursor: Cursor, halfway: Callable[[], None] = nothing) -> None:
        """Records, then the cursor. Raises: Superseded when another leader has begun a later term."""
        await timed(self.lane, self.send(batches, cursor), halfway, lambda: self.commit(cursor))
        self.sound = True

    async def send(self, batches: Batches, cursor: Cursor) -> None:
        producer = self._live
        if not self.sound:
            raise Unacknowledged(IN_DOUBT)
        self.sound = False
        async with asyncio.timeout(self.deadline):
            await delivered(producer, batches, self.catalog)

    async def commit(self, cursor: Cursor) -> None:
        async with asyncio.timeout(self.deadline):
            if not await self.cursors.save(cursor):
                raise Superseded(f"another relay has begun to publish the lane {self.lane}")

    async def discard(self) -> None:
        producer, self.producer, self.sound = self.producer, None, False
        if producer:
            await producer.discard()
        await self.cursors.close()

    @property
    def _live(self) -> Producer:
        if self.producer is None:
            raise Unacknowledged(IN_DOUBT)
        return self.producer
