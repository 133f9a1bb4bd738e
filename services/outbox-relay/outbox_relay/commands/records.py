"""What a `read_committed` reader sees, partition by partition, from one place to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from millrace.errors import Retryable
from outbox_relay.domain.audit import Place, Trail, met

PATIENCE_SECONDS = 60.0  # without a record, before an open transaction is called one
SLACK = timedelta(hours=1)  # clocks differ; a record may say to be older than its row
WAIT_MS = 20  # a broker holds a request at a partition's end so long, and the next partition waits behind it
Moved = Callable[[int], object]  # so many records further


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one partition: what is still there, and how far it is decided."""

    first: int
    stable: int  # a `read_committed` reader gets no further for now
    end: int


class Readers:
    """Two consumers, since only one that reads everything is told where a partition ends."""

    def __init__(self, committed: AIOKafkaConsumer, everything: AIOKafkaConsumer) -> None:
        self.committed, self.everything = committed, everything

    async def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """The partitions of the topics that exist."""
        known = await self.committed._client.fetch_all_metadata()
        found = {topic: sorted(known.partitions_for_topic(topic) or ()) for topic in topics}
        return {topic: numbers for topic, numbers in found.items() if numbers}

    async def bounds(self, places: Iterable[Place]) -> dict[Place, Bounds]:
        parts = [TopicPartition(*place) for place in places]
        if not parts:
            return {}
        first = await self.everything.beginning_offsets(parts)
        stable, end = await self.committed.end_offsets(parts), await self.everything.end_offsets(parts)
        return {(p.topic, p.partition): Bounds(first[p], stable[p], end[p]) for p in parts}

    async def written_since(self, places: Iterable[Place], since: datetime) -> dict[Place, int | None]:
        """The first offset of each partition whose record may be of a row written since then."""
        at = int((since - SLACK).timestamp() * 1000)
        found = await self.everything.offsets_for_times({TopicPartition(*place): at for place in places})
        return {(p.topic, p.partition): mark.offset if mark else None for p, mark in found.items()}

    async def follow(self, trails: Mapping[Place, Trail], starts: Mapping[Place, int], moved: Moved) -> None:
        """Lead every trail from its start to the record that its cursor ends with, or to the partition's end.

        Raises: Retryable while a transaction stays open before that.
        """
        if not trails:
            return
        bounds = await self.bounds(trails)
        walking = {TopicPartition(*place): trail for place, trail in trails.items()}
        self.committed.assign(list(walking))
        for part in walking:
            self.committed.seek(part, starts[part.topic, part.partition])
        quiet = _Patience()
        while walking := {p: t for p, t in walking.items() if not await self._arrived(p, t, bounds)}:
            found = await self.committed.getmany(*walking, timeout_ms=200, max_records=5000)
            quiet.check(sum(map(len, found.values())), walking)
            for part, records in found.items():
                self._lead(walking[part], records)
            moved(sum(map(len, found.values())))

    async def _arrived(self, part: TopicPartition, trail: Trail, bounds: Mapping[Place, Bounds]) -> bool:
        end = bounds[part.topic, part.partition]
        if not trail.over:
            trail.start = await self.committed.position(part)
        goal = end.stable if trail.reached else end.end
        return trail.over or (trail.start or 0) >= goal

    def _lead(self, trail: Trail, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            trail.add(met(record.offset, record.headers, record.value))
            if trail.over:
                trail.start = record.offset
                return


class _Patience:
    """Counts from the last record that came."""

    def __init__(self) -> None:
        self.since = asyncio.get_running_loop().time()

    def check(self, records: int, walking: Iterable[TopicPartition]) -> None:
        now = asyncio.get_running_loop().time()
        if records:
            self.since = now
        elif now - self.since > PATIENCE_SECONDS:
            names = ", ".join(sorted(f"{p.topic}-{p.partition}" for p in walking))
            raise Retryable(f"a transaction is open in {names}, and nothing behind it can be seen; try again")


@asynccontextmanager
async def readers(kafka: str) -> AsyncIterator[Readers]:
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(_consumer(kafka, way)) for way in WAYS]
        yield Readers(*made)


Way = Literal["read_committed", "read_uncommitted"]
WAYS: tuple[Way, Way] = ("read_committed", "read_uncommitted")


@asynccontextmanager
async def _consumer(kafka: str, isolation: Way) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level=isolation, enable_auto_commit=False,
        auto_offset_reset="earliest", fetch_max_wait_ms=WAIT_MS,
    )  # fmt: skip
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def everything(kafka: str, names: Sequence[str]) -> AsyncIterator[ConsumerRecord]:
    """Each partition of the topics that exist, from its beginning to its last stable offset."""
    async with readers(kafka) as both:
        places = [(topic, n) for topic, numbers in (await both.partitions(names)).items() for n in numbers]
        bounds = await both.bounds(places)
        both.committed.assign([TopicPartition(*place) for place in places])
        for place in places:
            part = TopicPartition(*place)
            while await both.committed.position(part) < bounds[place].stable:
                for record in (await both.committed.getmany(part, timeout_ms=200)).get(part, []):
                    if record.offset < bounds[place].stable:
                        yield record


async def newest(kafka: str, names: Iterable[str], count: int) -> AsyncIterator[ConsumerRecord]:
    """The last records of each partition. Units: `count` offsets, of which transactions' markers take some."""
    async with readers(kafka) as both:
        places = [(topic, n) for topic, numbers in (await both.partitions(names)).items() for n in numbers]
        bounds = await both.bounds(places)
        for place in places:
            part, end = TopicPartition(*place), bounds[place].stable
            both.committed.assign([part])
            both.committed.seek(part, max(bounds[place].first, end - count))
            while await both.committed.position(part) < end:
                for record in (await both.committed.getmany(part, timeout_ms=200)).get(part, []):
                    if record.offset < end:
                        yield record
