"""What operators ask of the relay: how far it is, what waits, and whether what arrived is what was written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from millrace import outbox, topics
from millrace.postgres import Connection
from outbox_relay import store
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.page import OUTBOX_ID, PSEQ
from outbox_relay.domain.tally import Tally
from outbox_relay.publisher import last_cursor

__all__ = ["SCHEMA", "position", "published", "unpublished"]

SCHEMA = outbox.SCHEMA
CARRIED = tuple(topic.name for topic in topics.TOPICS if topic.name != topics.RELAY_CURSOR)


async def position(kafka: str, cursor_topic: str = topics.RELAY_CURSOR) -> Cursor | None:
    """The last committed cursor; None before the first page."""
    return await last_cursor(kafka, cursor_topic)


async def unpublished(connection: Connection, cursor: Cursor | None) -> tuple[int, datetime | None]:
    """How many committed rows wait to be published, and since when the oldest does."""
    return await store.unpublished(connection, cursor)


async def published(kafka: str, connection: Connection, carried: Sequence[str] = CARRIED) -> dict[str, Any]:
    """Everything a `read_committed` reader sees, held against everything that is committed.

    `missing` rows are in no topic, `strange` records have no row, `duplicates` came more than once, `gaps` are
    breaks in a partition's numbering. `inversions` are records of a key whose ids do not grow: none where
    writers lock the key before they insert; where they do not, ids need not follow the commits.
    """
    tally = Tally()
    async for record in _records(kafka, carried):
        headers = dict(record.headers)
        tally.add(record.topic, record.partition, record.key, int(headers[OUTBOX_ID]), int(headers[PSEQ]))
    rows = await store.committed(connection)
    return {
        "rows": len(rows),
        "missing": len(rows - tally.ids.keys()),
        "strange": len(tally.ids.keys() - rows),
        "topics": {name: asdict(counts) for name, counts in sorted(tally.topics.items())},
        **tally.totals(),
    }


async def _records(kafka: str, names: Sequence[str]) -> AsyncIterator[ConsumerRecord]:
    """Each partition of the topics that exist, from its beginning to its last stable offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        known = await consumer._client.fetch_all_metadata()
        parts = [TopicPartition(t, n) for t in names for n in sorted(known.partitions_for_topic(t) or ())]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts) if parts else {}
        for part in parts:
            async for record in _partition(consumer, part, ends[part]):
                yield record
    finally:
        await consumer.stop()


async def _partition(
    consumer: AIOKafkaConsumer, part: TopicPartition, end: int
) -> AsyncIterator[ConsumerRecord]:
    while await consumer.position(part) < end:
        for record in (await consumer.getmany(part, timeout_ms=200)).get(part, []):
            if record.offset < end:
                yield record
