"""Where an event still is. Asked in turn: Kafka; what the consumer itself keeps parked; the outbox; the event log.

Kafka has the record as it was met. The outbox has what the relay made that record of. The event log has Stripe's
bytes alone: its events are sealed anew, so their ciphertext is another one, which no fold looks into.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import zstandard
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest import commands as ingest
from millrace.claims import Claims
from millrace.consumer import Record, read
from millrace.errors import Poison, Retryable
from millrace.postgres import Connection
from millrace.sealing import Keys, Policy
from operations.rebuild.history import Met

EVENT_LOG = "the event log"
AHEAD = 200  # records of a partition that are held in memory
SKIPPED_MAX = 2000  # offsets that are read over; a wider gap is jumped
PATIENCE_SECONDS = 60.0
FETCH_BYTES = 256 << 10  # of each partition: there may be a hundred
PAGE = 5000


class Log:
    """Records by what was met. Raises Retryable when a broker does not give what it has."""

    def __init__(
        self, live: Connection, shadow: Connection, schema: str, kafka: Kafka, stored: Stored | None
    ) -> None:
        self.live, self.schema, self.kafka, self.stored = live, schema, kafka, stored
        self.outbox = Outbox(live, shadow)
        self.found: Counter[str] = Counter()  # where → how many

    async def records(self, met: Sequence[Met]) -> list[Record | None]:
        """A record for each, or None where no place has it any more."""
        found: dict[Met, Record] = {}
        await self._look("Kafka", met, found, self._on_kafka)
        await self._look("the consumer's parked events", met, found, self._parked)
        await self._look("the outbox", met, found, self.outbox.records)
        if self.stored:
            await self._look(EVENT_LOG, met, found, self.stored.records)
        return [found.get(one) for one in met]

    async def _look(self, where: str, met: Sequence[Met], found: dict[Met, Record], ask: Any) -> None:
        missing = [one for one in met if one not in found]
        if missing:
            more = {one: record for one, record in (await ask(missing)).items() if _is(record, one)}
            found.update(more)
            self.found[where] += len(more)

    async def _on_kafka(self, met: Sequence[Met]) -> dict[Met, Record]:
        records = [(one, await self.kafka.record(one)) for one in met]
        return {one: record for one, record in records if record}

    async def _parked(self, met: Sequence[Met]) -> dict[Met, Record]:
        rows = await self.live.fetch(
            PARKED.format(schema=self.schema), *_columns([(m.topic, m.partition, m.offset) for m in met])
        )
        whole = {(row["topic"], row["partition"], row["kafka_offset"]): row for row in rows}
        return {
            m: _record(m, row["key"], row["headers"], row["value"])
            for m in met
            if (row := whole.get((m.topic, m.partition, m.offset)))
        }


PARKED = """
-- Parked events of these places, whole.
select topic, partition, kafka_offset, key, headers, value
  from {schema}.parked_event
  join unnest($1::text[], $2::int[], $3::bigint[]) as met (topic, partition, kafka_offset)
 using (topic, partition, kafka_offset)
"""


def client(bootstrap: str) -> AIOKafkaConsumer:
    """A reader of committed records that belongs to no group."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=50,
    )


class Kafka:
    """Records by their coordinates: each partition is read forward, jumping only where it must."""

    def __init__(self, client: AIOKafkaConsumer, claims: Claims) -> None:
        self.client, self.claims = client, claims
        self.streams: dict[tuple[str, int], _Stream] = {}

    async def begin(self, topics: Iterable[str]) -> None:
        """Look where the partitions of these topics begin and end. A topic that is gone has none."""
        known = await self.client._client.fetch_all_metadata()
        parts = [TopicPartition(t, n) for t in topics for n in sorted(known.partitions_for_topic(t) or ())]
        self.client.assign(parts)
        if parts:
            first = await self.client.beginning_offsets(parts)
            stable = await self.client.end_offsets(parts)
            self.streams = {
                (p.topic, p.partition): _Stream(self.client, p, first[p], stable[p]) for p in parts
            }

    async def record(self, met: Met) -> Record | None:
        """The record at this place, with its payload; None when Kafka has none."""
        stream = self.streams.get((met.topic, met.partition))
        if stream is None or (r := await stream.at(met.offset)) is None:
            return None
        try:
            headers, value = await self.claims.whole(r.headers, r.value)
        except Poison as poison:
            named = {name: raw for name, raw in r.headers if raw is not None}
            return Record(r.topic, r.partition, r.offset, r.key, named, r.value, None, str(poison))
        return read(r.topic, r.partition, r.offset, r.key, headers, value)


