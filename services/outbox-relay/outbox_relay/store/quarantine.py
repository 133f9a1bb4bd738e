"""The quarantine of a lane: rows that were stepped over, and what operators decided about them.

Only one session may write it: it holds a lock of its own, so what a deposed relay still wants to write has nowhere
to go. The lock follows the lease: whoever has that ends the session of whoever was here before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Position
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Parked, Row
from outbox_relay.store.reading import read_row
from outbox_relay.store.sessions import close, connect

QUARANTINE_LOCK = 0x71756172  # "quar", the class of our locks; the object is `shards << 16 | shard`
AGAIN_SECONDS = 0.02  # between two tries, while an earlier session ends

END_PREDECESSOR = """
-- A session that still holds this lane's quarantine belongs to a relay that was deposed.
select pg_terminate_backend(pid)
  from pg_locks
 where locktype = 'advisory' and objsubid = 2 and classid = $1::int::oid and objid = $2::int::oid
   and database = (select oid from pg_database where datname = current_database())
   and pid <> pg_backend_pid()
"""

TAKE_QUARANTINE = """
-- For as long as this session lasts.
select pg_try_advisory_lock($1::int, $2::int)
"""

KNOWN = """
-- Parked rows that a page may bring again: the transaction that was to step over them was not committed.
select q.id, q.reason, q.status
  from outbox.quarantine q
  join outbox.event e on e.id = q.id and e.created_at = q.written_at
 where q.hash % $1 = $2
   and (q.ended_at is null or q.status = 'dropped')
   and (e.xid >= $3::xid8 or e.xid = any($4::xid8[]))
"""

OPEN = """
-- How many rows are in quarantine, and why.
select topic, reason, count(*) as rows
  from outbox.quarantine
 where ended_at is null and hash % $1 = $2
 group by topic, reason
"""

BLOCKED = """
-- The keys that stand still, of the topics whose keys do.
select distinct topic, key
  from outbox.quarantine
 where ended_at is null and hash % $1 = $2 and topic = any($3)
"""

PARK = """
-- Rows as they are, whole. One that is there already stays as it was.
insert into outbox.quarantine (id, topic, key, hash, headers, payload, unpacked, written_at, reason, detail)
select e.id, e.topic, e.key, e.hash, e.headers, e.payload, e.unpacked, e.created_at, parked.reason, parked.detail
  from unnest($1::bigint[], $2::text[], $3::text[]) as parked (id, reason, detail)
  join outbox.event e using (id)
    on conflict (id) do nothing
"""

NEXT_DECISION = """
-- The lowest decision that waits to be carried out.
select min(decision)
  from outbox.quarantine
 where status in ('retry', 'drop') and decision > $3 and hash % $1 = $2
"""

DECIDED = """
-- The rows of a decision, as many as one transaction takes; `blocked` ones have an earlier row of their key that
-- stays in quarantine. A payload that will not travel is not read.
select id, topic, key, headers::text as headers, case when size <= $6 then payload end as payload,
       coalesce((select xid from outbox.event e where e.id = q.id and e.created_at = q.written_at), '0') as xid,
       size, hash, unpacked, status, total,
       exists (select from outbox.quarantine o
                where o.topic = q.topic and o.key = q.key and o.id < q.id and o.ended_at is null
                  and (o.status = 'parked' or o.decision <> $3)) as blocked
  from (select *, row_number() over (order by id) as place, count(*) over () as total,
               sum(least(size, $6)) over (order by id) as bytes
          from (select *, octet_length(key) + octet_length(headers::text)
                          + coalesce(unpacked, octet_length(payload)) as size
                  from outbox.quarantine
                 where decision = $3 and status in ('retry', 'drop') and hash % $1 = $2) as decided) as q
 where place = 1 or (place <= $4 and bytes <= $5)
 order by id
"""

SPLIT = """
-- A decision in two: rows from this one on get a number of their own, and so a transaction of their own.
with number as materialized (select outbox.next_decision() as number)
update outbox.quarantine
   set decision = number.number
  from number
 where decision = $3 and status in ('retry', 'drop') and hash % $1 = $2 and id >= $4
"""

REPARK = """
-- Rows that were to be tried again and still cannot go.
update outbox.quarantine q
   set status = 'parked', reason = parked.reason, detail = parked.detail
  from unnest($1::bigint[], $2::text[], $3::text[]) as parked (id, reason, detail)
 where q.id = parked.id and q.status = 'retry'
"""

CARRIED_OUT = """
-- Everything up to this decision is in Kafka, or was dropped; whatever could not go is parked again by then.
update outbox.quarantine
   set status = case status when 'retry' then 'published' else 'dropped' end, ended_at = now()
 where status in ('retry', 'drop') and decision <= $3 and hash % $1 = $2
