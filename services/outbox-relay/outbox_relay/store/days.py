"""The outbox's days: what each holds, what of it is not behind every lane, and how a day leaves.

A day is closed, checked, detached, dropped. Whatever interrupts this, the next run finds how far it came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import NamedTuple

import asyncpg

from millrace.postgres import OWNER, Connection, Transaction
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.days import Covered, Day
from outbox_relay.domain.lane import Lane
from outbox_relay.store.reading import identified

LOCK_WAIT = "2s"  # for the writers of an old day, whom nobody expects
LEAVE_WAIT = "60s"  # for transactions that are open on the outbox

TODAY = """
-- The day that rows are written in now, by the clock that dates them.
select (clock_timestamp() at time zone 'UTC')::date
"""


async def today(connection: Connection) -> date:
    found: date = await connection.fetchval(TODAY)
    return found


DAYS = """
-- The tables of days, those as well that have left the outbox and were not dropped.
select 'outbox.' || relname as name, to_date(right(relname, 8), 'YYYYMMDD') as day,
       greatest(reltuples::bigint, pg_stat_get_live_tuples(oid), 0) as rows, pg_total_relation_size(oid) as bytes,
       exists (select from pg_trigger where tgrelid = pg_class.oid and tgname = 'day_is_closed') as closed,
       inhrelid is not null as attached, coalesce(inhdetachpending, false) as detaching
  from pg_class left join pg_inherits on inhrelid = oid and inhparent = 'outbox.event'::regclass
 where relnamespace = 'outbox'::regnamespace and relkind = 'r' and relname ~ '^event_[0-9]{8}$'
 order by day
"""


async def days(connection: Connection) -> list[Day]:
    """Oldest first."""
    return [Day(**row) for row in await connection.fetch(DAYS)]


LANES = """
-- The last known cursor of every lane, and the one up to which its last audit found everything well. An audit
-- that found something stands in the way until a later one covers the same rows and finds nothing.
select lane, record::text as published,
       (select audited.cursor::text from outbox.audited
         where audited.lane = cursor.lane and ok order by run desc limit 1) as audited
  from outbox.cursor
 order by lane
"""


class Behind(NamedTuple):
    """What all lanes have published, what has been audited of it, and which lanes have no audit: then nothing has."""

    published: Covered
    audited: Covered
    unaudited: list[Lane]


async def behind(connection: Connection) -> Behind:
    """Cursors of another history of the database, and of lanes that were given up, count for nothing."""
    here, _ = await identified(connection)
    published: dict[Lane, Cursor] = {}
    audited: dict[Lane, Cursor] = {}
    for row in await connection.fetch(LANES):
        for found, record in ((published, row["published"]), (audited, row["audited"])):
            if record and (cursor := Cursor.parse(record)).identity == here:
                found[Lane.parse(row["lane"])] = cursor
    live = {lane: cursor for lane, cursor in published.items() if not cursor.retired}
    unaudited = sorted(live.keys() - audited.keys())
    proven = {} if unaudited else {lane: audited[lane] for lane in live}
    return Behind(_covered(live), _covered(proven), unaudited)


def _covered(cursors: dict[Lane, Cursor]) -> Covered:
    return Covered({lane: cursor.position for lane, cursor in cursors.items()})


UNCOVERED = """
-- How many committed rows of a day are not behind every lane that owns them. Exact: rows of transactions that are
-- older than all cursors are passed over by the index, every other one is looked at.
select count(*)
  from {day} as event
 where xid >= $1::xid8
   and not coalesce((
       select bool_and(pg_visible_in_snapshot(xid, seen::pg_snapshot)
                       or (id <= last_id and pg_visible_in_snapshot(xid, "window"::pg_snapshot)))
         from unnest($2::int[], $3::int[], $4::text[], $5::text[], $6::bigint[])
              as lane (shard, shards, seen, "window", last_id)
        where hash % shards = shard), false)
