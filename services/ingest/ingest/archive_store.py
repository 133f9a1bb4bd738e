"""Every statement about the log as a whole: finding events in it, leaving with a month of it, its partitions.

They are for operators: for a role that reads every schema. `detach` acts as the schema's owner.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import zstandard

from ingest.domain.months import Month
from millrace.postgres import OWNER, Connection, Transaction

PAGE = 500  # rows fetched at once: some megabytes
LOCK_WAIT = "2s"  # how long the door may wait behind a detach that itself waits; below what Stripe bears

Record = dict[str, Any]


class Search(NamedTuple):
    """What is looked for; None asks for anything."""

    account: str | None
    customers: list[str] | None
    type_like: str | None  # a pattern of LIKE
    since: datetime | None
    until: datetime | None
    limit: int


SEARCH = """
-- The newest events of what is looked for. Between instants only the partitions of their months are touched.
select account, id, type, created, received_at, customer, object_id, source, endpoint, cards
  from ingest.event
 where ($1::text is null or account = $1)
   and ($2::text[] is null or customer = any($2))
   and ($3::text is null or type like $3)
   and received_at >= coalesce($4::timestamptz, '-infinity')
   and received_at < coalesce($5::timestamptz, 'infinity')
 order by received_at desc, account desc, id desc
 limit $6
"""


async def search(connection: Connection, wanted: Search) -> list[Record]:
    """Events, newest arrival first."""
    return [dict(row) for row in await connection.fetch(SEARCH, *wanted)]


FIND = """
-- An event by its id, in whichever account. The accounts are walked one by one through the key of the ids: no
-- scan. Where the month has left the log, only when the event arrived is known.
with recursive accounts (account) as (
    (select account from ingest.event_id order by account limit 1)
    union all
    select (select account from ingest.event_id as further where further.account > accounts.account
             order by account limit 1)
      from accounts
     where accounts.account is not null
)
select known.account, known.id, known.received_at, type, created, api_version, livemode, object_id, customer,
       source, endpoint, secret, cards, signature, raw
  from accounts
  join ingest.event_id as known on known.account = accounts.account and known.id = $1
  left join ingest.event as stored
    on (stored.received_at, stored.account, stored.id) = (known.received_at, known.account, known.id)
 where $2::text is null or known.account = $2
 order by known.account
"""


async def find(connection: Connection, id_: str, account: str | None) -> list[Record]:
    """The event of that id, one an account; `raw` is None where its month has been detached."""
    return [dict(row) for row in await connection.fetch(FIND, id_, account)]


OF_NAMES = """
-- Events by their names, as far as their months are still there.
select e.account, e.id, e.received_at, e.source, e.endpoint, e.livemode, e.raw
  from unnest($1::text[], $2::text[]) as asked (account, id)
  join ingest.event_id as known using (account, id)
  join ingest.event as e
    on (e.received_at, e.account, e.id) = (known.received_at, known.account, known.id)
"""


async def of_names(connection: Connection, names: Sequence[tuple[str, str]]) -> list[Record]:
    """What is stored of these (account, id)."""
    accounts, ids = [account for account, _ in names], [id_ for _, id_ in names]
    return [dict(row) for row in await connection.fetch(OF_NAMES, accounts, ids)]


PUBLISHED = """
-- What was published of an event. Its outbox row is of the same transaction, which leads there by an index: the
-- row's xmin is the end of that transaction's number. Nothing once the outbox has dropped the row.
select published.payload, published.unpacked
  from ingest.event as stored
 cross join generate_series(0, pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 32) as epoch
  join outbox.event as published
    on published.xid = ((epoch << 32) | stored.xmin::text::bigint)::text::xid8
 where (stored.received_at, stored.account, stored.id) = ($1, $2, $3)
   and published.headers->>'ce_id' = stored.id
   and published.headers->>'ce_source' = 'stripe/' || stored.account
"""


async def published(connection: Connection, received_at: datetime, account: str, id_: str) -> bytes | None:
    """The event as it was published, sealed; None when the outbox no longer holds it."""
    found = await connection.fetchrow(PUBLISHED, received_at, account, id_)
    if found is None:
        return None
    payload: bytes = found["payload"]
    size = found["unpacked"]
    return payload if size is None else zstandard.decompress(payload, max_output_size=size)


KNOWN = """
-- Which of these are stored already.
select account, id
  from unnest($1::text[], $2::text[]) as asked (account, id)
  join ingest.event_id using (account, id)
