"""What was to be published between two cursors: its sums, its rows, and what became of the runs that asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from millrace.postgres import Connection
from outbox_relay.domain.audit import Sums
from outbox_relay.domain.cursor import Cursor, Position
from outbox_relay.domain.lane import Lane

Shelf = tuple[str, int | None]  # topic and partition; a topic that the cursor does not know has none
Offsets = Mapping[str, Mapping[int, int]]  # topic → partition → offset


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of a lane that `upto` covers and `after` does not; with `since`, only those written since then."""

    lane: Lane
    after: Cursor | None
    upto: Cursor
    since: datetime | None = None

    def arguments(self) -> list[Any]:
        """$1 to $15 of the statements below."""
        after = self.after.position if self.after else Position()
        upto, counts = self.upto.position, self.upto.pseq
        return [
            after.seen.xmax, after.seen.xip, str(after.seen), _text(after), after.last_id,
            str(upto.seen), _text(upto), upto.last_id,
            self.lane.shards, self.lane.shard, self.since,
            list(counts), [len(numbers) for numbers in counts.values()],
            self.after.redriven if self.after else 0, self.upto.redriven,
        ]  # fmt: skip


def _text(position: Position) -> str | None:
    return str(position.window) if position.window else None


OF_WINDOW = """
    select event.id, event.topic, hash % place.count as partition,
           coalesce(unpacked, octet_length(payload))::bigint as bytes
      from outbox.event
      left join unnest($12::text[], $13::int[]) as place (topic, count) using (topic)
     where (xid >= $1::xid8 or xid = any($2::xid8[]))
       and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
       and ($4::text is null or id > $5 or not pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
       and (pg_visible_in_snapshot(xid, $6::text::pg_snapshot)
            or id <= $8 and pg_visible_in_snapshot(xid, $7::text::pg_snapshot))
       and hash % $9 = $10
       and ($11::timestamptz is null or created_at >= $11)
       and not exists (select from outbox.quarantine parked where parked.id = event.id)
     union all
    select parked.id, parked.topic, hash % place.count, coalesce(unpacked, octet_length(payload))::bigint
      from outbox.quarantine parked
      left join unnest($12::text[], $13::int[]) as place (topic, count) using (topic)
     where decision > $14 and decision <= $15 and status in ('retry', 'published')
       and hash % $9 = $10
       and ($11::timestamptz is null or written_at >= $11)
"""

SUMS = f"""
-- Of each partition, the sums over what was to be published: the rows of the window that are not in quarantine,
-- and those that left it by an operator's decision. A topic that the cursor does not know has no partition.
select topic, partition, count(*) as rows, sum(id), sum((id & 2147483647) * (id & 2147483647)),
       sum(bytes), sum((id & 2147483647) * bytes)
  from ({OF_WINDOW}) as wanted
 group by topic, partition
"""


async def sums(connection: Connection, window: Window) -> dict[Shelf, Sums]:
    """What was to be published, by topic and partition."""
    found = await connection.fetch(SUMS, *window.arguments())
    return {(topic, partition): Sums(*map(int, rest)) for topic, partition, *rest in found}


ROWS = f"""
-- The same row by row, partition after partition: of all of them, or of these.
select topic, partition, id, bytes
  from ({OF_WINDOW}) as wanted
 where $16::text[] is null
    or exists (select from unnest($16, $17::int[]) as asked (topic, partition)
                where asked.topic = wanted.topic and asked.partition is not distinct from wanted.partition)
 order by topic, partition
"""


