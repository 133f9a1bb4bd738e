"""A dunning database of a test's own, used with the rights of the dunning role and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dunning.commands import SCHEMA
from millrace import postgres
from millrace.postgres import Pool
from tests.support.database import Database, MakeDatabase

MakePool = Callable[[], Awaitable[Pool]]


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def new_pool(db: Database) -> AsyncIterator[MakePool]:
    """Further pools on the same database: another process of ours, each call."""
    made: list[Pool] = []

    async def make() -> Pool:
        made.append(await postgres.pool(db.dsn(SCHEMA), size=4))
        return made[-1]

    yield make
    for pool in made:
        await pool.close()


@pytest.fixture
async def pool(new_pool: MakePool) -> Pool:
    return await new_pool()
