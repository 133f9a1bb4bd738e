"""Publishing in Kafka's transactions, through librdkafka: the second client, so that a trap in one need not hold us.

Its calls block, so one thread makes them all. It reports success only of what it delivered, and still every delivery
report is awaited before the commit. What it does otherwise than aiokafka as we bend it:

- it repeats EndTxn by itself when no answer comes, within the deadline;
- it makes its batches itself, of one size for all topics: the first topic that takes less costs one more fence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import confluent_kafka

from millrace import topics
from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Record
from outbox_relay.publisher import client
from outbox_relay.publisher.contract import (
    IN_DOUBT,
    Batches,
    Rejected,
    Unacknowledged,
    blamed,
    nothing,
    refusal,
)
from outbox_relay.publisher.txn import SCAN_SECONDS, timed
from outbox_relay.publisher.undecided import settled

log = logging.getLogger("confluent")  # where librdkafka's own lines go

RECORD_BYTES_MAX = 100_000_000  # the topic decides, not the client
POLL_SECONDS = 0.1
CLOSE_SECONDS = 2.0


class ConfluentPublisher:
    """A Publisher whose page and cursor are one transaction.

    Settling what is undecided is aiokafka's part; its producer stays to be asked about topics, fenced by ours.
    """

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
        self.catalog, self.batch_bytes = client.Catalog(batch_bytes), batch_bytes
        self.guide: client.Producer | None = None
        self.producer: Producer | None = None
        self.sound = False  # nothing has gone wrong since the fence

    async def fence(self) -> Cursor | None:
        """Raises: Halted when something that an earlier producer left stays undecided.

        Asked again after the last fence, for another relay may have published between the two. What is undecided
        then is for the next try: the guide is fenced and can settle nothing any more.
        """
        await self.discard()
        self.guide = client.Producer(
            self.kafka, self.transactional_id,
            seconds=self.deadline, transaction_seconds=self.transaction, batch=self.batch_bytes,
        )  # fmt: skip
        async with asyncio.timeout(self.deadline + self.transaction):
            await self.guide.start()
        await self._settled(self.guide)
        self.producer = Producer(
            self.kafka, self.transactional_id,
            seconds=self.deadline, transaction_seconds=self.transaction, batch=self.batch_bytes,
        )  # fmt: skip
        await self.producer.start()
        metrics.FENCES.labels(str(self.lane)).inc()
        left = await self._settled(self.guide)
        self.sound = True
        return left

    async def _settled(self, guide: client.Producer) -> Cursor | None:
        return await settled(
            guide, self.kafka, self.lane, self.cursor_topic,
            patience_seconds=self.transaction + SCAN_SECONDS, deadline_seconds=self.deadline,
        )  # fmt: skip

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Raises: Unacknowledged when a topic takes smaller batches than this producer makes."""
        if self.guide is None:
            raise Unacknowledged(IN_DOUBT)
        async with asyncio.timeout(self.deadline):
            found = await self.catalog.partitions(self.guide.client, topics)
        least = min(map(self.catalog.limit, found), default=self.batch_bytes)
        if least < self.batch_bytes:
            self.batch_bytes, self.sound = least, False
            raise Unacknowledged(f"a topic takes batches of {least} bytes: starting over with smaller ones")
        return found

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches:
        return [(topic, number, records) for (topic, number), records in batches.items()]

    async def publish(self, batches: Batches, cursor: Cursor, halfway: Callable[[], None] = nothing) -> None:
        """Rows and cursor in one transaction."""
        await timed(self.lane, self.send(batches, cursor), halfway, self.commit)
        self.sound = True

    async def send(self, batches: Batches, cursor: Cursor) -> None:
        """Begin, send all, and see every record acknowledged."""
        if self.producer is None or not self.sound:
            raise Unacknowledged(IN_DOUBT)
        self.sound = False
        mark = (self.cursor_topic, 0, [Record(b"cursor", cursor.record(), [])])
        try:
            await self.producer.send([mark, *batches])
        except Rejected as rejected:
            self.catalog.forget(rejected.topic)
            raise blamed(rejected, self.cursor_topic) from rejected

    async def commit(self) -> None:
        assert self.producer is not None, "fence first"
        await self.producer.commit()

    async def discard(self) -> None:
        guide, producer = self.guide, self.producer
        self.guide, self.producer, self.sound = None, None, False
        if producer:
            await producer.discard()
        if guide:
            await guide.discard()


class Producer:
    """librdkafka's transactional producer in a thread of its own. Every call ends at its deadline, and what still
    goes on in the thread then is let go with it."""

    def __init__(
        self, kafka: str, transactional_id: str, *, seconds: float, transaction_seconds: float, batch: int
    ) -> None:
        self.seconds = seconds
        self.settings = {
            "bootstrap.servers": kafka,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(transaction_seconds * 1000),
            "message.timeout.ms": int(min(seconds, transaction_seconds) * 1000),
            "compression.type": "zstd",
            "compression.level": client.ZSTD_LEVEL,
            "batch.size": batch,
            "message.max.bytes": RECORD_BYTES_MAX,
            "linger.ms": 1,
            "reconnect.backoff.max.ms": 1000,
        }
        self.thread = ThreadPoolExecutor(1, "librdkafka")
        self.client: confluent_kafka.Producer | None = None
        self._waiting, self._problems = 0, list[tuple[str, int]]()

    async def start(self) -> None:
        await self._in_thread(self._start)

    async def send(self, batches: Batches) -> None:
        """Raises: Unacknowledged, Rejected, KafkaException."""
        await self._in_thread(self._send, batches)

    async def commit(self) -> None:
        await self._in_thread(self._commit)

    async def discard(self) -> None:
        """Let go without flushing and without aborting: the successor's fence aborts what is open."""
        gone = asyncio.wrap_future(self.thread.submit(self._let_go))
        self.thread.shutdown(wait=False)
        await asyncio.wait([gone], timeout=CLOSE_SECONDS)

    async def _in_thread(self, work: Callable[..., None], *arguments: Any) -> None:
        async with asyncio.timeout(self.seconds):
            await asyncio.wrap_future(self.thread.submit(work, *arguments))

    def _start(self) -> None:
        self.client = confluent_kafka.Producer(self.settings, logger=log)
        self.client.init_transactions(self.seconds)

    def _send(self, batches: Batches) -> None:
        assert self.client is not None
        until = time.monotonic() + self.seconds
        self.client.begin_transaction()
        self._waiting = sum(len(records) for _, _, records in batches)
        for topic, number, records in batches:
            for key, value, headers in records:
                self.client.produce(topic, value, key, number, on_delivery=self._delivered, headers=headers)
            self.client.poll(0)
        while self._waiting and not self._problems and time.monotonic() < until:
            self.client.poll(POLL_SECONDS)
        if self._waiting or self._problems:
            raise refusal(self._problems) or Unacknowledged(f"{self._waiting} records without an answer")

    def _delivered(self, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        self._waiting -= 1
        if error:
            self._problems.append((message.topic() or "", error.code()))

    def _commit(self) -> None:
        assert self.client is not None
        self.client.commit_transaction(self.seconds)

    def _let_go(self) -> None:
        """Its destructor waits for its threads, so this one waits for it."""
        producer, self.client = self.client, None
        if producer:
            producer.purge(blocking=False)
