"""The cursor topic: the last committed cursor, and whether anything beyond it is still undecided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

from outbox_relay.domain.cursor import Cursor

LOOK_SECONDS = 0.2  # between two looks at an undecided end
BACK = 64  # records first read from the end: a transaction leaves a cursor and a marker there


class Halted(Exception):
    """Going on could lose or double rows, and only a person can say which; the message says what to do."""


async def last_cursor(kafka: str, topic: str) -> Cursor | None:
    """The newest committed cursor; None when there never was one."""
    async with _reader(kafka, topic, "read_committed") as (consumer, part):
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


async def decided(kafka: str, topic: str, within_seconds: float) -> None:
    """Wait until every transaction in the topic has ended.

    A broker that died between deciding and writing the markers can leave one that never ends. The rows it
    carried may be published or not, and the cursor that tells lies beyond what a reader may see.
    Raises: Halted, when that is how it stays.
    """
    until = asyncio.get_running_loop().time() + within_seconds
    async with (
        _reader(kafka, topic, "read_uncommitted") as (whole, part),
        _reader(kafka, topic, "read_committed") as (stable, _),
    ):
        while await _end(stable, part) < await _end(whole, part):
            if asyncio.get_running_loop().time() > until:
                raise Halted(UNDECIDED.format(topic=topic, seconds=within_seconds))
            await asyncio.sleep(LOOK_SECONDS)


async def _end(consumer: AIOKafkaConsumer, part: TopicPartition) -> int:
    """The high watermark, or for a `read_committed` reader the last stable offset."""
    return int((await consumer.end_offsets([part]))[part])


UNDECIDED = (
    "a transaction of an earlier relay is still undecided in {topic} after {seconds:.0f} s, so nobody can say "
    "whether its rows are published. Find it with `kafka-transactions.sh find-hanging --topic {topic}`, abort "
    "it there and in the topics of its rows with `kafka-transactions.sh abort`, and start the relay again"
)


@asynccontextmanager
async def _reader(
    kafka: str, topic: str, isolation: Literal["read_committed", "read_uncommitted"]
) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level=isolation,
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
