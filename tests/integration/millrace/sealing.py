"""The sealing schema in a database of one's own, with the roles of those who seal, open and keep the keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from millrace import postgres, sealing
from millrace.postgres import Connection, Pool
from millrace.sealing import Place, Subject, store
from tests.support.database import Database, MakeDatabase

EDGE = postgres.Schema("edge", (sealing.SEALS,))
MAILER = postgres.Schema("mailer", (sealing.OPENS,))
SCHEMAS = (sealing.SCHEMA, EDGE, MAILER)

ANNA = Subject("acct_1", "cus_anna")
BERT = Subject("acct_1", "cus_bert")
ACCOUNT = Subject("acct_1")
HERE = Place("event", "data.object.email", "acct_1/evt_1")


WAITS = """
select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')
"""


@dataclass(frozen=True, slots=True)
class Rooms:
    """Pools with the rights of one role each, and the database's owner, who may do everything."""

    db: Database
    edge: Pool
    mailer: Pool
    keeper: Pool
    owner: Connection

    async def destroy(self, subject: Subject) -> int:
        async with postgres.transaction(self.keeper) as tx:
            return await sealing.destroy(tx, *subject)

    async def index(self, rows: Sequence[store.Indexed]) -> None:
        async with postgres.transaction(self.edge) as tx:
            await sealing.index(tx, rows)

    async def rows(self) -> list[asyncpg.Record]:
        return await self.owner.fetch("select * from sealing.subject_key order by id")

    async def blocked(self) -> None:
        """Until somebody in this database waits for a lock."""
        async with asyncio.timeout(10):
            while not await self.owner.fetchval(WAITS):
                pass


@asynccontextmanager
async def rooms_in(database: MakeDatabase, *more: postgres.Schema) -> AsyncIterator[Rooms]:
    db = await database(*SCHEMAS, *more)
    edge, mailer, keeper = [await postgres.pool(db.dsn(schema)) for schema in (EDGE, MAILER, sealing.SCHEMA)]
    owner: Connection = await asyncpg.connect(db.owner)
    try:
        yield Rooms(db, edge, mailer, keeper, owner)
    finally:
        await owner.close()
        for pool in (edge, mailer, keeper):
            await pool.close()
