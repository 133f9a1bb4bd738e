"""Publishing in Kafka's transactions, through aiokafka.

The client's `commit_transaction` reports success after batches that failed: only a batch's own future
knows. And a producer that has seen a failure has used up sequence numbers and fails from then on. So:

1. every future is awaited before the commit is asked for;
2. any error, and any deadline, ends this producer: its successor fences it and reads the cursor again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from millrace import topics
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Record
from outbox_relay.publisher.client import Catalog, Packed, Producer, filled
from outbox_relay.publisher.contract import (
    IN_DOUBT,
    Batches,
    Rejected,
    Unacknowledged,
    blamed,
    nothing,
    refusal,
)
from outbox_relay.publisher.undecided import settled

SCAN_SECONDS = 10.0  # how often a coordinator looks for transactions that have timed out


class TxnPublisher:
    """A Publisher whose page and cursor are one transaction."""

    def __init__(
        self,
        kafka: str,
        lane: Lane,
        *,
        cursor_prefix: str = topics.RELAY_CURSOR,
        deadline_seconds: float,
        transaction_seconds: float,
        batch_bytes: int,
    ) -> None:
        self.kafka, self.lane = kafka, lane
        self.cursor_topic = lane.cursor_topic(cursor_prefix)
        self.transactional_id = lane.transactional_id(cursor_prefix)
        self.deadline, self.transaction = deadline_seconds, transaction_seconds
        self.catalog = Catalog(batch_bytes)
        self.producer: Producer | None = None
        self.sound = False  # nothing has gone wrong since the fence

    async def fence(self) -> Cursor | None:
        """Raises: Halted when something that an earlier producer left stays undecided."""
        await self.discard()
        self.producer = Producer(
            self.kafka, self.transactional_id,
            seconds=self.deadline, transaction_seconds=self.transaction, batch=self.catalog.batch_bytes,
        )  # fmt: skip
        async with asyncio.timeout(self.deadline + self.transaction):
            await self.producer.start()
        metrics.FENCES.labels(str(self.lane)).inc()
        left = await settled(
            self.producer, self.kafka, self.lane, self.cursor_topic,
            patience_seconds=self.transaction + SCAN_SECONDS, deadline_seconds=self.deadline,
        )  # fmt: skip
        self.sound = True
        return left

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        async with asyncio.timeout(self.deadline):
            return await self.catalog.partitions(self._live.client, topics)

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches:
        return list(encoded(batches, self.catalog, transactional=True))

    async def publish(self, batches: Batches, cursor: Cursor, halfway: Callable[[], None] = nothing) -> None:
        """Rows and cursor in one transaction."""
        await timed(self.lane, self.send(batches, cursor), halfway, self.commit)
        self.sound = True

    async def send(self, batches: Batches, cursor: Cursor) -> None:
        """Begin, send all, and see every one acknowledged."""
        producer = self._live
        if not self.sound:
            raise Unacknowledged(IN_DOUBT)
        self.sound = False
        async with asyncio.timeout(self.deadline):
            await producer.begin_transaction()
            try:
                await delivered(producer, [marked(self.cursor_topic, cursor), *batches], self.catalog)
            except Rejected as rejected:
                raise blamed(rejected, self.cursor_topic) from rejected

    async def commit(self) -> None:
        async with asyncio.timeout(self.deadline):
            await self._live.commit_transaction()

    async def discard(self) -> None:
        producer, self.producer, self.sound = self.producer, None, False
        if producer:
            await producer.discard()

    @property
    def _live(self) -> Producer:
        if self.producer is None or self.producer.shaken:
            raise Unacknowledged(IN_DOUBT)
        return self.producer


async def timed(
    lane: Lane, sending: Awaitable[None], halfway: Callable[[], None], commit: Callable[[], Awaitable[None]]
) -> None:
    """The two steps of publishing, each with its time; `halfway` is called between them."""
    with metrics.TRANSACTION_SECONDS.labels(str(lane)).time():
        with metrics.CYCLE_SECONDS.labels(str(lane), "send").time():
            await sending
        halfway()
        with metrics.CYCLE_SECONDS.labels(str(lane), "commit").time():
            await commit()


def marked(topic: str, cursor: Cursor) -> tuple[str, int, Packed]:
    """The cursor as a batch of its topic."""
    (batch,) = filled([Record(b"cursor", cursor.record(), [])], 1 << 20, transactional=True)
    return topic, 0, batch


def encoded(
    batches: Mapping[tuple[str, int], Sequence[Record]], catalog: Catalog, *, transactional: bool
) -> Iterator[tuple[str, int, Packed]]:
    """First every partition's first batch: those go in one request, and a second one has to wait for it."""
    each = [
        [
            (topic, number, batch)
            for batch in filled(records, catalog.limit(topic), transactional=transactional)
        ]
        for (topic, number), records in batches.items()
    ]
    return (batch for batch in chain.from_iterable(zip_longest(*each)) if batch)


async def delivered(producer: Producer, batches: Batches, catalog: Catalog) -> None:
    """Send, and see every batch acknowledged. Raises: Unacknowledged, Rejected, and what the client does."""
    sent: dict[asyncio.Future[Any], str] = {}
    try:
        for topic, number, batch in batches:
            sent[await producer.send_batch(batch, topic, partition=number)] = topic
        if sent:
            await acknowledged(list(sent), list(sent.values()))
    except Rejected as rejected:
        catalog.forget(rejected.topic)
        raise
    finally:
        _let_go(sent)


async def acknowledged(futures: Sequence[asyncio.Future[Any]], topics: Sequence[str] = ()) -> None:
    """Every batch is in the log. Raises: Unacknowledged at the first that is not; Rejected, if that is why."""
    try:
        done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
        problems = {future: problem for future in done if (problem := future.exception())}
    finally:
        _let_go(futures)
    if problems:
        where = dict(zip(futures, topics, strict=bool(topics)))
        codes = [(where.get(future, ""), getattr(error, "errno", -1)) for future, error in problems.items()]
        why = refusal(codes) or Unacknowledged(f"{len(problems)} of {len(futures)} batches")
        raise why from next(iter(problems.values()))


def _let_go(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Nobody asks these any more; the client need not complain that nobody did."""
    for future in futures:
        if future.done() and not future.cancelled():
            future.exception()
        future.cancel()
