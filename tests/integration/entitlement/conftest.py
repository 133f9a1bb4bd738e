"""A migrated database and the consumer on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from entitlement.store import SCHEMA
from millrace import postgres
from millrace.consumer import Batches
from millrace.postgres import Pool
from tests.support.database import Database, MakeDatabase
from tests.unit.entitlement.telling import FOLD


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[Pool]:
    """With the rights of the service's own role, and no others."""
    made = await postgres.pool(db.dsn(SCHEMA))
    yield made
    await made.close()


@pytest.fixture
def batches(pool: Pool) -> Batches:
    return Batches(pool, FOLD)
