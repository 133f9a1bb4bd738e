"""Topics of a test's own on the session's broker, and a plain `read_committed` reader to check with."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import Stack

_numbers = itertools.count(1)
MakeTopic = Callable[..., Awaitable[str]]


@pytest.fixture
async def topics(stack: Stack) -> AsyncIterator[MakeTopic]:
    """`await topics("billing", partitions=6)` makes a topic and returns its name; deleted afterwards.

    The name is one of its own, unless it is to be `exact`.
    """
    async with making(stack.kafka) as make:
        yield make


@asynccontextmanager
async def making(kafka: str) -> AsyncIterator[MakeTopic]:
    """The same outside of a test."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    made: list[str] = []

    async def make(
        name: str, *, partitions: int = 3, config: dict[str, str] | None = None, exact: bool = False
    ) -> str:
        topic = name if exact else f"{name}.{os.getpid()}.{next(_numbers)}"
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
        made.append(topic)
        return topic

    yield make
    if made:
        await admin.delete_topics(made)
    await admin.close()


async def read_all(kafka: str, topic: str, *, deadline_seconds: float = 30.0) -> list[ConsumerRecord]:
    """Every committed record of a topic up to its last stable offset, partition by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        numbers = consumer.partitions_for_topic(topic) or await consumer._client._wait_on_metadata(topic)
        parts = [TopicPartition(topic, n) for n in sorted(numbers)]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        async with asyncio.timeout(deadline_seconds):
            for part in parts:
                while await consumer.position(part) < ends[part]:
                    for records in (await consumer.getmany(timeout_ms=100)).values():
                        found.extend(records)
        return sorted(found, key=lambda r: (r.partition, r.offset))
    finally:
        await consumer.stop()