"""

RELEASE = """
-- Rows that waited behind one that is gone: the relay itself decides that they go.
with first as (
    select distinct on (topic, key) topic, key, status, reason
      from outbox.quarantine
     where ended_at is null and hash % $1 = $2
     order by topic, key, id
), free as (
    select q.id
      from outbox.quarantine q join first using (topic, key)
     where q.ended_at is null and q.status = 'parked' and q.reason = 'behind'
       and first.status = 'parked' and first.reason = 'behind'
), number as materialized (
    select outbox.next_decision() as number where exists (select from free)
)
update outbox.quarantine q
   set status = 'retry', decision = number.number, decided_by = 'relay', why = 'what it waited behind is gone'
  from free, number
 where q.id = free.id
"""


class Decided(NamedTuple):
    """Rows of one decision."""

    retry: list[Row]
    drop: list[tuple[int, int]]  # id, xid
    blocked: set[tuple[str, str]]  # topic and key of those with an earlier row that stays in quarantine


class Shelf:
    """The quarantine of one lane, for the one relay that holds its lock. Opened by `shelf`."""

    def __init__(self, connection: Connection, lane: Lane) -> None:
        self.connection, self.lane = connection, lane
        self._mine = (lane.shards, lane.shard)

    async def known(self, position: Position) -> dict[int, tuple[str, str]]:
        """Rows that a page after this position may bring again: id → reason, status."""
        seen = position.seen
        found = await self.connection.fetch(KNOWN, *self._mine, seen.xmax, seen.xip)
        return {row["id"]: (row["reason"], row["status"]) for row in found}

    async def open(self) -> dict[tuple[str, str], int]:
        """Rows in quarantine by topic and reason."""
        found = await self.connection.fetch(OPEN, *self._mine)
        return {(row["topic"], row["reason"]): row["rows"] for row in found}

    async def blocked(self, topics: Collection[str]) -> set[tuple[str, str]]:
        """Topic and key of what stands still."""
        found = await self.connection.fetch(BLOCKED, *self._mine, list(topics)) if topics else []
        return {(row["topic"], row["key"]) for row in found}

    async def park(self, parked: Sequence[Parked]) -> None:
        """Writes: a row each, unless it is there. Replay: changes nothing."""
        await self.connection.execute(PARK, *_columns(parked))

    async def next_decision(self, redriven: int) -> int | None:
        decision: int | None = await self.connection.fetchval(NEXT_DECISION, *self._mine, redriven)
        return decision

    async def decided(self, decision: int, rows: int, bytes_: int, record_bytes: int) -> Decided:
        """As many rows of a decision as a transaction takes. Writes: the others become a later decision."""
        found = await self.connection.fetch(DECIDED, *self._mine, decision, rows, bytes_, record_bytes)
        if len(found) < found[0]["total"]:
            await self.split(decision, found[-1]["id"] + 1)
        return Decided(
            [read_row(row) for row in found if row["status"] == "retry"],
            [(row["id"], row["xid"]) for row in found if row["status"] == "drop"],
            {(row["topic"], row["key"]) for row in found if row["blocked"]},
        )

    async def split(self, decision: int, from_id: int) -> None:
        """Rows of a decision from this one on become a later decision."""
        await self.connection.execute(SPLIT, *self._mine, decision, from_id)

    async def park_again(self, parked: Sequence[Parked]) -> None:
        await self.connection.execute(REPARK, *_columns(parked))

    async def carried_out(self, redriven: int) -> None:
        """Replay: changes nothing."""
        await self.connection.execute(CARRIED_OUT, *self._mine, redriven)

    async def release(self) -> None:
        """Let go what waited behind a row that is gone. Writes: a decision of the relay's own."""
        await self.connection.execute(RELEASE, *self._mine)


def _columns(parked: Iterable[Parked]) -> tuple[list[int], list[str], list[str]]:
    rows = list(parked)
    return [p.row.id for p in rows], [p.reason for p in rows], [p.detail for p in rows]


@asynccontextmanager
async def shelf(dsn: str, lane: Lane, seconds: float) -> AsyncIterator[Shelf]:
    """The quarantine of a lane, to this session alone. Units: `seconds` bounds every statement and the wait for it."""
    connection = await connect(dsn, seconds, {"application_name": "millrace-relay-quarantine", "jit": "off"})
    try:
        async with asyncio.timeout(seconds):
            await _taken(connection, lane)
        yield Shelf(connection, lane)
    finally:
        await close(connection)


async def _taken(connection: Connection, lane: Lane) -> None:
    lock = (QUARANTINE_LOCK, lane.shards << 16 | lane.shard)
    while not await connection.fetchval(TAKE_QUARANTINE, *lock):
        await connection.execute(END_PREDECESSOR, *lock)
        await asyncio.sleep(AGAIN_SECONDS)
