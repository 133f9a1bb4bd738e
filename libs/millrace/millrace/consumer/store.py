"""Every SQL statement of the consumer runtime, and the one door to the database: nothing else here opens one.

A statement runs once a batch, whatever its size, and only when there is something for it. `{schema}` is the
consumer's own; the tables are in `millrace/migrations/consumer`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from millrace import audit, outbox
from millrace.consumer.judge import WAITING, Judged
from millrace.consumer.progress import Progress
from millrace.consumer.record import Partition, Record, read
from millrace.errors import Retryable
from millrace.postgres import Pool, Transaction, transaction


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows of a batch before it is judged."""

    fresh: list[Record]  # those not met before, each event once
    held: set[str]  # record keys with a parked event that later ones must wait behind
    progress: dict[Partition, Progress]


@dataclass(frozen=True, slots=True)
class Asked:
    """What operators want of this consumer. `paused`: who wants it to rest and why, or ''."""

    paused: str = ""
    redrives: int = 0  # parked events that they want judged again


KNOWN = """
-- Which events of a batch were met before, whose keys are held by a parked one, and how far its partitions are.
-- The row that holds a key is locked: nobody settles it until those who wait behind it are parked as well.
select (select coalesce(array_agg(place), '{{}}')
          from unnest($1::text[], $2::text[]) with ordinality as batch (source, event_id, place)
          join {schema}.processed_events using (source, event_id)) as seen,
       (select coalesce(array_agg(record_key), '{{}}')
          from (select first.record_key
                  from unnest(case when exists (select from {schema}.parked_event where status <> 'waiting')
                                   then $3::text[] end) as wanted (record_key)
                 cross join lateral (select p.record_key from {schema}.parked_event p
                                      where p.record_key = wanted.record_key and p.status <> 'waiting'
                                      order by p.id limit 1
                                        for share) as first) as held) as held,
       (select coalesce(jsonb_agg(jsonb_build_array(topic, partition, next_offset, sequences)), '[]')
          from {schema}.progress
          join unnest($4::text[], $5::int[]) as batch (topic, partition) using (topic, partition)) as progress
"""

WAITERS = """
-- Who waits for a fact of these keys, oldest first. Locked, for they may be released.
select * from {schema}.parked_event
 where wait_key = any($1::text[]) and status = 'waiting'
 order by id
   for update
"""

REMEMBER = """
-- Each event of the batch with what became of it. Most of that is the same for many, and is sent once, numbered.
-- A row that is there already stays: then we lost a race.
insert into {schema}.processed_events (source, event_id, type, outcome, reason, topic, partition, kafka_offset)
select same.source, event_id, same.type, same.outcome, same.reason, same.topic, same.partition, kafka_offset
  from unnest($1::text[], $2::bigint[], $3::int[]) with ordinality as event (event_id, kafka_offset, number, place)
  join unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[]) with ordinality
       as same (source, type, outcome, reason, topic, partition, number) using (number)
 order by place
on conflict do nothing
"""

PARK = """
-- Events that cannot be applied now, whole.
insert into {schema}.parked_event (topic, partition, kafka_offset, record_key, source, event_id, type, status,
                                   wait_key, reason, headers, key, value)
select topic, partition, kafka_offset, record_key, source, event_id, type, status,
       nullif(wait_key, ''), reason, headers, key, value
  from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::jsonb[], $12::bytea[], $13::bytea[])
       with ordinality as row (topic, partition, kafka_offset, record_key, source, event_id, type, status,
                               wait_key, reason, headers, key, value, place)
 order by place
"""

LATELY = """
-- How many events of the last seconds could not be applied, those of this transaction included.
select count(*) from {schema}.parked_event
 where status in ('poison', 'failed') and parked_at > now() - make_interval(secs => $1)
"""

RELEASE = """
-- Events that waited and now have an outcome. They keep their place in the order of meeting: a rebuild meets them
-- there, lets them wait, and releases them with the same fact.
update {schema}.processed_events p
   set outcome = done.outcome, reason = done.reason
  from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as done (source, event_id, outcome, reason)
 where p.source = done.source and p.event_id = done.event_id
"""

SETTLE = """
-- An event that an operator had judged again, for good: its place in the order is now. One at a time, in order.
update {schema}.processed_events set outcome = $3, reason = $4, seq = default where source = $1 and event_id = $2
"""

UNPARK = """
-- They are parked no longer.
delete from {schema}.parked_event where id = any($1::bigint[])
"""

REPARK = """
-- Still parked, perhaps for another reason. What was asked has been done.
update {schema}.parked_event p
   set status = again.status, reason = again.reason, wait_key = nullif(again.wait_key, ''),
       asked_at = null, asked_by = null
  from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as again (id, status, reason, wait_key)
 where p.id = again.id
"""

