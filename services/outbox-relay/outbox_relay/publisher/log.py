"""Partitions as they lie on their brokers: every batch, with its author and the end of its transaction.

A reader shows none of it: a `read_committed` one leaves out what was aborted and stops before what is open, and
neither tells one producer from another. So these requests are made here, each to the partition's leader.
Source: Kafka's protocol guide; KIP-664 for DescribeProducers, which asks for READ on the topic and nothing more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.record.control_record import ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from outbox_relay.domain.undecided import Author, End, Partition

BACK = 8  # offsets first read from the end: a transaction leaves its last batch and a marker there
WIDER = 16  # how much further back each time
FETCH_BYTES = 8 << 20
SCAN_BYTES = 64 << 20  # no trace of ours in so much of what others wrote there: it was not written lately
EARLIEST, LATEST = -2, -1
COMMIT = 1  # the kind of a control record; 0 is an abort


class DescribeProducersResponse_v0(Response):  # type: ignore[misc]  # noqa: N801  # as the client names its own
    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("topics", CompactArray(
            ("name", CompactString("utf-8")),
            ("partitions", CompactArray(
                ("partition_index", Int32),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("active_producers", CompactArray(
                    ("producer_id", Int64),
                    ("producer_epoch", Int32),
                    ("last_sequence", Int32),
                    ("last_timestamp", Int64),
                    ("coordinator_epoch", Int32),
                    ("current_txn_start_offset", Int64),
                    ("tags", TaggedFields),
                )),
                ("tags", TaggedFields),
            )),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class DescribeProducersRequest_v0(RequestStruct):  # type: ignore[misc]  # noqa: N801
    FLEXIBLE_VERSION = True
    API_KEY = 61
    API_VERSION = 0
    RESPONSE_TYPE = DescribeProducersResponse_v0
    SCHEMA = Schema(
        ("topics", CompactArray(
            ("name", CompactString("utf-8")),
            ("partition_indexes", CompactArray(Int32)),
            ("tags", TaggedFields),
        )),
        ("tags", TaggedFields),
    )  # fmt: skip


class DescribeProducersRequest(Request[DescribeProducersRequest_v0]):  # type: ignore[misc]
    """Who writes to these partitions. The client does not have it."""

    API_KEY = 61

    def __init__(self, topics: list[tuple[str, list[int]]]) -> None:
        self.topics = topics

    def build(self, request_struct_class: type[DescribeProducersRequest_v0]) -> DescribeProducersRequest_v0:
        return request_struct_class([(name, numbers, {}) for name, numbers in self.topics], {})


class State(NamedTuple):
    """What a broker keeps of a producer. `start` is where its open transaction begins, or -1."""

    epoch: int
    start: int


@dataclass(frozen=True, slots=True)
class Written:
    """A batch as it lies in the log. Units: `offset` is that of its first record."""

    author: Author
    offset: int
    end: End
    records: tuple[Any, ...]  # the client's: key, value, headers


Whose = Callable[[int], bool]  # of producer ids
Enough = Callable[[Sequence[Written]], bool]


class Log:
    """The cluster's partitions, through a client that is connected."""

    def __init__(self, client: AIOKafkaClient, leaders: Mapping[Partition, int]) -> None:
        self.client, self.leaders = client, leaders

    @classmethod
    async def of(cls, client: AIOKafkaClient) -> Log:
        """As the cluster is now."""
        cluster = await client.fetch_all_metadata()
        parts = [
            TopicPartition(topic, number)
            for topic in cluster.topics() for number in cluster.partitions_for_topic(topic) or ()
        ]  # fmt: skip
        return cls(client, {tuple(part): cluster.leader_for_partition(part) for part in parts})

    async def producers(
        self, parts: Collection[Partition], *, strict: bool = True
    ) -> dict[Partition, dict[int, State]]:
        """By producer id; one request a broker. Not `strict`: of those partitions that tell."""
        asked = [
            self._ask(leader, DescribeProducersRequest(_by_topic(group)))
            for leader, group in self._by_leader(parts).items()
            if strict or leader >= 0
        ]
        return {
            (topic, number): {it[0]: State(it[1], it[5]) for it in active}
            for answer in await asyncio.gather(*asked)
            for topic, numbers, _ in answer.topics
            for number, code, _, active, _ in numbers
            if (_fine(code, topic) if strict else not code)
        }

    async def tail(
        self, part: Partition, opened: Mapping[int, int], whose: Whose, enough: Enough, most: int = SCAN_BYTES
    ) -> list[Written]:
        """The last batches of some producers, oldest first: from what is open on, and back until it is enough.

        Units: `opened` says at which offset each producer's open transaction begins; `most` is bytes, of everybody.
        """
        first, end = await self._offset(part, EARLIEST), await self._offset(part, LATEST)
        back = max([BACK, *(end - start for start in opened.values())])
        while True:
            start = max(first, end - back)
            batches, size = await self._read(part, start, end)
            found = ended([batch for batch in batches if whose(batch.producer_id)], opened)
            if start == first or enough(found) or size > most:
                return found
            back *= WIDER

    async def records(self, part: Partition, offset: int) -> tuple[Any, ...]:
        """Those of the batch that begins at the offset."""
        return tuple(next(_batches(await self._fetch(part, offset))))

    async def _read(self, part: Partition, offset: int, end: int) -> tuple[list[Any], int]:
        """Every batch from the one that has the offset, and how many bytes that took."""
        read, size = [], 0
        while offset < end:
            records = await self._fetch(part, offset)
            size += len(records)
            for batch in _batches(records):
                if offset < batch.next_offset and offset < end:
                    offset = batch.next_offset
                    read.append(batch)
        return read, size

    async def _fetch(self, part: Partition, offset: int) -> bytes:
        topic, number = part
        where = [(topic, [(number, offset, FETCH_BYTES)])]
        answer = await self._ask(self.leaders[part], FetchRequest(1000, 1, FETCH_BYTES, 0, where))
        (found,) = answer.topics[0][1]
        _fine(found[1], topic)
        return bytes(found[-1])

    async def _offset(self, part: Partition, at: int) -> int:
        topic, number = part
        answer = await self._ask(self.leaders[part], OffsetRequest(-1, 0, [(topic, [(number, at)])]))
        (found,) = answer.topics[0][1]
        _fine(found[1], topic)
        return int(found[3])

    async def _ask(self, leader: int, request: object) -> Any:
        return await self.client.send(leader, request)

    def _by_leader(self, parts: Iterable[Partition]) -> dict[int, list[Partition]]:
        groups: dict[int, list[Partition]] = {}
        for part in parts:
            groups.setdefault(self.leaders[part], []).append(part)
        return groups


