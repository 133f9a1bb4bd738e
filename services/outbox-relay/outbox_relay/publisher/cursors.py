"""The cursor topic, as a reader sees it: the last committed cursor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from outbox_relay.domain.cursor import Cursor

BACK = 64  # records first read from the end: a transaction leaves a cursor and a marker there


class Halted(Exception):
    """Going on could lose or double rows, and only a person can say which; the message says what to do."""


async def last_cursor(kafka: str, topic: str) -> Cursor | None:
    """The newest committed cursor; None when there never was one."""
    async with _reader(kafka, topic) as (consumer, part):
        first = (await consumer.beginning_offsets([part]))[part]
        end = await _end(consumer, part)
        back = BACK
        while True:
            start = max(first, end - back)
            if (found := await _last(consumer, part, start, end)) or start == first:
                return Cursor.parse(found) if found else None
            back *= 8


async def _last(consumer: AIOKafkaConsumer, part: TopicPartition, start: int, end: int) -> bytes | None:
    """The newest record from `start` to `end`; aborted ones and markers are passed over."""
    found: bytes | None = None
    consumer.seek(part, start)
    while await consumer.position(part) < end:
        for record in (await consumer.getmany(part, timeout_ms=200)).get(part, []):
            found = record.value
    return found


async def _end(consumer: AIOKafkaConsumer, part: TopicPartition) -> int:
    """The last stable offset."""
    return int((await consumer.end_offsets([part]))[part])


@asynccontextmanager
async def _reader(kafka: str, topic: str) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    part = TopicPartition(topic, 0)
    await consumer.start()
    try:
        consumer.assign([part])
        yield consumer, part
    finally:
        await consumer.stop()