ADVANCE = """
-- How far each partition has come. Never back: what is read again is no news.
insert into {schema}.progress as p (topic, partition, next_offset, records, sequences, record_at)
select * from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::jsonb[], $6::timestamptz[]) order by 1, 2
on conflict (topic, partition) do update
   set next_offset = greatest(p.next_offset, excluded.next_offset),
       records = p.records + excluded.records,
       sequences = case when excluded.next_offset > p.next_offset then p.sequences || excluded.sequences
                        else p.sequences end,
       record_at = case when excluded.next_offset > p.next_offset then excluded.record_at else p.record_at end,
       advanced_at = now()
"""

PROGRESS = """
-- How far it has come in every partition that it ever read.
select topic, partition, next_offset, records, sequences, record_at from {schema}.progress
"""

INTRODUCE = """
-- The consumer as it starts. What operators have asked of it stays.
insert into {schema}.consumer (name, topics, ordered) values ($1, $2, $3)
on conflict (name) do update set topics = excluded.topics, ordered = excluded.ordered, started_at = now()
"""

ASKED = """
-- Whether operators want it to rest, and how much they want judged again.
select (select paused_by || ': ' || paused_why from {schema}.consumer where name = $1 and paused_at is not null)
           as paused,
       (select count(*) from {schema}.parked_event where asked_at is not null) as redrives
"""

ASK = """
-- Ask for what is parked and not merely waiting, of one record key or (null) of all.
update {schema}.parked_event set asked_at = now(), asked_by = $2
 where status <> 'waiting' and ($1::text is null or record_key = $1)
"""

REDRIVING = """
-- One redrive at a time; whoever comes second leaves it to the first.
select pg_try_advisory_xact_lock(hashtextextended($1, 0))
"""

ASKED_FOR = """
-- The first of what is asked for; `held` when an earlier event of the key is parked and nobody asks for that.
select p.*, p.record_key <> '' and exists (select from {schema}.parked_event earlier
                                            where earlier.record_key = p.record_key and earlier.id < p.id
                                              and earlier.status <> 'waiting' and earlier.asked_at is null) as held
  from {schema}.parked_event p
 where p.asked_at is not null
 order by p.id
 limit $1
   for update
"""

FOLLOW = """
-- What waited behind events that are settled now, up to the next one that stays: asked for by nobody but them.
update {schema}.parked_event later set asked_at = now(), asked_by = 'settled in front of it'
 where later.record_key = any($1::text[]) and later.status = 'behind' and later.asked_at is null
   and not exists (select from {schema}.parked_event stays
                    where stays.record_key = later.record_key and stays.id < later.id
                      and stays.status in ('poison', 'failed'))
"""


