"""The Kafka client aiokafka, bent where its defaults are wrong for a relay. Nothing else touches its inside.

- It compresses a batch at the moment it sends it, on the event loop, zstd at level 3. Ours are packed when they
  are filled, in whichever thread that is, at level 1: a third of the work, and little is lost on JSON.
- It waits 20 ms when the markers of the last transaction are still being written; they take 1 to 5.
- It repeats EndTxn when no answer comes. A delayed first one could then end the *next* transaction
  (KAFKA-17754), so ours is asked once: no answer is a failure, and the producer is replaced.
- It does not know Kafka's error 87.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import zstandard
from aiokafka import AIOKafkaProducer, errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.producer import sender
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from outbox_relay.domain.page import Record

log = logging.getLogger("outbox_relay")

ZSTD_LEVEL = 1
MARKERS_SECONDS = 0.001
CLOSE_SECONDS = 2.0
TOPIC = 2  # Kafka's number for this kind of resource


class InvalidRecord(errors.BrokerResponseError):  # type: ignore[misc]  # the client carries no types
    """The broker found a record that breaks the topic's rules."""

    errno = 87
    message = "INVALID_RECORD"


def bend() -> None:
    """For every producer of this process: the client has no option for any of it."""
    sender.BACKOFF_OVERRIDE = MARKERS_SECONDS
    sender.EndTxnHandler = EndOnce
    errors.kafka_errors[InvalidRecord.errno] = InvalidRecord


class EndOnce(sender.EndTxnHandler):  # type: ignore[misc]  # the client carries no types
    """Ends a transaction with one request. A refusal by the broker may be repeated; silence may not."""

    async def do(self, node_id: int) -> bool:
        request = self.create_request()
        response = await self._sender.client.send(node_id, request, group=self.group)
        pause = self.handle_response(response)
        await asyncio.sleep(pause or 0)
        return pause is None


