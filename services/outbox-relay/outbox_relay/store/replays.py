"""Rows that are to be published again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Row
from outbox_relay.store.reading import read_row

PAGE_ROWS = 200  # in one transaction; their payloads are in memory


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows a person asks for: these, or all that were written since then."""

    ids: tuple[int, ...] | None = None
    since: datetime | None = None


class Chosen(NamedTuple):
    """What of it a lane has. `waiting` rows are on their way for the first time, `parked` ones in quarantine."""

    rows: int
    waiting: int
    parked: int


OF_LANE = """
    select event.*,
           not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
           and ($4::text is null or id > $5 or not pg_visible_in_snapshot(xid, $4::text::pg_snapshot)) as waiting,
           exists (select from outbox.quarantine parked
                    where parked.id = event.id and parked.status <> 'published') as parked
      from outbox.event
     where hash % $1 = $2
       and ($6::bigint[] is null or id = any($6))
       and ($7::timestamptz is null or created_at >= $7)
"""

CHOOSE = f"""
-- How many of the rows that were asked for have been published, and how many have not.
select count(*) filter (where not waiting and not parked) as rows,
       count(*) filter (where waiting and not parked) as waiting,
       count(*) filter (where parked) as parked
  from ({OF_LANE}) as asked
"""

PAGE = f"""
-- The next of those that have been, by id; a payload too large for Kafka stays where it is.
select id, topic, key, headers::text as headers,
       case when coalesce(unpacked, octet_length(payload)) <= $9 then payload end as payload, xid,
       octet_length(key) + octet_length(headers::text) + coalesce(unpacked, octet_length(payload)) as size,
       hash, unpacked
  from ({OF_LANE}) as asked
 where not waiting and not parked and id > $8
 order by id
 limit $10
"""


def _arguments(cursor: Cursor, lane: Lane, asked: Asked) -> tuple[object, ...]:
    place = cursor.position
    window = str(place.window) if place.window else None
    return lane.shards, lane.shard, str(place.seen), window, place.last_id, asked.ids, asked.since


async def chosen(connection: Connection, cursor: Cursor, lane: Lane, asked: Asked) -> Chosen:
    row = await connection.fetchrow(CHOOSE, *_arguments(cursor, lane, asked))
    assert row is not None
    return Chosen(*row)


async def page(
    connection: Connection, cursor: Cursor, lane: Lane, asked: Asked, after: int, claim_bytes: int
) -> list[Row]:
    """The next rows after an id, as they were published."""
    arguments = _arguments(cursor, lane, asked)
    return [read_row(row) for row in await connection.fetch(PAGE, *arguments, after, claim_bytes, PAGE_ROWS)]
