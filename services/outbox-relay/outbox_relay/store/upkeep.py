"""What a leader does beside publishing: a heartbeat row, and the days of the outbox that lie ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace import outbox
from millrace.postgres import Connection
from outbox_relay.domain.lane import Lane
from outbox_relay.store.audits import Age, age
from outbox_relay.store.sessions import close, connect

FAR = 99  # days: further than anybody makes them ahead

BEAT = """
-- A row that goes the whole way. The function is the owner's: this role writes nothing else into the outbox.
select outbox.beat($1, $2)
"""

DAYS_AHEAD = """
-- For how many days from tomorrow, without a gap, the outbox takes rows.
select coalesce(min(day), $1 + 1) - 1
  from generate_series(1, $1) as day
 where to_regclass('outbox.event_' || to_char((clock_timestamp() at time zone 'UTC')::date + day, 'YYYYMMDD')) is null
"""


class Ledger:
    """The session of this work. Opened by `upkeep`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def beat(self, key: str, nonce: str) -> None:
        """Writes: an outbox row, committed."""
        await self.connection.execute(BEAT, key, nonce)

    async def make_days(self, ahead: int) -> None:
        """Writes: the days that are missing."""
        await outbox.make_days(self.connection, ahead)

    async def audited(self, lane: Lane) -> Age:
        """How the lane's last audit went."""
        return await age(self.connection, lane)

    async def days_ahead(self) -> int:
        days: int = await self.connection.fetchval(DAYS_AHEAD, FAR)
        return days


@asynccontextmanager
async def upkeep(dsn: str, lane: Lane, seconds: float) -> AsyncIterator[Ledger]:
    """Units: `seconds` bounds connecting and every statement."""
    connection = await connect(dsn, seconds, {"application_name": f"millrace-relay-upkeep {lane}"})
    try:
        yield Ledger(connection)
    finally:
        await close(connection)
