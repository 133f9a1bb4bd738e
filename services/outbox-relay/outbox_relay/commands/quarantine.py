"""Rows that could not be published: seen, and decided about. The relay carries a decision out, within seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

import zstandard

from millrace.postgres import Connection, Transaction

Action = Literal["retry", "drop"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parked rows are meant: what is None does not matter."""

    ids: Sequence[int] | None = None
    key: str | None = None
    topic: str | None = None
    reason: str | None = None


class Entry(NamedTuple):
    """A row in quarantine, without what it carries. Units: `bytes` of the payload, unpacked."""

    id: int
    topic: str
    key: str
    reason: str
    detail: str
    status: str
    bytes: int
    written_at: datetime
    parked_at: datetime
    decision: int | None
    decided_by: str | None
    why: str | None
    ended_at: datetime | None


LIST = """
-- The oldest rows first; those that have ended only when they are asked for.
select id, topic, key, reason, detail, status, coalesce(unpacked, octet_length(payload)) as bytes,
       written_at, parked_at, decision, decided_by, why, ended_at
  from outbox.quarantine
 where ($1::bigint[] is null or id = any($1)) and ($2::text is null or key = $2)
   and ($3::text is null or topic = $3) and ($4::text is null or reason = $4)
   and ($5 or ended_at is null)
 order by id
 limit $6
"""


async def parked(
    connection: Connection, wanted: Wanted, *, ended: bool = False, limit: int = 1000
) -> list[Entry]:
    """What is in quarantine; with `ended`, also what became of what was."""
    found = await connection.fetch(LIST, wanted.ids, wanted.key, wanted.topic, wanted.reason, ended, limit)
    return [Entry(*row) for row in found]


CONTENT = """
-- One row's headers, and its payload as it rests.
select headers::text as headers, payload, unpacked from outbox.quarantine where id = $1
"""


class Content(NamedTuple):
    """What a row carries: it may be personal, and it may be what is wrong with the row."""

    headers: str
    payload: bytes
    packed: bool  # it does not unpack


async def content(connection: Connection, row_id: int) -> Content | None:
    """Headers and payload of a parked row; None when it is not in quarantine."""
    row = await connection.fetchrow(CONTENT, row_id)
    if row is None:
        return None
    payload, size = row["payload"], row["unpacked"]
    if size is None:
        return Content(row["headers"], payload, packed=False)
    try:
        whole = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    except zstandard.ZstdError:
        return Content(row["headers"], payload, packed=True)
    return Content(row["headers"], whole, packed=False)


DECIDE = """
-- One decision about parked rows. Where a row holds up its key, trying it again means all of the key, in order;
-- what waits behind a dropped one is let go by the relay.
with chosen as (
    select id, topic, key from outbox.quarantine
     where status = 'parked'
       and ($1::bigint[] is null or id = any($1)) and ($2::text is null or key = $2)
       and ($3::text is null or topic = $3) and ($4::text is null or reason = $4)
), concerned as (
    select id from chosen
     union
    select q.id from outbox.quarantine q join chosen using (topic, key)
     where $5 = 'retry' and q.status = 'parked'
       and exists (select from outbox.quarantine b
                    where b.topic = q.topic and b.key = q.key and b.ended_at is null and b.reason = 'behind')
), number as materialized (
    select outbox.next_decision() as number where exists (select from concerned)
)
update outbox.quarantine q
   set status = $5, decision = number.number, decided_by = $6, why = $7
  from concerned, number
 where q.id = concerned.id and q.status = 'parked'
returning q.id
"""


async def decide(tx: Transaction, wanted: Wanted, action: Action, by: str, why: str) -> list[int]:
    """Have rows tried again, or dropped for good; returns them. Writes: their decision, when the transaction commits.

    Replay: decides about what is parked then; a row that is decided about already is left alone.
    """
    found = await tx.fetch(DECIDE, wanted.ids, wanted.key, wanted.topic, wanted.reason, action, by, why)
    return sorted(row["id"] for row in found)
