"""PostgreSQL: a pool, a transaction, and migrations that only go forward.

Each service has a schema and a role of its own. Everything is owned by `millrace_owner`, which cannot log in;
a service's role may do only what its migrations grant.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias, cast

import asyncpg
import orjson

from millrace.errors import Misconfigured

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Transaction: TypeAlias = Connection  # a connection inside `transaction`

OWNER = "millrace_owner"
MIGRATION_LOCK = 0x6D696C6C  # advisory lock: one migration at a time in a database
FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
CUT_OFF = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)  # how a lost connection shows


async def pool(dsn: str, *, size: int = 8, timeout_seconds: float = 10.0, name: str = "millrace") -> Pool:
    """Connections for one process.

    Units: `timeout_seconds` bounds waiting for a connection, connecting and every statement: no await is without
    an end.
    """
    made = _Pool(
        dsn,
        min_size=1,
        max_size=size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=timeout_seconds,
        command_timeout=timeout_seconds,
        init=prepare,
        server_settings={
            "application_name": name,
            "idle_in_transaction_session_timeout": "60s",
            "jit": "off",
        },
    )
    made.patience_seconds = timeout_seconds
    return await made


class _Pool(asyncpg.Pool):
    """A pool that keeps its size, and for whose connections nobody waits for ever.

    asyncpg itself aborts a connection on which it meets what it did not expect, such as the farewell of a session
    that was cut between two statements; its pool then leaves the place for one to free who never comes.
    """

    patience_seconds = 10.0

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=timeout or self.patience_seconds)

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:
        with suppress(asyncpg.InterfaceError):  # it was given back when it was lost
            if connection.is_closed():
                connection.terminate()
        await super().release(connection, timeout=timeout)


async def prepare(connection: Connection) -> None:
    """Teach a connection our JSON: numbers keep their digits, and there is no NaN (it would be null)."""
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(
            kind, schema="pg_catalog", encoder=_json_text, decoder=orjson.loads, format="text"
        )


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Transaction]:
    """One transaction on one connection: commits at the end, rolls back on any exception."""
    async with pool.acquire() as connection, connection.transaction():
        yield cast(Transaction, connection)


def _json_text(value: Any) -> str:
    return orjson.dumps(value).decode()


@dataclass(frozen=True, slots=True)
class Series:
    """Numbered migrations of one author: `package`, or the folder of this path, holds files named NNNN_intent.sql.

    In them, $schema and $role stand for the schema being migrated and the role that will use it.
    """

    name: str
    package: str

    def files(self) -> Iterator[tuple[int, str, str]]:
        """(number, file name, text) in order. Raises Misconfigured for a gap or a misnamed file."""
        folder = Path(self.package) if os.sep in self.package else resources.files(self.package)
        found = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
        for place, name in enumerate(found, 1):
            if not (match := FILE.fullmatch(name)) or int(match[1]) != place:
                raise Misconfigured(f"{self.package}/{name}: expected {place:04d}_intent.sql")
            yield place, name, folder.joinpath(name).read_text()


@dataclass(frozen=True, slots=True)
class Schema:
    """A Postgres schema with the series it is built from, and the role that works in it."""

    name: str
    series: tuple[Series, ...]

    @property
    def role(self) -> str:
        return f"millrace_{self.name}"


APPLIED = """
-- What has been applied to this schema, with the checksum it had then.
select series, number, checksum from migration
"""

RECORD = """
-- Remember one applied file.
insert into migration (series, number, name, checksum) values ($1, $2, $3, $4)
"""

HISTORY = """
-- The schema's own memory of how it was built.
create table if not exists migration (
    series      text not null,
    number      int not null,
    name        text not null,
    checksum    text not null,                                -- sha-256 of the file as applied
    applied_at  timestamptz not null default now(),
    primary key (series, number)
)
"""


ROLE = """
-- Roles belong to the whole server, the lock only to one database: another one's migration may be first.
do $$ begin
    if not exists (select from pg_roles where rolname = '{role}') then create role {role} {login}; end if;
exception when duplicate_object or unique_violation then null;
end $$
"""


async def migrate(dsn: str, schema: Schema) -> list[str]:
    """Bring one schema up to date; returns the files applied, oldest first.

    Writes:  role, schema, tables, grants; each call is one transaction under an advisory lock.
    Raises:  Misconfigured when a file that was applied has changed since, or is missing here.
    Replay:  applies nothing.
    """
    connection: Connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await _stage(connection, schema)
            return [name async for name in _apply(connection, schema)]
    finally:
        await connection.close()


async def pending(connection: Connection, schema: Schema) -> list[str]:
    """The files not applied yet; what a service checks at its start instead of migrating."""
    exists = await connection.fetchval("select to_regclass($1) is not null", f"{schema.name}.migration")
    rows = await connection.fetch(f"select series, number from {schema.name}.migration") if exists else []
    done = {(row["series"], row["number"]) for row in rows}
    return [name for s in schema.series for number, name, _ in s.files() if (s.name, number) not in done]


async def migrated(pool: Pool, schema: Schema, how: str = "run `millrace migrate`") -> None:
    """What a service does before anything else. Raises: Misconfigured: what is lacking, and `how` to get it."""
    async with pool.acquire() as connection:
        if lacking := await pending(cast(Connection, connection), schema):
            raise Misconfigured(f"schema {schema.name} lacks {', '.join(lacking)}: {how}")


async def _stage(connection: Connection, schema: Schema) -> None:
    """Roles, the schema itself and its history."""
    for role, login in ((OWNER, "nologin"), (schema.role, "login")):
        await connection.execute(ROLE.format(role=role, login=login))
    database = await connection.fetchval("select quote_ident(current_database())")
    await connection.execute(f"grant create on database {database} to {OWNER}")
    await connection.execute(f"set local role {OWNER}")
    await connection.execute(f"create schema if not exists {schema.name}")
    await connection.execute(f"set local search_path to {schema.name}")
    await connection.execute(HISTORY)
    await connection.execute(f"grant usage on schema {schema.name} to {schema.role}")
    await connection.execute(f"grant select on migration to {schema.role}")


async def _apply(connection: Connection, schema: Schema) -> AsyncIterator[str]:
    done = {(r["series"], r["number"]): r["checksum"] for r in await connection.fetch(APPLIED)}
    _refuse_unknown(schema, done)
    for series in schema.series:
        for number, name, text in series.files():
            checksum = hashlib.sha256(text.encode()).hexdigest()
            applied = done.get((series.name, number))
            if applied is None:
                await connection.execute(_filled(text, schema))
                await connection.execute(RECORD, series.name, number, name, checksum)
                yield f"{schema.name}/{series.name}/{name}"
            elif applied != checksum:
                raise Misconfigured(
                    f"{series.package}/{name} was changed after it was applied; add a new file"
                )


def _refuse_unknown(schema: Schema, done: dict[tuple[str, int], str]) -> None:
    known = {(s.name, number) for s in schema.series for number, _, _ in s.files()}
    if ahead := sorted(set(done) - known):
        raise Misconfigured(f"schema {schema.name} is ahead of this version of millrace: {ahead}")


def _filled(text: str, schema: Schema) -> str:
    return text.replace("$schema", schema.name).replace("$role", schema.role)
