"""Every statement of the relay, the session that reads, and the session whose lock elects.

The two sessions are apart so that a lock is given up by PostgreSQL itself when its holder falls silent,
even in the middle of a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import asyncpg
import zstandard

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.page import Page, Row, reached

_decompressor = zstandard.ZstdDecompressor()

LEASE_LOCK = 0x72656C6179  # "relay": one leader for each database
CLOSE_SECONDS = 2.0

# The plan is made once and never again: a stale estimate must not turn one page into a scan of the backlog.
SESSION = {
    "application_name": "millrace-relay",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}

FIRST = """
-- Opens a window: this statement's own snapshot, and the first page of what it sees and the last one did not.
-- Through the xid index: `id + 0` keeps the primary key out, which would walk all that is published already.
with page as (
    select found.*, octet_length(key) + octet_length(headers::text) + coalesce(unpacked, octet_length(payload)) as size
      from (select id, topic, key, headers, payload, unpacked, xid, created_at
              from outbox.event
             where (xid >= $1::xid8 or xid = any($2::xid8[]))
               and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
             order by id + 0
             limit $4) as found
), bounded as (
    select *, sum(size) over (order by id) as bytes, row_number() over (order by id) as place from page
)
select id, topic, key, headers, case when size <= $6 then payload end as payload,
       xid, size, unpacked,
       case when coalesce(place, 1) = 1 then now end as now, case when place = 1 then created_at end as since
  from (select pg_current_snapshot()::text as now) as opened
  left join bounded on bytes - size < $5
 order by id
"""

NEXT = """
-- A further page of an open window, along the primary key.
with page as (
    select found.*, octet_length(key) + octet_length(headers::text) + coalesce(unpacked, octet_length(payload)) as size
      from (select id, topic, key, headers, payload, unpacked, xid, created_at
              from outbox.event
             where id > $1
               and not pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
               and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
             order by id
             limit $4) as found
), bounded as (
    select *, sum(size) over (order by id) as bytes, row_number() over (order by id) as place from page
)
select id, topic, key, headers, case when size <= $6 then payload end as payload,
       xid, size, unpacked,
       null as now, case when place = 1 then created_at end as since
  from bounded
 where bytes - size < $5
 order by id
"""

IDENTITY = """
-- Which history this is. The timeline comes from the write position: the control file lags after a promotion,
-- and on a standby, whose snapshots must not be trusted, the statement fails.
select (select system_identifier from pg_control_system()) as system,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline,
       (select oid::bigint from pg_database where datname = current_database()) as database,
       pg_current_snapshot()::text as now
