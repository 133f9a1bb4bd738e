"""A PostgreSQL database of a test's own: made, migrated, used with the consumer's rights, and dropped."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from millrace import outbox, postgres, sealing
from millrace.postgres import Pool, Schema

_numbers = itertools.count(1)


@asynccontextmanager
async def scratch(dsn: str, schema: Schema, *others: Schema) -> AsyncIterator[Pool]:
    """A pool on a new database with the outbox, the keys and these schemas, in the role of the first one.

    `dsn` is a superuser's, of any database of the server.
    Writes: a database `millrace_test_<process>_<n>`, dropped at the end.
    """
    name = f"millrace_test_{os.getpid()}_{next(_numbers)}"
    await _execute(dsn, f"create database {name}")
    try:
        parts = urlsplit(dsn)
        own = urlunsplit(parts._replace(path=f"/{name}"))
        for one in (outbox.SCHEMA, sealing.SCHEMA, *others, schema):
            await postgres.migrate(own, one)
        joined = "&" if parts.query else "?"
        pool = await postgres.pool(f"{own}{joined}role={quote(schema.role)}")  # its grants are tested as well
        try:
            yield pool
        finally:
            await pool.close()
    finally:
        await _execute(dsn, f"drop database {name} with (force)")


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