class Store:
    """The runtime's tables in one consumer's schema."""

    def __init__(self, pool: Pool, schema: str) -> None:
        self.pool, self.schema = pool, schema

    def sql(self, statement: str) -> str:
        return statement.format(schema=self.schema)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits at its end, rolls back on any exception."""
        return transaction(self.pool)

    def lost(self, tx: Transaction) -> bool:
        """Whether the connection itself is gone."""
        return tx.is_closed()

    async def known(self, tx: Transaction, records: Sequence[Record], *, ordered: bool) -> Known:
        """What there is to know about these records."""
        names = [record.name for record in records]
        keys = list({record.order_key for record in records} - {""}) if ordered else []
        partitions = list({(record.topic, record.partition) for record in records})
        found = await tx.fetchrow(self.sql(KNOWN), *_columns(names, 2), keys, *_columns(partitions, 2))
        assert found is not None  # it selects one row
        seen = {names[place - 1] for place in found["seen"]}
        once: dict[tuple[str, str], Record] = {}
        for name, record in zip(names, records, strict=True):
            once.setdefault(name, record)
        progress = {
            (topic, part): Progress(at, sequences=numbers) for topic, part, at, numbers in found["progress"]
        }
        return Known([r for name, r in once.items() if name not in seen], set(found["held"]), progress)

    async def waiters(self, tx: Transaction, keys: Sequence[str]) -> list[tuple[str, Record]]:
        """(key, record) of what waits for these keys."""
        return [(row["wait_key"], _record(row)) for row in await tx.fetch(self.sql(WAITERS), keys)]

    async def write(self, tx: Transaction, judged: Sequence[Judged], *, redriven: bool = False) -> None:
        """Write what became of each record. Raises Retryable when another consumer met one of them first."""
        new = [j for j in judged if j.record.parked is None]
        again = [j for j in judged if j.record.parked is not None]
        await self._remember(tx, new)
        await self._park(tx, [j for j in new if j.status])
        await self._resolve(tx, [j for j in again if not j.status], redriven)
        await self._repark(tx, [j for j in again if j.status])

    async def _remember(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if not judged:
            return
        numbers: dict[tuple[Any, ...], int] = {}
        rows = []
        for j in judged:
            (source, event_id), event = j.record.name, j.record.event
            same = (
                source,
                event.type if event else "",
                j.outcome,
                j.reason,
                j.record.topic,
                j.record.partition,
            )
            rows.append((event_id, j.record.offset, numbers.setdefault(same, len(numbers) + 1)))
        done = await tx.execute(self.sql(REMEMBER), *_columns(rows, 3), *_columns(list(numbers), 6))
        if done != f"INSERT 0 {len(rows)}":
            raise Retryable("another consumer is applying the same events", after=0.05)

    async def _park(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if judged:
            await tx.execute(self.sql(PARK), *_columns([_parked_row(j) for j in judged], 13))

    async def _resolve(self, tx: Transaction, judged: Sequence[Judged], redriven: bool) -> None:
        if not judged:
            return
        rows = [(*j.record.name, j.outcome, j.reason) for j in judged]
        if redriven:
            await tx.executemany(self.sql(SETTLE), rows)
        else:
            await tx.execute(self.sql(RELEASE), *_columns(rows, 4))
        await tx.execute(self.sql(UNPARK), [j.record.parked for j in judged])

    async def _repark(self, tx: Transaction, judged: Sequence[Judged]) -> None:
        if judged:
            rows = [(j.record.parked, j.status, j.reason, _wait_key(j)) for j in judged]
            await tx.execute(self.sql(REPARK), *_columns(rows, 4))

    async def lately(self, tx: Transaction, seconds: float) -> int:
        """How many events could not be applied in the last seconds."""
        return int(await tx.fetchval(self.sql(LATELY), seconds))

    async def audit(self, tx: Transaction, chain: str, entries: Sequence[audit.Entry]) -> None:
        await audit.append(tx, self.schema, chain, entries)

    async def publish(self, tx: Transaction, messages: Sequence[outbox.Message]) -> None:
        await outbox.publish(tx, messages)

    async def advance(self, tx: Transaction, ends: Mapping[Partition, Progress]) -> None:
        """Write how far partitions have come; `records` is added."""
        rows = [(*at, p.next_offset, p.records, p.sequences, p.record_at) for at, p in ends.items()]
        await tx.execute(self.sql(ADVANCE), *_columns(rows, 6))

    async def progress(self, tx: Transaction) -> dict[Partition, Progress]:
        """How far it has come in every partition."""
        rows = await tx.fetch(self.sql(PROGRESS))
        return {(row[0], row[1]): Progress(*row[2:]) for row in map(tuple, rows)}

    async def introduce(self, tx: Transaction, name: str, topics: Sequence[str], ordered: bool) -> None:
        await tx.execute(self.sql(INTRODUCE), name, topics, ordered)

    async def asked(self, tx: Transaction, name: str) -> Asked:
        row = await tx.fetchrow(self.sql(ASKED), name)
        assert row is not None  # it selects one row
        return Asked(row["paused"] or "", row["redrives"])

    async def ask(self, tx: Transaction, record_key: str | None, by: str) -> None:
        await tx.execute(self.sql(ASK), record_key, by)

    async def redriving(self, tx: Transaction) -> bool:
        """Whether this transaction is the one that redrives."""
        return bool(await tx.fetchval(REDRIVING, f"{self.schema}/redrive"))

    async def asked_for(self, tx: Transaction, limit: int) -> list[tuple[Record, bool]]:
        """The first of what is asked for, in order, and whether it must go on waiting behind another."""
        return [(_record(row), row["held"]) for row in await tx.fetch(self.sql(ASKED_FOR), limit)]

    async def follow(self, tx: Transaction, record_keys: Sequence[str]) -> None:
        """Ask for what waited behind."""
        await tx.execute(self.sql(FOLLOW), record_keys)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    """Rows turned into the arrays that unnest takes."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _wait_key(judged: Judged) -> str:
    return judged.key if judged.status == WAITING else ""


def _parked_row(judged: Judged) -> tuple[Any, ...]:
    record = judged.record
    return (
        record.topic,
        record.partition,
        record.offset,
        record.order_key,
        *record.name,
        record.event.type if record.event else "",
        judged.status,
        _wait_key(judged),
        judged.reason,
        {_kept_name(name): _kept(raw) for name, raw in record.headers.items()},
        record.key,
        record.value,
    )


def _kept(raw: bytes) -> str | dict[str, str]:
    """A header's value as JSON holds it, exactly: as text where it is text, else in base64."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": base64.b64encode(raw).decode()} if "\0" in text else text


def _restored(kept: str | Mapping[str, str]) -> bytes:
    return kept.encode() if isinstance(kept, str) else base64.b64decode(kept["base64"])


def _kept_name(name: str) -> str:
    """JSON in Postgres holds no NUL, in a name neither."""
    return name.replace("%", "%25").replace("\0", "%00")


def _restored_name(kept: str) -> str:
    return kept.replace("%00", "\0").replace("%25", "%")


def _record(row: Any) -> Record:
    record = read(
        row["topic"],
        row["partition"],
        row["kafka_offset"],
        row["key"],
        [(_restored_name(name), _restored(kept)) for name, kept in row["headers"].items()],
        row["value"],
        parked=row["id"],
    )
    if record.event and not row["source"]:  # it is remembered by its place: applied now, it could be again
        return replace(
            record, event=None, problem="it can be read by now: have it published again, and discard this"
        )
    return record
