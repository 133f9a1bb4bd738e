"""A ledger of one's own: a migrated database, the service's pool, and batches to feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from ledger.fold import fold
from ledger.store import SCHEMA
from millrace import postgres
from millrace.consumer import Batches
from millrace.postgres import Connection, Pool
from tests.support.database import Database, MakeDatabase


@dataclass(frozen=True, slots=True)
class Ledger:
    """`role` and `owner` are connections; `batches` works through the role's pool."""

    database: Database
    pool: Pool
    batches: Batches
    role: Connection
    owner: Connection


@pytest.fixture
async def ledger(database: MakeDatabase) -> AsyncIterator[Ledger]:
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA), size=4)
    role: Connection = await asyncpg.connect(db.dsn(SCHEMA))
    owner: Connection = await asyncpg.connect(db.owner)
    try:
        yield Ledger(db, pool, Batches(pool, fold()), role, owner)
    finally:
        await role.close()
        await owner.close()
        await pool.close()
