"""The database that a consumer is built anew in: made for it, migrated, and dropped again unless it is to stay."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from millrace import outbox, postgres, sealing
from millrace.errors import Misconfigured
from millrace.postgres import Connection, Schema

NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Shadow:
    """Where the rebuild is. `dsn` is the owner's."""

    name: str
    dsn: str


@asynccontextmanager
async def shadow(live: str, into: str, schema: Schema, *, keep: bool) -> AsyncIterator[Shadow]:
    """An empty, migrated database. Of a name it is made beside the live one, and dropped; of a DSN it is taken.

    Raises: Misconfigured when it is there already, or holds the consumer already.
    """
    if "://" in into:
        where = Shadow(urlsplit(into).path.lstrip("/"), into)
        await _migrated(where, schema)
        yield where
        return
    if not NAME.fullmatch(into):
        raise Misconfigured(
            f"--into {into!r}: a name is lower-case letters, digits and _; or give a whole DSN"
        )
    where = Shadow(into, urlunsplit(urlsplit(live)._replace(path=f"/{into}")))
    await _made(live, into)
    try:
        await _migrated(where, schema)
        yield where
    finally:
        if not keep:
            await _execute(live, f'drop database "{into}" with (force)')


async def _made(live: str, name: str) -> None:
    try:
        await _execute(live, f'create database "{name}"')
    except asyncpg.DuplicateDatabaseError:
        raise Misconfigured(
            f"--into {name}: is there already. Drop it (drop database {name}), or name another"
        ) from None
    except asyncpg.InsufficientPrivilegeError:
        raise Misconfigured(
            "MILLRACE_DATABASE: this role may not make databases. Have one made, and give its DSN with --into"
        ) from None
    await _execute(live, f'alter database "{name}" set synchronous_commit = off')  # it can be built again


async def _migrated(where: Shadow, schema: Schema) -> None:
    """Writes: the outbox, the keys' tables and the consumer's schema, all empty."""
    connection: Connection = await asyncpg.connect(where.dsn)
    try:
        if await connection.fetchval("select to_regclass($1)::text", f"{schema.name}.processed_events"):
            raise Misconfigured(
                f"--into {where.name}: holds {schema.name} already; a rebuild begins with nothing"
            )
    finally:
        await connection.close()
    for one in dict.fromkeys((outbox.SCHEMA, sealing.SCHEMA, schema)):
        await postgres.migrate(where.dsn, one)


async def _execute(dsn: str, statement: str) -> None:
    connection: Connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
