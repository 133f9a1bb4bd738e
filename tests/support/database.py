"""A migrated database for each test, copied from a template that is made once a session."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from lab.stack import Stack
from millrace import outbox, postgres, sealing

_templates: dict[tuple[str, tuple[postgres.Schema, ...]], str] = {}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """Where a test's own database is. `dsn` with a role is what that service would be given."""

    owner: str  # superuser DSN of this database
    name: str

    def dsn(self, schema: postgres.Schema | str) -> str:
        """The DSN of one service's role, with just the rights its migrations grant."""
        role = schema if isinstance(schema, str) else schema.role
        parts = urlsplit(self.owner)
        return urlunsplit(parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}"))


MakeDatabase = Callable[..., Awaitable[Database]]


@pytest.fixture
async def database(stack: Stack) -> AsyncIterator[MakeDatabase]:
    """`await database(SCHEMA, …)` makes a database with the outbox, the keys and these schemas; dropped afterwards."""
    async with databases(stack) as make:
        yield make


@asynccontextmanager
async def databases(stack: Stack) -> AsyncIterator[MakeDatabase]:
    """The same for a fixture of a wider scope."""
    made: list[str] = []

    async def make(*schemas: postgres.Schema) -> Database:
        template = await _template(stack, schemas)
        name = f"test_{os.getpid()}_{next(_numbers)}"
        await _execute(stack.postgres, f"create database {name} template {template}")
        made.append(name)
        return Database(_in(stack.postgres, name), name)

    yield make
    for name in made:
        await _execute(stack.postgres, f"drop database {name} with (force)")


async def _template(stack: Stack, schemas: tuple[postgres.Schema, ...]) -> str:
    wanted = (stack.postgres, schemas)
    if wanted not in _templates:
        name = f"template_{os.getpid()}_{next(_numbers)}"
        await _execute(stack.postgres, f"create database {name}")
        for schema in dict.fromkeys((outbox.SCHEMA, sealing.SCHEMA, *schemas)):
            await postgres.migrate(_in(stack.postgres, name), schema)
        _templates[wanted] = name
    return _templates[wanted]


def _in(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for _ in range(20):  # a template may still be held by the connection that made it
            try:
                await connection.execute(statement)
                return
            except asyncpg.ObjectInUseError:
                await asyncio.sleep(0.05)
        await connection.execute(statement)
    finally:
        await connection.close()
