"""The right to be one member of the group: of two processes with one name, one goes on and the other leaves.

Kafka's static members do not fence each other through this client: the two would swap the seat for ever while both
are given the same partitions. So the seat is a session's advisory lock in the consumer's own database, which
PostgreSQL gives up the moment its holder dies, and a quarter of a minute after its machine falls silent. The latecomer
waits as long as a predecessor may drain, and never reaches Kafka.
It needs a session of its own: a DSN through a transaction pooler will not do.
"""

from __future__ import annotations

import asyncio
import logging

import asyncpg

from millrace.errors import Failure, Misconfigured
from millrace.postgres import CUT_OFF, Pool

log = logging.getLogger("millrace.consumer")

PATIENCE_SECONDS = 30.0  # longer than a predecessor may drain, shorter than a startup probe
ASK_SECONDS = 0.5

TAKE = """
-- Asked again and again instead of waited for: a waiting statement would hold a snapshot, and vacuum with it.
select pg_try_advisory_lock(hashtextextended($1, 0))
"""

FALL_SILENT = """
-- A holder whose machine is gone is given up after 5 s and three tries of 3 s.
select set_config('tcp_keepalives_idle', '5', false),
       set_config('tcp_keepalives_interval', '3', false),
       set_config('tcp_keepalives_count', '3', false)
"""

KEEP = """
-- Still here.
select 1
"""


class SeatTaken(Failure):
    """Another live process has this member's name; the two would be given the same partitions."""


class Seat:
    """One member's seat. It takes one connection of the pool for as long as it is kept.

    Units:  `patience_seconds` for a predecessor to leave.
    Raises: SeatTaken; Misconfigured when the pool has no connection to spare.
    """

    def __init__(self, pool: Pool, name: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.pool, self.name, self.patience_seconds = pool, name, patience_seconds
        self._connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | None = None

    async def take(self) -> None:
        """Wait for the seat; for a database as long as it takes."""
        if self.pool.get_max_size() < 2:
            raise Misconfigured(f"{self.name} needs two connections or more: postgres.pool(dsn, size=2)")
        refused, clock = 0.0, asyncio.get_running_loop().time
        while not await self._taken():
            refused = refused or (clock() if self._connection else 0.0)
            if refused and clock() - refused > self.patience_seconds:
                await self.leave()
                raise SeatTaken(TAKEN.format(name=self.name))
            await asyncio.sleep(ASK_SECONDS)

    async def keep(self) -> None:
        """Make sure of it; a session that was lost, as in a fail-over, is replaced."""
        try:
            assert self._connection
            await self._connection.fetchval(KEEP)
        except (AssertionError, asyncpg.PostgresError, *CUT_OFF):
            await self.leave()
            await self.take()

    async def leave(self) -> None:
        """Give it back; for a session that is gone there is nothing to give."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await self.pool.release(connection, timeout=1.0)  # its reset unlocks
            except (asyncpg.PostgresError, *CUT_OFF) as problem:
                log.warning("seat left behind", extra={"seat": self.name, "why": type(problem).__name__})

    async def _taken(self) -> bool:
        try:
            if self._connection is None:
                self._connection = await self.pool.acquire()
                await self._connection.execute(FALL_SILENT)
            return bool(await self._connection.fetchval(TAKE, self.name))
        except (asyncpg.PostgresError, *CUT_OFF) as problem:
            log.warning(
                "no database yet to claim the seat in",
                extra={"seat": self.name, "why": type(problem).__name__},
            )
            await self.leave()
            return False


TAKEN = (
    "{name} is taken by another live process of this database. Give each process an instance of its own "
    "(<NAME>_INSTANCE; the pod's name in a StatefulSet), or end the other one"
)