async def rows(
    connection: Connection, window: Window, only: Sequence[Shelf] | None
) -> AsyncIterator[tuple[Shelf, dict[int, int]]]:
    """Each partition's rows as id → bytes; those without any are left out. One partition is in memory at a time."""
    asked = (
        ([topic for topic, _ in only], [number for _, number in only]) if only is not None else (None, None)
    )
    here: Shelf | None = None
    found: dict[int, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for topic, number, row, size in connection.cursor(
            ROWS, *window.arguments(), *asked, prefetch=10_000
        ):
            if here and here != (topic, number):
                yield here, found
                found = {}
            here, found[row] = (topic, number), size
        if here:
            yield here, found


PARKED = """
-- Rows of a lane that are not published and not on their way: they wait in quarantine, or were dropped there.
select id, ended_at is null as waits from outbox.quarantine where status <> 'published' and hash % $1 = $2
"""


async def parked(connection: Connection, lane: Lane) -> dict[int, bool]:
    """The rows of a lane that were stepped over, and whether each still waits for its end."""
    return {row["id"]: row["waits"] for row in await connection.fetch(PARKED, lane.shards, lane.shard)}


KNOWN = """
-- Which of these ids have a row here, and whether it lies before the window: the run before covered it, or it was
-- written earlier. Ids below the oldest row that is kept had one, on a day that was dropped.
select wanted.id, event.id is null
       or pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
       or event.id <= $4 and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
       or created_at < $5 as before
  from unnest($1::bigint[]) as wanted (id)
  left join outbox.event on event.id = wanted.id
 where event.id is not null or wanted.id < (select min(id) from outbox.event)
"""


async def known(connection: Connection, window: Window, ids: Iterable[int]) -> dict[int, bool]:
    """Of the ids that have, or had, a row: whether it lies before the window."""
    place = window.after.position if window.after else Position()
    found = await connection.fetch(
        KNOWN, list(ids), str(place.seen), _text(place), place.last_id, window.since
    )
    return {row["id"]: bool(row["before"]) for row in found}


EXCUSED = """
-- Which of these rows may be away: in a compacted topic, when newer news of the key was published; anywhere, when
-- the topic forgets what is older than $4.
with old as materialized (
    select id, topic, key, created_at from outbox.event where id = any($1::bigint[])
), newest as materialized (
    select topic, key, max(id) as id
      from outbox.event
     where $2 and (topic, key) in (select topic, key from old)
       and pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
     group by topic, key
)
select old.id from old left join newest using (topic, key) where old.created_at < $4 or newest.id > old.id
"""


async def excused(
    connection: Connection, ids: Iterable[int], upto: Cursor, *, compacted: bool, forgets: datetime | None
) -> set[int]:
    """Rows whose record is gone rightly."""
    seen = str(upto.position.seen)
    return {row["id"] for row in await connection.fetch(EXCUSED, list(ids), compacted, seen, forgets)}


class Run(NamedTuple):
    """An audit that was written down."""

    run: int
    at: datetime
    cursor: Cursor
    offsets: Offsets
    differences: int
    ok: bool


RUN = """
-- The last run of a lane, or the last one whose end the next may begin from.
select run, at, cursor::text, offsets::text, missing + strange + doubled + changed + gaps + inverted, ok
  from outbox.audited
 where lane = $1 and (ok or not $2)
 order by run desc
 limit 1
"""


async def last(connection: Connection, lane: Lane, *, ok: bool = False) -> Run | None:
    """The last run; with `ok`, the last that was well or was accepted."""
    row = await connection.fetchrow(RUN, str(lane), ok)
    if row is None:
        return None
    run, at, cursor, offsets, differences, well = row
    places = {topic: {int(n): at for n, at in of.items()} for topic, of in orjson.loads(offsets).items()}
    return Run(run, at, Cursor.parse(cursor.encode()), places, differences, well)


WRITE = """
-- A run and what it found.
insert into outbox.audited (lane, cursor, offsets, row_count, records, parked,
                            missing, strange, doubled, changed, gaps, inverted, accepted)
values ($1, $2::text::jsonb, $3::text::jsonb, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
returning run
"""


async def write(
    connection: Connection,
    lane: Lane,
    cursor: Cursor,
    offsets: Offsets,
    counts: Sequence[int],
    accepted: str | None,
) -> int:
    """Writes: one row. `counts` are the columns from row_count to inverted, in their order."""
    places = orjson.dumps(offsets, option=orjson.OPT_NON_STR_KEYS).decode()
    run: int = await connection.fetchval(
        WRITE, str(lane), cursor.record().decode(), places, *counts, accepted
    )
    return run


AGE = """
-- How old a lane's last audit is, or without one the outbox's first row, and what it found that nobody accepted.
select extract(epoch from now() - coalesce(last.at, (select created_at from outbox.event order by id limit 1)))::float8
           as age_seconds,
       coalesce(last.mismatches, 0)::bigint as mismatches
  from (select 1) as always
  left join (select at, case when ok then 0
                        else missing + strange + doubled + changed + gaps + inverted end as mismatches
               from outbox.audited
              where lane = $1
              order by run desc
              limit 1) as last on true
"""


class Age(NamedTuple):
    """What a relay shows of a lane's last audit. `mismatches` are rows, records and numbers that differ."""

    seconds: float
    mismatches: int


async def age(connection: Connection, lane: Lane) -> Age:
    """0 seconds while there is nothing to audit."""
    row = await connection.fetchrow(AGE, str(lane))
    assert row is not None
    return Age(row["age_seconds"] or 0.0, row["mismatches"])
