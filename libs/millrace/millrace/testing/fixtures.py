"""Fixtures for whoever uses pytest: `-p millrace.testing.fixtures`, with pytest-asyncio in its mode `auto`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from millrace.postgres import Pool, Schema
from millrace.testing import Bus, scratch

DATABASE = "MILLRACE_TEST_DATABASE"
Migrated = Callable[..., Awaitable[Pool]]


@pytest.fixture
def bus() -> Bus:
    """An empty bus."""
    return Bus()


@pytest.fixture
async def migrated() -> AsyncIterator[Migrated]:
    """`pool = await migrated(SCHEMA)`: a database of the test's own, in the role of that schema."""
    if not (dsn := os.environ.get(DATABASE, "")):
        pytest.fail(
            f"{DATABASE} is missing: the DSN of a PostgreSQL superuser, who makes databases for tests"
        )
    async with AsyncExitStack() as stack:

        async def make(schema: Schema, *others: Schema) -> Pool:
            return await stack.enter_async_context(scratch(dsn, schema, *others))

        yield make