"""

TAKE_LEASE = """
-- Asked again and again instead of waited for: a waiting statement would hold a snapshot, and vacuum with it.
select pg_try_advisory_lock($1)
"""

KEEP_LEASE = """
-- Still here.
select 1
"""

UNPUBLISHED = """
-- How many committed rows the cursor does not cover yet, and since when.
select count(*) as rows, min(created_at) as since
  from outbox.event
 where (xid >= $1::xid8 or xid = any($2::xid8[]))
   and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
   and ($4::text is null or id > $5 or not pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
"""

COMMITTED = """
-- The ids of all committed rows, in pages.
select id from outbox.event where id > $1 order by id limit $2
"""


class Outbox:
    """The outbox of one database as a Source. Opened by `outbox`."""

    def __init__(
        self, connection: Connection, first: Any, next_: Any, rows: int, bytes_: int, record: int
    ) -> None:
        self.connection, self.first, self.next = connection, first, next_
        self.rows, self.bytes, self.record = rows, bytes_, record

    async def identity(self) -> tuple[Identity, Snapshot]:
        row = await self.connection.fetchrow(IDENTITY)
        assert row is not None
        return Identity(row["system"], row["timeline"], row["database"]), Snapshot.parse(row["now"])

    async def page(self, position: Position) -> Page:
        """The next rows after a position; a row above the record's limit comes without its payload.

        Replay: inside an open window the same rows; otherwise those and what was committed since.
        """
        window, found = await (self._further(position) if position.window else self._opening(position))
        rows = [_unpacked(record) for record in found]
        full = len(rows) == self.rows or sum(row.size for row in rows) >= self.bytes
        place = reached(position, window, rows, all_=not full)
        return Page(rows, place, window, found[0]["since"] if found else None)

    async def _opening(self, position: Position) -> tuple[Snapshot, list[asyncpg.Record]]:
        seen = position.seen
        found = await self.first.fetch(seen.xmax, seen.xip, str(seen), self.rows, self.bytes, self.record)
        return Snapshot.parse(found[0]["now"]), [] if found[0]["id"] is None else found

    async def _further(self, position: Position) -> tuple[Snapshot, list[asyncpg.Record]]:
        window = position.window
        assert window is not None
        seen, last = str(position.seen), position.last_id
        return window, await self.next.fetch(last, seen, str(window), self.rows, self.bytes, self.record)


def _unpacked(record: asyncpg.Record) -> Row:
    """A row with its payload as readers will see it."""
    row = Row._make(record[:7])
    if record["unpacked"] is None or row.payload is None:
        return row
    try:
        payload = _decompressor.decompress(row.payload, max_output_size=record["unpacked"])
    except zstandard.ZstdError:
        payload = None
    return row._replace(payload=payload)


@asynccontextmanager
async def outbox(
    dsn: str, *, page_rows: int, page_bytes: int, record_bytes: int, read_seconds: float
) -> AsyncIterator[Outbox]:
    """A session that reads pages. Units: `read_seconds` bounds every statement."""
    connection = await _connect(dsn, read_seconds, SESSION)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str, format="text")
        first, next_ = await connection.prepare(FIRST), await connection.prepare(NEXT)
        yield Outbox(connection, first, next_, page_rows, page_bytes, record_bytes)
    finally:
        await _close(connection)


class Lease:
    """The right to publish this outbox. `lost` is set the moment it may have passed to somebody else."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self.connection, self.seconds = connection, seconds
        self.lost, self._one = asyncio.Event(), asyncio.Lock()
        connection.add_termination_listener(lambda _: self.lost.set())
        self._keeping = asyncio.create_task(self._keep())

    async def confirm(self) -> None:
        """Ask the session itself. Raises: whatever its connection does, when it is not ours any more."""
        try:
            async with self._one:
                await self.connection.fetchval(KEEP_LEASE, timeout=self.seconds / 3)
        except BaseException:  # the driver has more names for a dead session than it documents
            self.lost.set()
            raise

    async def _keep(self) -> None:
        while True:
            await self.confirm()
            await asyncio.sleep(self.seconds / 3)

    async def release(self) -> None:
        """Give it up at once, if it is still held."""
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        await _close(self.connection)


async def lease(dsn: str, seconds: float) -> Lease | None:
    """Take the lease, or None when another relay holds it.

    Units: PostgreSQL itself ends a holder's session after `seconds` of silence: its process was
    stopped, or its machine is gone.
    """
    settings = {"application_name": "millrace-relay-lease", "idle_session_timeout": str(int(seconds * 1000))}
    connection = await _connect(dsn, seconds, settings)
    try:
        if await connection.fetchval(TAKE_LEASE, LEASE_LOCK):
            return Lease(connection, seconds)
    except BaseException:
        connection.terminate()
        raise
    await _close(connection)
    return None


async def unpublished(connection: Connection, cursor: Cursor | None) -> tuple[int, datetime | None]:
    """How many committed rows a cursor does not cover, and when the oldest of them was written."""
    place = cursor.position if cursor else Position()
    seen, window = place.seen, str(place.window) if place.window else None
    row = await connection.fetchrow(UNPUBLISHED, seen.xmax, seen.xip, str(seen), window, place.last_id)
    assert row is not None
    return row["rows"], row["since"]


async def committed(connection: Connection, page_rows: int = 50_000) -> set[int]:
    """The ids of every committed row."""
    ids: set[int] = set()
    last = 0
    while page := await connection.fetch(COMMITTED, last, page_rows):
        ids.update(row["id"] for row in page)
        last = page[-1]["id"]
    return ids


async def _connect(dsn: str, seconds: float, settings: dict[str, str]) -> Connection:
    return await asyncpg.connect(dsn, timeout=seconds, command_timeout=seconds, server_settings=settings)


async def _close(connection: Connection) -> None:
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=CLOSE_SECONDS)
    connection.terminate()
