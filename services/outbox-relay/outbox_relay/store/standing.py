"""What PostgreSQL knows of the relays: who leads, who stands by, what waits for a person."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from millrace.postgres import Connection
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.standing import Leader
from outbox_relay.store.lease import LEASE_LOCK
from outbox_relay.store.upkeep import DAYS_AHEAD, FAR

CANDIDATES = """
-- The sessions of the relays that would lead a lane, and which of them holds its lock.
select session.pid, coalesce(host(session.client_addr), 'this machine') as host,
       session.backend_start as since, held.pid is not null as leads
  from pg_stat_activity session
  left join pg_locks held
    on held.pid = session.pid and held.locktype = 'advisory' and held.granted and held.objsubid = 2
   and held.classid = $1::int::oid and held.objid::bigint = $2 and held.database = session.datid
 where session.datname = current_database()
   and (held.pid is not null or session.application_name = left('millrace-relay-lease ' || $3, 63))
"""


async def candidates(connection: Connection, lane: Lane) -> tuple[Leader | None, int]:
    """Who leads, and how many stand by."""
    lock = lane.shards << 16 | lane.shard
    found = await connection.fetch(CANDIDATES, LEASE_LOCK, lock, str(lane))
    leaders = [Leader(row["pid"], row["host"], row["since"]) for row in found if row["leads"]]
    return next(iter(leaders), None), len(found) - len(leaders)


WANTED = """
-- Rows of a lane that wait for a person's decision, and when the outbox's first row was written.
select (select count(*) from outbox.quarantine where status = 'parked' and hash % $1 = $2) as parked,
       (select created_at from outbox.event order by id limit 1) as oldest
"""


class Wanted(NamedTuple):
    parked: int
    oldest: datetime | None


async def wanted(connection: Connection, lane: Lane) -> Wanted:
    row = await connection.fetchrow(WANTED, lane.shards, lane.shard)
    assert row is not None
    return Wanted(*row)


async def days_ahead(connection: Connection) -> int:
    """For how many days from tomorrow the outbox takes rows."""
    days: int = await connection.fetchval(DAYS_AHEAD, FAR)
    return days
