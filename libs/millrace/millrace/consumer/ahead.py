"""What comes next: fetched and decoded, with its payloads, while the batch before it is in its transaction.

It is bounded by the next batch's records and bytes, and by what the client fetches at a time. Whatever was fetched
of a partition that has been revoked or sent back since is dropped, wherever it has got to: it belongs to somebody
else, or will be read again.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from millrace.claims import Claims
from millrace.consumer.batches import Rest
from millrace.consumer.record import Record, read
from millrace.errors import Poison, Retryable
from millrace.events.dataref import HEADER as DATAREF

POLL_SECONDS = 0.2  # how long one fetch may wait for records
TURN = 25  # so many are decoded in a go: the batch in its transaction must not wait for them between its statements

Stand = tuple[int, int]  # how often all was dropped, and how often this partition was
First = tuple[int, int]  # the offset of the first record of a partition, and its timestamp in ms


@dataclass(slots=True)
class Batch:
    """Decoded records, those of a partition in order, and where a partition cannot go on."""

    records: list[Record] = field(default_factory=list)
    stands: dict[TopicPartition, Stand] = field(default_factory=dict)
    firsts: dict[TopicPartition, First] = field(default_factory=dict)
    out_of_reach: dict[TopicPartition, tuple[int, Rest]] = field(default_factory=dict)  # from this offset on
    size: int = 0  # bytes


class Ahead:
    """Fetches and decodes one batch ahead of the one that is applied."""

    def __init__(self, kafka: AIOKafkaConsumer, claims: Claims, *, bytes_max: int) -> None:
        self.kafka, self.claims, self.bytes_max = kafka, claims, bytes_max
        self._waiting: deque[ConsumerRecord] = deque()  # fetched, not decoded
        self._batch = Batch()  # the one that was begun last
        self._all, self._each = 0, Counter[TopicPartition]()

    async def next(self, records_max: int) -> Batch:
        """The next records; none when none came for a while. Raises: what the client makes of Kafka."""
        if not self._waiting:
            await self.poll(records_max)
        self._batch = batch = Batch()
        while self._waiting and len(batch.records) < records_max and batch.size < self.bytes_max:
            if len(batch.records) % TURN == 0:
                await asyncio.sleep(0)
            await self._take(batch, self._waiting.popleft())
        return batch

    async def poll(self, records_max: int) -> None:
        """Fetch, and keep what comes. Also what tells the client that somebody is there."""
        found = await self.kafka.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=records_max)
        for records in found.values():
            self._waiting.extend(records)

    def fresh(self, batch: Batch) -> Batch:
        """What of it was not dropped since it was fetched."""
        stale = {tp for tp, stand in batch.stands.items() if stand != self._stand(tp)}
        if not stale:
            return batch
        kept = [r for r in batch.records if TopicPartition(r.topic, r.partition) not in stale]
        return Batch(
            kept, _without(batch.stands, stale), _without(batch.firsts, stale),
            _without(batch.out_of_reach, stale), batch.size,
        )  # fmt: skip

    def firsts(self) -> dict[TopicPartition, First]:
        """Of each partition, the first record that is fetched and has not been given out."""
        found = dict(self.fresh(self._batch).firsts)
        for r in self._waiting:
            found.setdefault(TopicPartition(r.topic, r.partition), (r.offset, r.timestamp))
        return found

    def drop(self, tp: TopicPartition) -> None:
        """This partition is read again from elsewhere."""
        self._each[tp] += 1
        self._forget(tp)

    def drop_all(self) -> None:
        """Nothing that was fetched is ours any more."""
        self._all += 1
        self._waiting.clear()

    def _stand(self, tp: TopicPartition) -> Stand:
        return self._all, self._each[tp]

    def _forget(self, tp: TopicPartition) -> None:
        self._waiting = deque(r for r in self._waiting if (r.topic, r.partition) != tp)

    async def _take(self, batch: Batch, r: ConsumerRecord) -> None:
        """Decode one record into the batch; where a payload is out of reach, its partition ends before it."""
        tp = TopicPartition(r.topic, r.partition)
        batch.stands.setdefault(tp, self._stand(tp))  # before anything is waited for
        batch.firsts.setdefault(tp, (r.offset, r.timestamp))
        try:
            record = await self._record(r)
        except Retryable as away:
            batch.out_of_reach[tp] = (r.offset, Rest(str(away), away.after))
            self._forget(tp)
        else:
            batch.records.append(record)
            batch.size += len(record.value or b"")

    async def _record(self, r: ConsumerRecord) -> Record:
        at, headers, value = datetime.fromtimestamp(r.timestamp / 1000, UTC), dict(r.headers), r.value
        if DATAREF in headers:
            try:
                whole, value = await self.claims.whole(r.headers, value)
            except Poison as poison:
                named = {name: raw for name, raw in headers.items() if raw is not None}
                return Record(r.topic, r.partition, r.offset, r.key, named, value, None, str(poison), at=at)
            headers = dict(whole)
        return read(r.topic, r.partition, r.offset, r.key, headers, value, at=at)


def _without(of: dict[TopicPartition, Any], stale: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
    return {tp: value for tp, value in of.items() if tp not in set(stale)}
