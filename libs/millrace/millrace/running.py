"""The whole program of a consumer in one call: settings, pool, health, metrics, drain, and its schema.

    python crm.py           consumes until it is told to stop
    python crm.py migrate   builds or updates the schema, as a role that may (MILLRACE_DATABASE)

Whoever needs more (timers beside the consumer, HTTP, several consumers in a process) builds the same from
`Consumer` and `millrace.service`, as `millrace consumer new` writes it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millrace import outbox, postgres, sealing, service
from millrace.consumer import TABLES, Consumer, Each, Fold
from millrace.errors import Misconfigured
from millrace.postgres import CUT_OFF, Pool, Schema, Series
from millrace.settings import ServiceSettings

POOL_SIZE = (
    4  # for the batch, the payloads of claims, the keys of sealed fields, and what is asked beside them
)
USAGE = "give no word to consume, or `migrate` to build the schema"


class Settings(ServiceSettings):
    """What a program of `run` needs to know: CRM_DATABASE, CRM_KAFKA, CRM_HEALTH_PORT, …"""

    topics: str = Field(
        default="", description="topics to read instead of the program's own, comma-separated"
    )
    keys: str = Field(
        default="", description="'files:FOLDER' of the key-encryption keys, for a program that opens fields"
    )


class OwnerSettings(ServiceSettings):
    """What `migrate` needs to know: MILLRACE_DATABASE, the DSN of a role that may create roles and schemas."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", frozen=True, extra="ignore")


def run(
    consumer: Each | Fold[Any, Any],
    *,
    topics: Sequence[str],
    migrations: str | Path | None = None,
    opens: str = "",
    **options: Any,
) -> None:
    """Be this consumer until told to stop, or with the word `migrate` build its schema. Ends the process.

    `migrations` is the folder of its own tables, beside the program; `opens` the purpose for which its handlers
    see sealed fields opened; `options` go to `Consumer`.
    Raises: SystemExit: 0 stopped as asked · 1 a failure · 2 misspelt · 78 the configuration is wrong.
    """
    words = sys.argv[1:]
    if words not in ([], ["migrate"]):
        _end(2, f"{consumer.name}: {' '.join(words)!r} is not known: {USAGE}")
    try:
        program = _Program(consumer, tuple(topics), _beside(migrations), opens, options)
        if words:
            program.migrate()
            return
    except Misconfigured as problem:
        _end(78, f"{consumer.name}: {problem}")
    service.main(consumer.name, program.settings, program.main)


def _end(code: int, why: str) -> NoReturn:
    print(why, file=sys.stderr)  # noqa: T201 for a person, on one line
    sys.exit(code)


def _beside(folder: str | Path | None) -> Path | None:
    """A folder as it is meant: beside the program, wherever that is started from."""
    program = getattr(sys.modules["__main__"], "__file__", None) or ""
    return None if folder is None else Path(program).resolve().parent / folder


@dataclass(frozen=True, slots=True)
class _Program:
    consumer: Each | Fold[Any, Any]
    topics: tuple[str, ...]
    migrations: Path | None
    opens: str
    options: dict[str, Any]

    def __post_init__(self) -> None:
        if self.opens and isinstance(self.consumer, Fold):
            raise Misconfigured(
                "a fold opens no sealed field: after an erasure it could not be rebuilt; use Each"
            )
        if self.migrations and not self.migrations.is_dir():
            raise Misconfigured(f"{self.migrations}: no such folder; migrations stand beside the program")

    @property
    def name(self) -> str:
        return self.consumer.name

    @property
    def settings(self) -> type[Settings]:
        """Settings under the consumer's own prefix."""
        prefix = SettingsConfigDict(env_prefix=f"{self.name.upper()}_", frozen=True, extra="ignore")
        return type("Settings", (Settings,), {"model_config": prefix, "__module__": __name__})

    @property
    def schema(self) -> Schema:
        opens = (sealing.OPENS,) if self.opens else ()
        own = (Series(self.name, str(self.migrations)),) if self.migrations else ()
        return Schema(self.name, (*TABLES, *opens, *own))

    async def main(self, settings: Settings) -> None:
        """Consume until told to stop. Raises Misconfigured when the database is not migrated."""
        pool = await self._pool(settings)
        try:
            await postgres.migrated(pool, self.schema, self._build_it)
            consumer = Consumer(
                self._opening(pool, settings),
                topics=_listed(settings.topics) or self.topics,
                pool=pool,
                kafka=settings.kafka,
                instance=settings.instance,
                **self.options,
            )
            await service.run(consumer, health_host=settings.health_host, health_port=settings.health_port)
        finally:
            await pool.close()

    async def _pool(self, settings: Settings) -> Pool:
        size = POOL_SIZE + getattr(self.consumer, "independent", 1)  # each lane takes a connection
        try:
            return await postgres.pool(settings.database.get_secret_value(), size=size, name=self.name)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as refused:
            raise Misconfigured(f"{self.name.upper()}_DATABASE: {refused}; {self._build_it}") from refused

    @property
    def _build_it(self) -> str:
        return f"run `python {Path(sys.argv[0]).name} migrate` to build its schema and role"

    def migrate(self) -> None:
        """Writes: the outbox where there is none, and the consumer's schema; prints the files applied."""
        dsn = OwnerSettings.read().database.get_secret_value()
        try:
            applied = asyncio.run(migrate(dsn, self.schema))
        except (asyncpg.PostgresError, *CUT_OFF) as problem:
            _end(1, f"{self.name}: MILLRACE_DATABASE: {type(problem).__name__}: {problem}")
        print("\n".join(applied) or f"{self.name}: nothing to do")  # noqa: T201 the command's answer

    def _opening(self, pool: Pool, settings: Settings) -> Each | Fold[Any, Any]:
        """The consumer, with the means to open what its purpose needs."""
        if isinstance(self.consumer, Fold) or not self.opens:
            return self.consumer
        if not settings.keys:
            raise Misconfigured(
                f"{self.name.upper()}_KEYS is missing: 'files:FOLDER' of the key-encryption keys"
            )
        keys = sealing.Keys(pool, sealing.provider(settings.keys))
        return replace(self.consumer, opens=sealing.Opener(keys, consumer=self.name, purpose=self.opens))


async def migrate(dsn: str, schema: Schema) -> list[str]:
    """Bring a consumer's schema up to date, and whatever it stands on; returns the files applied.

    Of the outbox and the keys only what is missing: those of a newer version are left as they are.
    """
    applied: list[str] = []
    needed = (outbox.SCHEMA, *([sealing.SCHEMA] if sealing.OPENS in schema.series else []), schema)
    for one in needed:
        connection = await asyncpg.connect(dsn)
        try:
            due = one is schema or await postgres.pending(connection, one)
        finally:
            await connection.close()
        applied += await postgres.migrate(dsn, one) if due else []
    return applied


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
