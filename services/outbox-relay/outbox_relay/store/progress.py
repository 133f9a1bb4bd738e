"""How far the outbox has been published."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from millrace import topics
from millrace.postgres import Connection
from outbox_relay.domain.cursor import Cursor, Position, Snapshot
from outbox_relay.domain.lane import Lane

MAIN = Lane()

WAITING = """
-- Of each topic, what a lane's cursor does not cover yet: committed rows, their bytes, and since when.
-- With $8, only what was committed at that moment.
select topic, count(*) as rows, sum(coalesce(unpacked, octet_length(payload)))::bigint as bytes,
       min(created_at) as since
  from outbox.event
 where (xid >= $1::xid8 or xid = any($2::xid8[]))
   and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
   and ($4::text is null or id > $5 or not pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
   and hash % $6 = $7
   and ($8::text is null or pg_visible_in_snapshot(xid, $8::text::pg_snapshot))
 group by topic
 order by topic
"""


class Waiting(NamedTuple):
    """What waits for one topic. Units: `bytes` of payload, unpacked."""

    topic: str
    rows: int
    bytes: int
    since: datetime


async def waiting(
    connection: Connection, cursor: Cursor | None, lane: Lane = MAIN, at: Snapshot | None = None
) -> list[Waiting]:
    """Committed rows of a lane that its cursor does not cover, by topic; of those that were committed `at` a moment."""
    place = cursor.position if cursor else Position()
    seen, window = place.seen, str(place.window) if place.window else None
    found = await connection.fetch(
        WAITING, seen.xmax, seen.xip, str(seen), window, place.last_id, lane.shards, lane.shard,
        str(at) if at else None,
    )  # fmt: skip
    return [Waiting(*row) for row in found]


NOW = """
-- This moment, as far as transactions go.
select pg_current_snapshot()::text
"""


async def snapshot(connection: Connection) -> Snapshot:
    """Which transactions have ended by now."""
    return Snapshot.parse(await connection.fetchval(NOW))


async def unpublished(
    connection: Connection, cursor: Cursor | None, lane: Lane = MAIN
) -> tuple[int, datetime | None]:
    """How many committed rows a cursor does not cover, and when the oldest of them was written."""
    found = await waiting(connection, cursor, lane)
    return sum(topic.rows for topic in found), min((topic.since for topic in found), default=None)


KEPT = """
-- The cursor that PostgreSQL keeps of a lane, and whether it is the one that counts.
select record::text, counts from outbox.cursor where lane = $1 and record is not null
"""


class Kept(NamedTuple):
    """A cursor in PostgreSQL. It counts in the mode `idempotent`; otherwise it is a copy, some seconds old."""

    cursor: Cursor
    counts: bool


async def kept(connection: Connection, lane: Lane = MAIN) -> Kept | None:
    row = await connection.fetchrow(KEPT, str(lane))
    return Kept(Cursor.parse(row["record"].encode()), row["counts"]) if row else None


COMMITTED = """
-- The ids of all committed rows that are news, in pages; a heartbeat is none, and its topic soon forgets it.
select id from outbox.event where id > $1 and topic <> $3 order by id limit $2
"""


async def committed(connection: Connection, page_rows: int = 50_000) -> set[int]:
    """The ids of every committed row but the relay's own heartbeats."""
    ids: set[int] = set()
    last = 0
    while page := await connection.fetch(COMMITTED, last, page_rows, topics.RELAY_HEARTBEAT):
        ids.update(row["id"] for row in page)
        last = page[-1]["id"]
    return ids
