"""Every SQL statement of the consumer runtime. Each runs once a batch, whatever its size.

`{schema}` is the consumer's own schema; the tables are in `millrace/migrations/consumer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.consumer.judge import WAITING, Judged
from millrace.consumer.record import Record, read
from millrace.errors import Retryable
from millrace.postgres import Transaction

SEEN = """
-- Which of these events this consumer has met already.
select p.source, p.event_id
  from {schema}.processed_events p
  join unnest($1::text[], $2::text[]) as batch (source, event_id) using (source, event_id)
"""

UNREADABLE = """
-- Which of these coordinates are parked already: a record that cannot be read has no other name.
select p.topic, p.partition, p.kafka_offset
  from {schema}.parked_event p
  join unnest($1::text[], $2::int[], $3::bigint[]) as batch (topic, partition, kafka_offset)
 using (topic, partition, kafka_offset)
"""

HELD = """
-- Which of these record keys have a parked event that later ones must wait behind.
select distinct record_key from {schema}.parked_event
 where record_key = any($1::text[]) and record_key <> '' and status <> 'waiting'
"""

WAITERS = """
-- Who waits for a fact of these keys, oldest first. Locked, for they may be released.
select * from {schema}.parked_event
 where wait_key = any($1::text[]) and status = 'waiting'
 order by id
   for update
"""

PARKED = """
-- What is parked and not merely waiting, of one record key or (null) of all, in the order it was parked.
select * from {schema}.parked_event
 where status <> 'waiting' and ($1::text is null or record_key = $1)
 order by id
   for update
"""

REMEMBER = """
-- Each event of the batch with what became of it. A row that is there already stays: then we lost a race.
insert into {schema}.processed_events (source, event_id, type, outcome, reason, topic, partition, kafka_offset)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::bigint[])
on conflict do nothing
"""

RESOLVE = """
-- Events that were parked and now have an outcome.
update {schema}.processed_events p
   set outcome = done.outcome, reason = done.reason
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as done (source, event_id, outcome, reason)
 where p.source = done.source and p.event_id = done.event_id
"""

UNPARK = """
-- They are parked no longer.
delete from {schema}.parked_event where id = any($1::bigint[])
"""

PARK = """
-- Events that cannot be applied now, whole. A record that cannot be read is known by its coordinates alone.
insert into {schema}.parked_event (topic, partition, kafka_offset, record_key, source, event_id, type, status,
                                   wait_key, reason, headers, key, value)
select topic, partition, kafka_offset, record_key, source, event_id, type, status,
       nullif(wait_key, ''), reason, headers, key, value
  from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::jsonb[], $12::bytea[], $13::bytea[])
       with ordinality as row (topic, partition, kafka_offset, record_key, source, event_id, type, status,
                               wait_key, reason, headers, key, value, place)
 order by place
on conflict (topic, partition, kafka_offset) do nothing
"""

REPARK = """
-- Still parked, perhaps for another reason.
update {schema}.parked_event p
   set status = again.status, reason = again.reason, wait_key = nullif(again.wait_key, '')
  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as again (id, status, reason, wait_key)
 where p.id = again.id
"""


class Store:
    """The runtime's tables in one consumer's schema."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def sql(self, statement: str) -> str:
        return statement.format(schema=self.schema)

    async def fresh(self, tx: Transaction, records: Sequence[Record]) -> list[Record]:
        """The records that were not met before, each event once."""
        events = [r.event for r in records if r.event]
        rows = await tx.fetch(self.sql(SEEN), [e.source for e in events], [e.id for e in events])
        seen: set[tuple[Any, ...]] = {tuple(row) for row in rows} | await self._unreadable(tx, records)
        kept = []
        for record in records:
            name = _named(record)[:2] if record.event else _coordinates(record)
            if name not in seen:
                kept.append(record)
                seen.add(name)
        return kept

    async def _unreadable(self, tx: Transaction, records: Sequence[Record]) -> set[tuple[Any, ...]]:
        places = [_coordinates(r) for r in records if r.event is None]
        return (
            {tuple(row) for row in await tx.fetch(self.sql(UNREADABLE), *_columns(places))}
            if places
            else set()
        )

    async def held(self, tx: Transaction, records: Sequence[Record]) -> set[str]:
        """The record keys that are held back by a parked event."""
        rows = await tx.fetch(self.sql(HELD), list({r.order_key for r in records}))
        return {row["record_key"] for row in rows}

    async def waiters(self, tx: Transaction, keys: Sequence[str]) -> list[tuple[str, Record]]:
        """(key, record) of what waits for these keys."""
        return [(row["wait_key"], _record(row)) for row in await tx.fetch(self.sql(WAITERS), keys)]

    async def parked(self, tx: Transaction, record_key: str | None) -> list[Record]:
        """What is parked under a record key, or everything, oldest first."""
        return [_record(row) for row in await tx.fetch(self.sql(PARKED), record_key)]

    async def write(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        """Write what became of each record. Raises Retryable when another consumer met one of them first."""
        await self._remember(tx, [j for j in judged if j.record.parked is None and j.record.event])
        await self._park(tx, [j for j in judged if j.record.parked is None and j.status])
        again = [j for j in judged if j.record.parked is not None]
        await self._resolve(tx, [j for j in again if not j.status])
        await self._repark(tx, [j for j in again if j.status])

    async def _remember(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if not judged:
            return
        rows = [(_named(j.record), j) for j in judged]
        done = await tx.execute(
            self.sql(REMEMBER),
            *_columns([(*name, j.outcome, j.reason, *_coordinates(j.record)) for name, j in rows]),
        )
        if done != f"INSERT 0 {len(rows)}":
            raise Retryable("another consumer is applying the same events", after=0.05)

    async def _park(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if judged:
            await tx.execute(self.sql(PARK), *_columns([_parked_row(j) for j in judged]))

    async def _resolve(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if not judged:
            return
        named = [(*_named(j.record)[:2], j.outcome, j.reason) for j in judged]
        await tx.execute(self.sql(RESOLVE), *_columns(named))
        await tx.execute(self.sql(UNPARK), [j.record.parked for j in judged])

    async def _repark(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if judged:
            rows = [(j.record.parked, j.status, j.reason, _wait_key(j)) for j in judged]
            await tx.execute(self.sql(REPARK), *_columns(rows))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]


def _named(record: Record) -> tuple[str, str, str]:
    return (record.event.source, record.event.id, record.event.type) if record.event else ("", "", "")


def _coordinates(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _wait_key(judged: Judged) -> str:
    return judged.key if judged.status == WAITING else ""


def _parked_row(judged: Judged) -> tuple[Any, ...]:
    record = judged.record
    headers = {
        name.replace("\0", ""): raw.decode("utf-8", "backslashreplace").replace("\0", "")
        for name, raw in record.headers.items()
    }
    return (
        *_coordinates(record),
        record.order_key.replace("\0", ""),
        *_named(record),
        judged.status,
        _wait_key(judged),
        judged.reason.replace("\0", ""),
        headers,
        record.key,
        record.value,
    )


def _record(row: Any) -> Record:
    headers = [(name, text.encode()) for name, text in row["headers"].items()]
    return read(
        row["topic"],
        row["partition"],
        row["kafka_offset"],
        row["key"],
        headers,
        row["value"],
        parked=row["id"],
    )
