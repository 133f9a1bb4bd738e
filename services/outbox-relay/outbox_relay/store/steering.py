"""What a person must know of a database before putting a lane somewhere, and the mending of a restored one."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Snapshot
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.steering import Found, Told
from outbox_relay.store.lease import LEASE_LOCK
from outbox_relay.store.reading import foreign_rows, identified

LEADERS = """
-- Who holds a lane of this outbox, and from where. Objects of the class are `shards << 16 | shard`.
select locks.objid::bigint >> 16 as shards, locks.objid::bigint & 65535 as shard, locks.pid,
       coalesce(host(session.client_addr), 'a socket') as host, session.backend_start as since
  from pg_locks as locks
  left join pg_stat_activity as session using (pid)
 where locks.locktype = 'advisory' and locks.granted and locks.objsubid = 2 and locks.classid = $1::int::oid
   and locks.database = (select oid from pg_database where datname = current_database())
 order by 1, 2
"""


async def leaders(connection: Connection, database: str) -> dict[Lane, str]:
    """Each lane of this outbox that is led, and by whom."""
    return {
        Lane(
            database, row["shard"], row["shards"]
        ): f"server process {row['pid']}, of a relay at {row['host']} "
        f"since {row['since']:%Y-%m-%d %H:%M:%S %Z}"
        for row in await connection.fetch(LEADERS, LEASE_LOCK)
    }


FOUND = """
-- The newest transaction of which this snapshot sees a row, through the index on `xid`, and the newest decision.
select pg_current_snapshot()::text as now,
       (select xid from outbox.event where xid < pg_snapshot_xmax(pg_current_snapshot())
         order by xid desc limit 1) as newest,
       (select max(decision) from outbox.quarantine) as decided
"""
ESTIMATE = """
-- How many rows there are, as the planner believes: from the size of the files, where nobody has counted yet.
explain (format json) select from outbox.event
"""


async def found(connection: Connection) -> Found:
    """What this database says of itself, without a scan."""
    identity, _ = await identified(connection)
    row, plan = await connection.fetchrow(FOUND), await connection.fetchval(ESTIMATE)
    assert row is not None
    rows = (orjson.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"]
    now, foreign = Snapshot.parse(row["now"]), await foreign_rows(connection)
    return Found(identity, now, rows, row["newest"] or 0, foreign, row["decided"] or 0)


TOLD = """
-- What rows say of themselves.
select id, key, headers->>'ce_id' as name from outbox.event where id = any($1::bigint[])
"""
OLDEST = """
-- The lowest number there is; those below it went with their days.
select coalesce(min(id), 0) from outbox.event
"""


async def told(connection: Connection, ids: Sequence[int]) -> tuple[list[Told], int]:
    """Those of the rows that are here, and the number of the oldest row of all."""
    rows = await connection.fetch(TOLD, ids)
    return [Told(*row) for row in rows], await connection.fetchval(OLDEST)


FIRST_OWED = """
-- The lowest number that a snapshot does not see, through the index on `xid`.
select min(id + 0) from outbox.event
 where (xid >= $1::xid8 or xid = any($2::xid8[])) and not pg_visible_in_snapshot(xid, $3::text::pg_snapshot)
"""


async def first_owed(connection: Connection, seen: Snapshot) -> int | None:
    """The lowest row that was committed since `seen`, whichever lane's it is."""
    number: int | None = await connection.fetchval(FIRST_OWED, seen.xmax, seen.xip, str(seen))
    return number


UNGUARD = """
-- For this transaction: the only change to an outbox row that there is.
alter table only outbox.event disable trigger event_only_grows
"""
ADOPT = """
-- A row's transaction is an address in the history of one cluster. A dump carries it to another, where that number
-- may be years away: until then no snapshot would see the row. Here it is given the transaction that found it.
update outbox.event set xid = pg_current_xact_id() where xid >= pg_snapshot_xmax(pg_current_snapshot())
"""
GUARD = """
-- It only grows again.
alter table only outbox.event enable trigger event_only_grows
"""


async def adopt_rows(connection: Connection) -> int:
    """Make rows that were restored from another cluster visible to snapshots of this one; how many they were.

    Needs the table's owner. Writers wait meanwhile. Replay: finds none the second time.
    """
    async with connection.transaction():
        await connection.execute(UNGUARD)
        done = await connection.execute(ADOPT)
        await connection.execute(GUARD)
    return int(done.rsplit(" ", 1)[1])
