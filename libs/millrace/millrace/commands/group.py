"""A consumer's group as Kafka knows it: who is in it, how far it has committed, where its partitions begin and end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code

TIMEOUT_MS = 10_000  # for one answer of a broker
READ_SECONDS = 10.0  # for the first records of all partitions together, and for a commit
UUID = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")  # what Kafka adds to a member's name

Place = tuple[str, int]  # topic and partition


@dataclass(frozen=True, slots=True)
class Member:
    """A process in the group. `instance` is its stable name, or its client's where it has none."""

    instance: str
    host: str
    partitions: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `state` is Kafka's word: Stable, Empty, Dead (never heard of), PreparingRebalance …"""

    state: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class First:
    """The first record at or after an offset."""

    offset: int
    at: datetime


class Kafka:
    """What the commands ask a cluster."""

    def __init__(self, bootstrap: str, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> None:
        self.bootstrap, self.admin, self.reader = bootstrap, admin, reader

    async def groups(self, names: Sequence[str]) -> dict[str, Group]:
        """Groups by name. Raises KafkaError."""
        found = {}
        for answer in await self.admin.describe_consumer_groups(list(names)) if names else []:
            for code, name, state, _, _, members, *_ in answer.groups:
                if code:
                    raise for_code(code)(f"group {name}")
                found[name] = Group(state, tuple(_member(*member) for member in members))
        return found

    async def committed(self, group: str) -> dict[Place, int]:
        """The group's committed offsets."""
        offsets = await self.admin.list_consumer_group_offsets(group)
        return {tuple(place): at.offset for place, at in offsets.items() if at.offset >= 0}

    async def partitions(self, topics: Sequence[str]) -> list[Place]:
        """Every partition of those of these topics that there are."""
        described = await self.admin.describe_topics(sorted(set(topics))) if topics else []
        return sorted((t["topic"], p["partition"]) for t in described for p in t["partitions"])

    async def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """The first offset that each partition still has."""
        return _by_place(await self.reader.beginning_offsets(_partitions(places)))

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """The last stable offset of each partition: where a `read_committed` reader comes to an end."""
        return _by_place(await self.reader.end_offsets(_partitions(places)))

    async def at(self, places: Iterable[Place], instant: datetime) -> dict[Place, int | None]:
        """The first offset of each partition whose record is not older; None when there is none."""
        asked = dict.fromkeys(_partitions(places), int(instant.timestamp() * 1000))
        found = await self.reader.offsets_for_times(asked) if asked else {}
        return {tuple(place): it.offset if it else None for place, it in found.items()}

    async def first(self, offsets: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, First]:
        """The first record of each partition from an offset on, and before its end; none where only markers are.

        Units: gives up after READ_SECONDS, with TimeoutError.
        """
        wanted = {
            TopicPartition(*place): ends[place] for place, offset in offsets.items() if offset < ends[place]
        }
        found: dict[Place, First] = {}
        self.reader.assign(list(wanted))
        for place in wanted:
            self.reader.seek(place, offsets[tuple(place)])
        async with asyncio.timeout(READ_SECONDS):
            while wanted:
                fetched = await self.reader.getmany(timeout_ms=100)
                for place in list(wanted):
                    if records := fetched.get(place):
                        at = datetime.fromtimestamp(records[0].timestamp / 1000, UTC)
                        found[tuple(place)] = First(records[0].offset, at)
                    if records or await self.reader.position(place) >= wanted[place]:
                        del wanted[place]
                        self.reader.pause(place)
        return found

    async def commit(self, group: str, offsets: Mapping[Place, int]) -> None:
        """Set the offsets of a group that nobody is in. Raises KafkaError when somebody is after all."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=group,
            enable_auto_commit=False,
            request_timeout_ms=TIMEOUT_MS,
        )
        await consumer.start()
        try:
            places = {TopicPartition(*place): offset for place, offset in offsets.items()}
            consumer.assign(list(places))
            async with asyncio.timeout(READ_SECONDS):  # the client alone would try for ever
                await consumer.commit(places)
        finally:
            await consumer.stop()


@asynccontextmanager
async def connected(bootstrap: str) -> AsyncIterator[Kafka]:
    """A cluster, for as long as the block lasts. Raises KafkaError when nobody answers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=TIMEOUT_MS)
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 16,  # one record of each partition is all that is wanted
        fetch_max_wait_ms=100,
        request_timeout_ms=TIMEOUT_MS,
    )
    try:
        await admin.start()
        await reader.start()
        await asyncio.sleep(
            0
        )  # its routine has to have begun: one that is cancelled before cancels whoever stops it
        yield Kafka(bootstrap, admin, reader)
    finally:
        await reader.stop()
        await admin.close()


def _member(id: str, client: str, host: str, _: bytes, assignment: bytes) -> Member:
    """The protocol's member; a static one is called by its instance, which its id begins with."""
    decoded = ConsumerProtocolMemberAssignment.decode(assignment).partitions() if assignment else []
    return Member(
        UUID.sub("", id) or client,
        host.lstrip("/"),
        tuple(sorted((tp.topic, tp.partition) for tp in decoded)),
    )


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]


def _by_place(offsets: Mapping[TopicPartition, int]) -> dict[Place, int]:
    return {(place.topic, place.partition): offset for place, offset in offsets.items()}