"""

ANY = """
-- Whether a day has a row at all.
select exists (select from {day})
"""


async def uncovered(connection: Connection, day: Day, covered: Covered) -> int:
    """Rows that are not behind every lane; at least 1 when lanes are missing and there are any."""
    if not covered.whole:
        return int(await connection.fetchval(ANY.format(day=day.name)))
    lanes, places = zip(*covered.lanes.items(), strict=True)
    found: int = await connection.fetchval(
        UNCOVERED.format(day=day.name),
        covered.floor,
        [lane.shard for lane in lanes],
        [lane.shards for lane in lanes],
        [str(place.seen) for place in places],
        [str(place.window or place.seen) for place in places],
        [place.last_id if place.window else 0 for place in places],
    )
    return found


@asynccontextmanager
async def owning(connection: Connection) -> AsyncIterator[None]:
    """As the owner of everything, who alone may take a day out."""
    await connection.execute(f"set role {OWNER}")
    try:
        yield
    finally:
        with suppress(asyncpg.InFailedSQLTransactionError):  # whose end resets it
            await connection.execute("reset role")


CLOSE = """
-- From now on the day takes no row. Making the trigger waits for the transactions that are writing into this very
-- day, and for nobody who reads: what is counted after it is final.
set local lock_timeout = '{wait}';
create or replace trigger day_is_closed before insert on {day} for each row execute function outbox.refuse_late();
"""


async def close(
    connection: Connection,
    day: Day,
    uncovered: Callable[[], Awaitable[str]],
    witness: Callable[[Transaction], Awaitable[None]],
) -> str:
    """Close a day for good, if nothing in it is uncovered even then; else why not, and it is as it was.

    Writes: a trigger, and what `witness` writes, in one transaction.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(CLOSE.format(day=day.name, wait=LOCK_WAIT))
        if not (why := await uncovered()):
            await witness(connection)
    except BaseException:
        await transaction.rollback()
        raise
    await (transaction.rollback() if why else transaction.commit())
    return why


DETACH = """
-- Leave the outbox without stopping anybody: whoever has the day in a plan is waited for, behind nobody's back.
alter table outbox.event detach partition {day} concurrently
"""

FINALIZE = """
-- The second half of it, where the first run was interrupted.
alter table outbox.event detach partition {day} finalize
"""

DROP = """
-- Nobody has it in a plan any more.
drop table {day}
"""


async def leave(connection: Connection, day: Day) -> None:
    """Detach and drop a closed day. Raises: asyncpg's QueryCanceledError or LockNotAvailableError when an open
    transaction was in the way for too long; the next call goes on from there."""
    await connection.execute(f"set statement_timeout = '{LEAVE_WAIT}'")
    try:
        if day.attached:
            await connection.execute((FINALIZE if day.detaching else DETACH).format(day=day.name))
        await connection.execute(DROP.format(day=day.name))
    finally:
        await connection.execute("reset statement_timeout")


HOLDERS = """
-- The oldest transactions that are open in this database, in a session or prepared.
select who, clock_timestamp() - since as age
  from (select 'pid ' || pid || ' (' || coalesce(nullif(application_name, ''), usename) || ')' as who,
               xact_start as since
          from pg_stat_activity
         where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()
         union all
        select 'prepared transaction ' || gid, prepared from pg_prepared_xacts where database = current_database()
       ) as holder
 order by since
 limit 3
"""


async def holders(connection: Connection) -> list[str]:
    """What a day may be waiting for, a line each. Whoever is no superuser needs pg_read_all_stats to see others."""
    return [f"{row['who']}, {row['age'].total_seconds():.0f} s" for row in await connection.fetch(HOLDERS)]


FORGET = """
-- Payloads whose records have left Kafka, and whose rows have left the outbox.
delete from outbox.claim
 where claimed_at < now() - make_interval(days => $1)
   and not exists (select from outbox.event where id = outbox_id)
"""


async def forget_claims(tx: Transaction, days: int) -> int:
    """How many payloads were removed. Writes: outbox.claim, as its owner."""
    return int((await tx.execute(FORGET, days)).split()[-1])