def _batches(records: bytes) -> Iterator[Any]:
    """Whole ones; what was cut off at the end is read again with its rest."""
    memory = MemoryRecords(records)
    while memory.has_next():
        yield memory.next_batch()


def ended(batches: Iterable[Any], opened: Mapping[int, int]) -> list[Written]:
    """Each batch with its end: the next marker of its producer.

    Behind the last marker it is open if the broker says so; if not, the marker was compacted away, which happens
    to none but old commits.
    """
    waiting: dict[int, list[Any]] = {}
    done: list[Written] = []
    for batch in batches:
        if not batch.is_control_batch:
            waiting.setdefault(batch.producer_id, []).append(batch)
        elif held := waiting.pop(batch.producer_id, ()):
            kind = ControlRecord.parse(next(batch).key).type_
            done += [_written(each, End.COMMITTED if kind == COMMIT else End.ABORTED) for each in held]
    for batch in chain.from_iterable(waiting.values()):
        is_open = 0 <= opened.get(batch.producer_id, -1) <= batch.base_offset
        done.append(_written(batch, End.OPEN if is_open else End.COMMITTED))
    return sorted(done, key=lambda written: written.offset)


def _written(batch: Any, end: End) -> Written:
    return Written(Author(batch.producer_id, batch.producer_epoch), batch.base_offset, end, tuple(batch))


def _by_topic(parts: Iterable[Partition]) -> list[tuple[str, list[int]]]:
    topics: dict[str, list[int]] = {}
    for topic, number in parts:
        topics.setdefault(topic, []).append(number)
    return list(topics.items())


def _fine(code: int, topic: str) -> bool:
    """Raises: the client's error for the code, with the topic."""
    if code:
        raise for_code(code)(topic)
    return True
