"""Reading the outbox: pages of committed rows, and which history of which database they belong to."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import zstandard

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Identity, Obstacles, Position, Snapshot
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Page, Row, reached
from outbox_relay.store.sessions import close, connect
from outbox_relay.store.threads import worked

_mine = threading.local()  # a decompressor serves one thread at a time

MAIN = Lane()
Statements = tuple[Any, Any, Any]  # prepared: FIRST, NEXT, NEWEST

# The plan is made once and never again: a stale estimate must not turn one page into a scan of the backlog.
# Rows are fetched by their keys, one after the other; no join of whole tables is ever right here.
SESSION = {
    "application_name": "millrace-relay",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "max_parallel_workers_per_gather": "0",
}

FIRST = """
-- Opens a window: this statement's own snapshot, and the first page of what it sees and the last one did not.
-- Which rows those are the xid index alone tells, so that a long backlog is sorted without being read.
-- `id + 0` keeps the primary key out, which would walk all that is published already.
with found as (
    select id, created_at from outbox.event
     where xid >= $1::xid8 and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot) and hash % $8 = $7
     union all
    select id, created_at from outbox.event
     where xid = any($2::xid8[]) and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot) and hash % $8 = $7
), page as (
    select id, topic, key, headers, payload, unpacked, xid, hash, created_at,
           octet_length(key) + octet_length(headers::text) + coalesce(unpacked, octet_length(payload)) as size
      from (select id, created_at from found order by id + 0 limit $4) as chosen
      join outbox.event using (id, created_at)
), bounded as (
    select *, sum(size) over (order by id) as bytes, row_number() over (order by id) as place from page
)
select id, topic, key, headers, case when size <= $6 then payload end as payload,
       xid, size, hash, unpacked,
       case when coalesce(place, 1) = 1 then now end as now, case when place = 1 then created_at end as since
  from (select pg_current_snapshot()::text as now) as opened
  left join bounded on bytes - size < $5
 order by id
"""

NEXT = """
-- A further page of an open window, along the primary key.
with page as (
    select found.*, octet_length(key) + octet_length(headers::text) + coalesce(unpacked, octet_length(payload)) as size
      from (select id, topic, key, headers, payload, unpacked, xid, hash, created_at
              from outbox.event
             where id > $1
               and not pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
               and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
               and hash % $8 = $7
             order by id
             limit $4) as found
), bounded as (
    select *, sum(size) over (order by id) as bytes, row_number() over (order by id) as place from page
)
select id, topic, key, headers, case when size <= $6 then payload end as payload,
       xid, size, hash, unpacked,
       null as now, case when place = 1 then created_at end as since
  from bounded
 where bytes - size < $5
 order by id
"""

NEWEST = """
-- The newest transaction of which a row is visible, whichever lane's it is.
select xid from outbox.event order by xid desc limit 1
"""

IDENTITY = """
-- Which history this is. The timeline comes from the write position: the control file lags after a promotion,
-- and on a standby, whose snapshots must not be trusted, the statement fails.
select (select system_identifier from pg_control_system()) as system,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline,
       (select oid::bigint from pg_database where datname = current_database()) as database,
       pg_current_snapshot()::text as now
