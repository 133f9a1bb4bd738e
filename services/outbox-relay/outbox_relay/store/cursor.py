"""A lane's cursor in PostgreSQL: the one that counts in the mode `idempotent`, a copy for people in the other.

Terms tell who may write it: each leader begins the next one, and what an earlier one still sends changes nothing.
"""

from __future__ import annotations

import asyncio

from millrace.postgres import Connection
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.store.sessions import close, connect

BEGIN_TERM = """
-- The next term of a lane, and the cursor that the last one left, if that counts.
insert into outbox.cursor as it (lane, record, term)
values ($1, null, 1)
on conflict (lane) do update set term = it.term + 1
returning term, case when counts then record::text end as record
"""

SAVE_CURSOR = """
-- As long as no later term has begun. A copy ($4 false) leaves the word to the cursor topic.
update outbox.cursor
   set record = $3::text::jsonb, counts = $4, at = now()
 where lane = $1 and term = $2
returning true
"""


class Cursors:
    """The CursorStore of a lane. It keeps a session of its own, and opens another when that one is lost.

    Units: `seconds` bounds connecting and every statement.
    """

    def __init__(self, dsn: str, lane: Lane, seconds: float = 10.0) -> None:
        self.dsn, self.lane, self.seconds = dsn, lane, seconds
        self.term = 0
        self._connection: Connection | None = None
        self._one = asyncio.Lock()

    async def take(self) -> Cursor | None:
        """Begins the next term. Returns: the cursor that was left, if it counts."""
        async with self._one:
            row = await (await self._session()).fetchrow(BEGIN_TERM, str(self.lane))
        assert row is not None
        self.term = row["term"]
        return Cursor.parse(row["record"].encode()) if row["record"] else None

    async def save(self, cursor: Cursor) -> bool:
        """From now on this one counts. False: a later term has begun, and nothing was written."""
        return await self._write(cursor, counts=True)

    async def mirror(self, cursor: Cursor) -> bool:
        """A copy of what Kafka has. False as above."""
        return await self._write(cursor, counts=False)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await close(connection)

    async def _write(self, cursor: Cursor, *, counts: bool) -> bool:
        record = cursor.record().decode()
        async with self._one:
            session = await self._session()
            return bool(await session.fetchval(SAVE_CURSOR, str(self.lane), self.term, record, counts))

    async def _session(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self.dsn, self.seconds, {"application_name": "millrace-relay-cursor"}
            )
        return self._connection