class _Stream:
    """One partition, read forward. What was passed is read again only when an operator had it judged again."""

    def __init__(self, client: AIOKafkaConsumer, part: TopicPartition, first: int, stable: int) -> None:
        self.client, self.part, self.first, self.stable = client, part, first, stable
        self.ahead: deque[Any] = deque()
        self.next = -1  # everything from here on is in `ahead`, or comes after it; -1: nothing was read yet

    async def at(self, offset: int) -> Any:
        """The record with this offset; None when there is none."""
        if not self.first <= offset < self.stable:
            return None
        reach = self.ahead[-1].offset if self.ahead else self.next
        if not 0 <= self.next <= offset <= reach + SKIPPED_MAX:
            self.ahead.clear()
            self.client.seek(self.part, offset)
            self.next = offset
        return await self._read_to(offset)

    async def _read_to(self, offset: int) -> Any:
        began = time.monotonic()
        while True:
            while self.ahead and self.ahead[0].offset < offset:
                self.next = self.ahead.popleft().offset + 1
            if self.ahead:
                return self.ahead[0] if self.ahead[0].offset == offset else None
            if await self.client.position(self.part) > offset:
                return None  # the mark of a transaction, or what compaction took
            found = await self.client.getmany(self.part, timeout_ms=200, max_records=AHEAD)
            self.ahead.extend(found.get(self.part, ()))
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise Retryable(f"{self.part.topic}/{self.part.partition} gives nothing at offset {offset}")


INDEX = """
-- Which row each name stands in: the outbox is indexed by its own numbers, and read through once for this.
create schema rebuild;
create unlogged table rebuild.outbox_row (source text, event_id text, id bigint, created_at timestamptz)
"""

ROWS = """
-- Every row's name and number.
select headers->>'ce_source', headers->>'ce_id', id, created_at from outbox.event
"""

FIND = """
-- The first row of each of these names.
select distinct on (source, event_id) source, event_id, id, created_at
  from rebuild.outbox_row
  join unnest($1::text[], $2::text[]) as met (source, event_id) using (source, event_id)
 order by source, event_id, id
"""

READ = """
-- Rows by their numbers; the time leads to the day.
select id, key, headers, payload, unpacked
  from outbox.event
  join unnest($1::bigint[], $2::timestamptz[]) as wanted (id, created_at) using (id, created_at)
"""


class Outbox:
    """The rows that the records were made of, as far as their days are still there."""

    def __init__(self, live: Connection, shadow: Connection) -> None:
        self.live, self.shadow, self.indexed = live, shadow, False

    async def records(self, met: Sequence[Met]) -> dict[Met, Record]:
        """A record of each row that is there."""
        if not self.indexed:
            await self._index()
        named = _columns([(m.source, m.event_id) for m in met])
        rows = {(r["source"], r["event_id"]): r for r in await self.shadow.fetch(FIND, *named)}
        wanted = [(r["id"], r["created_at"]) for r in rows.values()]
        whole = {r["id"]: r for r in await self.live.fetch(READ, *_columns(wanted, 2))}
        return {
            m: _record(m, row["key"].encode(), row["headers"], _unpacked(row))
            for m in met
            if (found := rows.get((m.source, m.event_id))) and (row := whole.get(found["id"]))
        }

    async def _index(self) -> None:
        """Note every row. Writes: rebuild.outbox_row, in the shadow."""
        await self.shadow.execute(INDEX)
        cursor = await self.live.cursor(ROWS)
        while rows := await cursor.fetch(PAGE):
            await self.shadow.copy_records_to_table(
                "outbox_row", schema_name="rebuild", records=[tuple(row) for row in rows]
            )
        await self.shadow.execute("create index outbox_row_name on rebuild.outbox_row (source, event_id)")
        await self.shadow.execute("analyze rebuild.outbox_row")
        self.indexed = True


class Stored:
    """Stripe's events out of the event log. Who was erased is gone from there too."""

    def __init__(self, live: Connection, keys: Keys, policy: Policy) -> None:
        self.live, self.keys, self.policy = live, keys, policy

    async def records(self, met: Sequence[Met]) -> dict[Met, Record]:
        """A record of each event that is stored and can be opened."""
        of_stripe = {
            (m.source.removeprefix("stripe/"), m.event_id): m for m in met if m.source.startswith("stripe/")
        }
        if not of_stripe:
            return {}
        again = await ingest.again(self.live, self.keys, self.policy, sorted(of_stripe))
        return {
            of_stripe[name]: _record(of_stripe[name], key.encode(), headers, payload)
            for name, (key, headers, payload) in again.items()
        }


def _is(record: Record, met: Met) -> bool:
    """Whether this is what was met: a topic that was made anew has other records at the same places."""
    return not met.source or record.name == (met.source, met.event_id)


def _record(met: Met, key: bytes | None, headers: Mapping[str, str], value: bytes | None) -> Record:
    named = [(name, text.encode()) for name, text in headers.items()]
    return read(met.topic, met.partition, met.offset, key, named, value)


def _unpacked(row: asyncpg.Record) -> bytes:
    payload: bytes = row["payload"]
    size = row["unpacked"]
    return payload if size is None else zstandard.decompress(payload, max_output_size=size)


def _columns(rows: Sequence[tuple[Any, ...]], width: int = 0) -> list[list[Any]]:
    """Rows turned into the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
