"""Publishing: a page and its cursor become visible together, once, or not at all.

The client's `commit_transaction` reports success after batches that failed: only a batch's own future
knows. And a producer that has seen a failure has used up sequence numbers and fails from then on. So:

1. every future is awaited before the commit is asked for;
2. any error, and any deadline, ends this producer: its successor fences it and reads the cursor again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.page import Record
from outbox_relay.publisher.client import Producer
from outbox_relay.publisher.cursors import Halted, decided, last_cursor

__all__ = ["Batches", "Halted", "TxnPublisher", "Unacknowledged", "last_cursor"]

SCAN_SECONDS = 10.0  # how often a coordinator looks for transactions that have timed out

Batches = Sequence[tuple[str, int, Any]]  # topic, partition, the client's filled batch


class Unacknowledged(Exception):
    """A batch was not acknowledged; the transaction must not commit."""


class TxnPublisher:
    """The one producer of an outbox. Its transactional id is named after the cursor topic:
    whoever could move this cursor is fenced by whoever reads it.

    fence()     takes over from every earlier producer; returns the cursor it left
    encode()    rows as batches, before any transaction is open
    publish()   one transaction; any exception means: discard, and fence anew
    discard()   never flushes, never aborts
    """

    def __init__(
        self,
        kafka: str,
        cursor_topic: str,
        *,
        deadline_seconds: float,
        transaction_seconds: float,
        batch_bytes: int,
    ) -> None:
        self.kafka, self.cursor_topic = kafka, cursor_topic
        self.deadline, self.transaction = deadline_seconds, transaction_seconds
        self.batch_bytes = batch_bytes
        self.producer: Producer | None = None

    async def fence(self) -> Cursor | None:
        """Raises: Halted when something that an earlier producer left stays undecided."""
        await self.discard()
        self.producer = Producer(
            self.kafka, f"outbox-relay.{self.cursor_topic}",
            seconds=self.deadline, transaction_seconds=self.transaction, batch=self.batch_bytes,
        )  # fmt: skip
        async with asyncio.timeout(self.deadline + self.transaction):
            await self.producer.start()
        metrics.FENCES.inc()
        patience = self.transaction + SCAN_SECONDS
        async with asyncio.timeout(self.deadline + patience):
            await decided(self.kafka, self.cursor_topic, patience)
        async with asyncio.timeout(self.deadline):
            return await last_cursor(self.kafka, self.cursor_topic)

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Of the topics that exist, the number of partitions."""
        wanted, cluster = set(topics), self._live.client.cluster
        if any(cluster.partitions_for_topic(topic) is None for topic in wanted):
            async with asyncio.timeout(self.deadline):
                cluster = await self._live.known()
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in wanted}
        return {topic: count for topic, count in counts.items() if count}

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches:
        """Each partition's records in as few batches as they fit."""
        return [
            (topic, number, batch)
            for (topic, number), records in batches.items()
            for batch in self._filled(records)
        ]

    def _filled(self, records: Sequence[Record]) -> list[Any]:
        batch = self._live.create_batch()
        filled = [batch]
        for key, value, headers in records:
            if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                batch = self._live.create_batch()
                batch.append(
                    timestamp=None, key=key, value=value, headers=headers
                )  # an empty one takes any record
                filled.append(batch)
        return filled

    async def publish(self, batches: Batches, cursor: Cursor) -> None:
        """Rows and cursor in one transaction. Raises: anything; the client knows more than its own errors."""
        with metrics.TRANSACTION_SECONDS.time():
            await self.send(batches, cursor)
            await self.commit()

    async def send(self, batches: Batches, cursor: Cursor) -> None:
        """Begin, send all, and see every one acknowledged."""
        mark = self._live.create_batch()
        mark.append(timestamp=None, key=b"cursor", value=cursor.record(), headers=[])
        everything = [(self.cursor_topic, 0, mark), *batches]
        async with asyncio.timeout(self.deadline):
            await self._live.begin_transaction()
            await acknowledged([await self._live.send_batch(b, t, partition=p) for t, p, b in everything])

    async def commit(self) -> None:
        async with asyncio.timeout(self.deadline):
            await self._live.commit_transaction()

    async def discard(self) -> None:
        producer, self.producer = self.producer, None
        if producer:
            await producer.discard()

    @property
    def _live(self) -> Producer:
        assert self.producer is not None, "fence first"
        return self.producer


async def acknowledged(futures: Sequence[asyncio.Future[Any]]) -> None:
    """Every batch is in the log. Raises: Unacknowledged at the first that is not."""
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
        problems = [problem for future in done if (problem := future.exception())]
    finally:
        for future in futures:
            future.cancel()
    if problems:
        raise Unacknowledged(f"{len(problems)} of {len(futures)} batches") from problems[0]