"""


async def identified(connection: Connection) -> tuple[Identity, Snapshot]:
    """Which history of which database this is, and how far it has come."""
    row = await connection.fetchrow(IDENTITY)
    assert row is not None
    return Identity(row["system"], row["timeline"], row["database"]), Snapshot.parse(row["now"])


FOREIGN_ROWS = """
-- Rows of transactions that have not begun yet came with a dump, and mean a transaction of another cluster.
select count(*) from outbox.event where xid >= pg_snapshot_xmax(pg_current_snapshot())
"""


async def foreign_rows(connection: Connection) -> int:
    """How many rows no snapshot of this cluster would see, perhaps for years."""
    count: int = await connection.fetchval(FOREIGN_ROWS)
    return count


KNOWN_LANES = """
-- The lanes that have published from this outbox and were not given up; a copy of what the cursor topics say.
select lane from outbox.cursor where record is not null and coalesce(record->>'retired', '') = '' order by lane
"""


async def known_lanes(connection: Connection) -> tuple[str, ...]:
    """The names of the lanes whose cursors were in force when this database heard of them last."""
    return tuple(row["lane"] for row in await connection.fetch(KNOWN_LANES))


async def obstacles(connection: Connection) -> Obstacles:
    """What only a person may step over before the first page."""
    return Obstacles(await foreign_rows(connection), await known_lanes(connection))


class Outbox:
    """A lane of one database's outbox as a Source. Opened by `outbox`.

    A transaction that is visible is committed for good, and no number up to its own is given again. In a lane
    among several its row may be another's: so `proven` keeps the newest of all, or a quiet lane would search
    everything that the others were given since its own last row.
    """

    def __init__(
        self, connection: Connection, statements: Statements, lane: Lane, rows: int, bytes_: int, record: int
    ) -> None:
        self.connection, (self.first, self.next, self.newest) = connection, statements
        self.lane, self.rows, self.bytes = lane, rows, bytes_
        self.bounds = (rows, bytes_, record, lane.shard, lane.shards)
        self.proven = 0

    async def identity(self) -> tuple[Identity, Snapshot]:
        return await identified(self.connection)

    async def obstacles(self) -> Obstacles:
        return await obstacles(self.connection)

    async def page(self, position: Position) -> Page:
        """The next rows after a position; a row above the record's limit comes without its payload.

        Replay: inside an open window the same rows; otherwise those and what was committed since.
        """
        window, found = await (self._further(position) if position.window else self._opening(position))
        size = sum(record["size"] for record in found)
        rows = await worked(len(found), size, read_rows, found)
        full = len(rows) == self.rows or size >= self.bytes
        place = reached(position, window, rows, all_=not full)
        if place.window is None:
            place = place.past(window, self.proven)
        return Page(rows, place, window, found[0]["since"] if found else None)

    async def _opening(self, position: Position) -> tuple[Snapshot, list[asyncpg.Record]]:
        seen = position.seen
        found = await self.first.fetch(seen.xmax, seen.xip, str(seen), *self.bounds)
        if self.lane.shards > 1:
            self.proven = await self.newest.fetchval() or 0
        return Snapshot.parse(found[0]["now"]), [] if found[0]["id"] is None else found

    async def _further(self, position: Position) -> tuple[Snapshot, list[asyncpg.Record]]:
        window = position.window
        assert window is not None
        return window, await self.next.fetch(position.last_id, str(position.seen), str(window), *self.bounds)


def read_rows(records: Sequence[asyncpg.Record]) -> list[Row]:
    return [read_row(record) for record in records]


def read_row(record: asyncpg.Record) -> Row:
    """A row with its payload as readers will see it."""
    row = Row._make(record[:8])
    if record["unpacked"] is None or row.payload is None:
        return row
    try:
        payload = _unpacked(row.payload, record["unpacked"])
    except zstandard.ZstdError:
        payload = None
    return row._replace(payload=payload)


def _unpacked(payload: bytes, size: int) -> bytes:
    if not hasattr(_mine, "zstd"):
        _mine.zstd = zstandard.ZstdDecompressor()
    return bytes(_mine.zstd.decompress(payload, max_output_size=size))


@asynccontextmanager
async def outbox(
    dsn: str, *, lane: Lane = MAIN, page_rows: int, page_bytes: int, record_bytes: int, read_seconds: float
) -> AsyncIterator[Outbox]:
    """A session that reads a lane's pages. Units: `read_seconds` bounds every statement."""
    connection = await connect(dsn, read_seconds, SESSION)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str, format="text")
        first, next_, newest = [await connection.prepare(text) for text in (FIRST, NEXT, NEWEST)]
        yield Outbox(connection, (first, next_, newest), lane, page_rows, page_bytes, record_bytes)
    finally:
        await close(connection)