"""


async def known(connection: Connection, events: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Of (account, id), those that are stored already."""
    accounts, ids = [account for account, _ in events], [id_ for _, id_ in events]
    return {(row["account"], row["id"]) for row in await connection.fetch(KNOWN, accounts, ids)}


BODIES = """
-- Everything stored with its sealed body, in an order that does not depend on arrival.
select account, id, raw from ingest.event order by account collate "C", id collate "C"
"""


def bodies(connection: Connection) -> AsyncIterator[list[Record]]:
    """(account, id, raw) of everything stored, in pages."""
    return _pages(connection, BODIES)


COUNT = """
-- How many events arrived between two instants.
select count(*) from ingest.event where received_at >= $1 and received_at < $2
"""


async def count(connection: Connection, month: Month) -> int:
    """How many events arrived in a month."""
    return int(await connection.fetchval(COUNT, month.starts, month.ends))


COUNT_OF = """
-- How many events of a customer the log holds; each month by its index.
select count(*) from ingest.event where (account, customer) = ($1, $2)
"""


async def count_of(connection: Connection, account: str, customer: str) -> int:
    """How many events of a customer are in the log."""
    return int(await connection.fetchval(COUNT_OF, account, customer))


MONTH = """
-- Everything between two instants in the order of arrival; who came together by name, whatever the server's language.
select account, id, type, created, api_version, livemode, object_id, customer, received_at, source, endpoint,
       secret, cards, signature, raw
  from ingest.event
 where received_at >= $1 and received_at < $2
 order by received_at, account collate "C", id collate "C"
"""


def month_of(connection: Connection, month: Month) -> AsyncIterator[list[Record]]:
    """A month's events, whole and sealed, in pages."""
    return _pages(connection, MONTH, month.starts, month.ends)


PARTITIONS = """
-- The partitions with what they hold: rows as the server estimates them, bytes with indexes. The default has no range.
select name, substring(bound from 'FROM \\(''([^'']+)''\\)')::timestamptz as starts,
       substring(bound from 'TO \\(''([^'']+)''\\)')::timestamptz as ends, rows, bytes
  from (select relname as name, pg_get_expr(relpartbound, oid) as bound,
               greatest(reltuples::bigint, pg_stat_get_live_tuples(oid), 0) as rows,
               pg_total_relation_size(oid) as bytes
          from pg_inherits join pg_class on oid = inhrelid
         where inhparent = 'ingest.event'::regclass) as partition
 order by starts, name
"""


async def partitions(connection: Connection) -> list[Record]:
    """name, starts, ends, rows (about) and bytes; the default one last."""
    return [dict(row) for row in await connection.fetch(PARTITIONS)]


OUTSIDE = """
-- What lies in no month of its own.
select date_trunc('month', received_at at time zone 'UTC')::date as month, count(*) as rows
  from ingest.event_default
 group by 1
 order by 1
"""


async def outside(connection: Connection) -> list[tuple[date, int]]:
    """(first day of the month, rows) of what the default partition holds."""
    return [(row["month"], row["rows"]) for row in await connection.fetch(OUTSIDE)]


DETACH = """
-- A month leaves the log as a table of its own, under another name and still refusing every change: the trigger
-- was the log's. A lock that is not had soon is given up, for every webhook waits behind it. `concurrently` would
-- not wait, but PostgreSQL refuses it beside a default partition.
set local role {owner};
set local lock_timeout = '{wait}';
alter table ingest.event detach partition ingest.{partition};
alter table ingest.{partition} rename to {partition}_detached;
create trigger event_stays before update or delete on ingest.{partition}_detached
    for each row execute function ingest.refuse_event_change();
"""


async def detach(tx: Transaction, month: Month) -> str:
    """Take a month's partition out of the log; returns the table's new name. The transaction becomes the owner's.

    Raises: asyncpg.LockNotAvailableError when the log is in use for longer than we may wait.
    """
    await tx.execute(DETACH.format(owner=OWNER, wait=LOCK_WAIT, partition=month.partition))
    return f"ingest.{month.partition}_detached"


async def _pages(connection: Connection, statement: str, *args: Any) -> AsyncIterator[list[Record]]:
    """The rows of a statement as they were at one moment, however many."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        cursor = await connection.cursor(statement, *args)
        while page := await cursor.fetch(PAGE):
            yield [dict(row) for row in page]
