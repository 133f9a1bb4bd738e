"""The right to publish a lane: a session's advisory lock. It stands apart from the session that reads, so that
PostgreSQL itself gives it up when its holder falls silent, even in the middle of a page.

Two lanes of one outbox are led side by side; lanes of another division of it (one of two, one of three) never,
since each would publish rows of the other. A lock names its division, so every relay first takes its own, and then
looks whether anybody holds one of another division. Of two that take theirs at the same moment at least one sees
the other, and gives way: the look comes after the lock. Whoever holds a single lane therefore keeps every other
division out.
"""

from __future__ import annotations

import asyncio

from millrace.postgres import Connection
from outbox_relay.domain.lane import Lane
from outbox_relay.store.sessions import close, connect

LEASE_LOCK = 0x72656C61  # "rela", the class of our locks; PostgreSQL keeps them apart by database

TAKE_LEASE = """
-- Asked again and again instead of waited for: a waiting statement would hold a snapshot, and vacuum with it.
select pg_try_advisory_lock($1::int, $2::int)
"""

OTHER_DIVISION = """
-- Whether a lane of another division is led, or about to be. Objects of our class are `shards << 16 | shard`.
select exists (select from pg_locks
                where locktype = 'advisory' and granted and objsubid = 2 and classid = $1::int::oid
                  and database = (select oid from pg_database where datname = current_database())
                  and objid::bigint >> 16 <> $2)
"""

GIVE_BACK = """
-- Another division is in office.
select pg_advisory_unlock($1::int, $2::int)
"""

KEEP_LEASE = """
-- Still here.
select 1
"""


class Lease:
    """The right to publish a lane. `lost` is set the moment it may have passed to somebody else."""

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
        await close(self.connection)


class Candidate:
    """Stands by for a lane with its session open, so that asking costs one round trip.

    ask()    the lease, or None while somebody else has it. Raises: whatever its connection does
    leave()  closes the session; a lease that was given goes on
    Units: PostgreSQL itself ends a holder's session after `seconds` of silence: its process was stopped, or its
    machine is gone.
    """

    def __init__(self, dsn: str, lane: Lane, seconds: float) -> None:
        self.dsn, self.lane, self.seconds = dsn, lane, seconds
        self.connection: Connection | None = None

    async def ask(self) -> Lease | None:
        try:
            connection = self.connection = self.connection or await self._connected()
            if not await self._taken(connection):
                return None
        except BaseException:
            self._terminate()
            raise
        self.connection = None
        return Lease(connection, self.seconds)

    async def leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection:
            await close(connection)

    async def _connected(self) -> Connection:
        settings = {
            "application_name": f"millrace-relay-lease {self.lane}",
            "idle_session_timeout": str(int(self.seconds * 1000)),
        }
        return await connect(self.dsn, self.seconds, settings)

    async def _taken(self, connection: Connection) -> bool:
        division = self.lane.shards
        lock = division << 16 | self.lane.shard
        if not await connection.fetchval(TAKE_LEASE, LEASE_LOCK, lock):
            return False
        if await connection.fetchval(OTHER_DIVISION, LEASE_LOCK, division):
            await connection.execute(GIVE_BACK, LEASE_LOCK, lock)
            return False
        return True

    def _terminate(self) -> None:
        connection, self.connection = self.connection, None
        if connection:
            connection.terminate()


async def lease(dsn: str, lane: Lane, seconds: float) -> Lease | None:
    """Ask once: the lease, or None when the lane, or another division of its outbox, is led by somebody."""
    candidate = Candidate(dsn, lane, seconds)
    try:
        return await candidate.ask()
    finally:
        await candidate.leave()