class Packed:
    """A record batch as it goes to the broker, but for what only its producer knows: who that is, and the number
    of the first record. Filling in these costs the event loop one checksum; the compressing is done.

    Stands in for the client's own batch builder, with those of its methods that the client calls.
    Source: Kafka's documentation, "Record Batch".
    """

    LENGTH, ATTRIBUTES, PRODUCER, RECORDS = 8, 21, 43, 61  # where they begin
    CHECKSUM = 17

    def __init__(self, records: DefaultRecordBatchBuilder, count: int) -> None:
        self.buffer, self.count = packed(records.build()), count

    def record_count(self) -> int:
        return self.count

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        """It always is."""

    def size(self) -> int:
        return len(self.buffer)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        struct.pack_into(">qhi", self.buffer, self.PRODUCER, producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytearray:
        checksum = calc_crc32c(self.buffer[self.ATTRIBUTES :])
        struct.pack_into(">I", self.buffer, self.CHECKSUM, checksum)
        return self.buffer


def packed(batch: bytes) -> bytearray:
    """The batch with its records compressed; as it was, where that would gain nothing. Its checksum is void."""
    records = compressed(batch[Packed.RECORDS :])
    if Packed.RECORDS + len(records) >= len(batch):
        return bytearray(batch)
    made = bytearray(batch[: Packed.RECORDS]) + records
    struct.pack_into(">i", made, Packed.LENGTH, len(made) - Packed.LENGTH - 4)
    made[Packed.ATTRIBUTES + 1] |= DefaultRecordBatch.CODEC_ZSTD
    return made


_mine = threading.local()  # a compressor serves one thread at a time


def compressed(records: bytes) -> bytes:
    """Lets other threads run meanwhile."""
    if not hasattr(_mine, "zstd"):
        _mine.zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return bytes(_mine.zstd.compress(records))


def filled(records: Sequence[Record], batch_bytes: int, *, transactional: bool) -> Iterator[Packed]:
    """Records in as few batches as they fit, in order. One above the limit has a batch to itself.

    Units: `batch_bytes` bounds a batch before it is compressed.
    """
    builder, count = _builder(batch_bytes, transactional), 0
    for key, value, headers in records:
        if builder.append(count, None, key, value, headers) is None:
            yield Packed(builder, count)
            builder, count = _builder(batch_bytes, transactional), 0
            builder.append(count, None, key, value, headers)
        count += 1
    if count:
        yield Packed(builder, count)


def _builder(batch_bytes: int, transactional: bool) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(2, DefaultRecordBatch.CODEC_NONE, transactional, -1, -1, 0, batch_bytes)


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # the client carries no types
    """An idempotent producer that is thrown away rather than stopped; transactional when it has an id for it."""

    def __init__(
        self,
        kafka: str,
        transactional_id: str | None,
        *,
        seconds: float,
        transaction_seconds: float,
        batch: int,
    ):
        bend()
        super().__init__(
            bootstrap_servers=kafka,
            transactional_id=transactional_id,
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=batch,
            transaction_timeout_ms=int(transaction_seconds * 1000),
            request_timeout_ms=int(seconds * 1000) + 5000,  # our own deadline comes first
            retry_backoff_ms=20,
            metadata_max_age_ms=60_000,
        )
        self.shaken = False  # the coordinator's connection broke: the last end may not be written everywhere
        self._closing = self.client._on_connection_closed
        self.client._on_connection_closed = self._closed_one

    def _closed_one(self, connection: Any, reason: Any) -> None:
        """The client would connect again and go on, and readers would wait for what a dead coordinator forgot."""
        kept = self.client._conns.items()
        self.shaken |= any(
            it is connection for (_, group), it in kept if group == ConnectionGroup.COORDINATION
        )
        self._closing(connection, reason)

    async def known(self) -> Any:
        """The cluster as it is now: every topic with its partitions."""
        return await self.client.fetch_all_metadata()

    async def discard(self) -> None:
        """Let go without flushing and without aborting: the successor's fence aborts what is open."""
        self._closed = True
        working = self._sender.sender_task
        if working:
            working.cancel()
        with suppress(Exception):  # whatever it still has to say, nobody relies on it any more
            await asyncio.wait_for(self.client.close(), CLOSE_SECONDS)
        if working:
            await asyncio.wait([working], timeout=CLOSE_SECONDS)


class Catalog:
    """What the cluster says of topics, asked once for each: how many partitions, how large a batch.

    Units: `batch_bytes` bounds every batch, also of a topic that would take more, or that does not say.
    """

    def __init__(self, batch_bytes: int) -> None:
        self.batch_bytes = batch_bytes
        self.limits: dict[str, int] = {}

    async def partitions(self, client: AIOKafkaClient, topics: Iterable[str]) -> dict[str, int]:
        """Of the topics that exist, the number of partitions. Learns their limits on the way."""
        wanted, cluster = set(topics), client.cluster
        if any(cluster.partitions_for_topic(topic) is None for topic in wanted):
            cluster = await client.fetch_all_metadata()
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in wanted}
        found = {topic: count for topic, count in counts.items() if count}
        if unknown := found.keys() - self.limits.keys():
            told = await limits(client, unknown)
            self.limits.update({topic: told.get(topic, self.batch_bytes) for topic in unknown})
        return found

    def limit(self, topic: str) -> int:
        return min(self.batch_bytes, self.limits.get(topic, self.batch_bytes))

    def forget(self, topic: str) -> None:
        """To ask again: the topic refused a batch, so its limit is not what it was."""
        self.limits.pop(topic, None)


async def limits(client: AIOKafkaClient, topics: Iterable[str]) -> dict[str, int]:
    """`max.message.bytes` of the topics that tell it; whether one does is for the cluster's access rules to say."""
    resources = [(TOPIC, topic, ["max.message.bytes"]) for topic in topics]
    answer = await client.send(client.get_random_node(), DescribeConfigsRequest(resources))
    found = {name: entries for code, _, _, name, entries in answer.resources if not code}
    return {name: int(entry[1]) for name, entries in found.items() for entry in entries}
