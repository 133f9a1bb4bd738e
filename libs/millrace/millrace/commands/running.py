"""What every command does alike: read settings, connect, run, and end with a code that tells."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, TypeVar

import asyncpg
import typer
from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace import audit, postgres, sealing
from millrace.clock import clock
from millrace.consumer.operating import Refused
from millrace.errors import Misconfigured, Retryable

T = TypeVar("T")
DRIFT = 3
AGO = re.compile(r"([0-9]{1,5})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
ENV_FILE = Path(".millrace/env")  # written by the demo, so that its data can be looked at afterwards
WORLD = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    TimeoutError,
    KafkaError,
    Retryable,
    sealing.Unopenable,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]


class Database(Protocol):
    """Settings that name a database."""

    @property
    def database(self) -> SecretStr: ...


class Settings(BaseSettings):
    """Where the commands look: MILLRACE_…, from the environment or from `.millrace/env` in this folder."""

    model_config = SettingsConfigDict(
        env_prefix="MILLRACE_", env_file=ENV_FILE, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database: SecretStr = Field(description="DSN of a role that owns the consumer's schema, or may use it")
    kafka: str = Field(default="127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    clock: str = Field(default="system", description="'system' or 'file:PATH', the clock the services use")

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises Misconfigured, naming the variable that is missing or wrong."""
        try:
            return cls()
        except ValidationError as problem:
            wrong = [
                f"MILLRACE_{'_'.join(map(str, e['loc']))}".upper() + f": {e['msg']}" for e in problem.errors()
            ]
            raise Misconfigured(f"{'; '.join(wrong)}. Set it, or write it into {ENV_FILE}") from None


@asynccontextmanager
async def connection(settings: Database) -> AsyncIterator[postgres.Connection]:
    """The operator's connection, for as long as the block lasts."""
    try:
        connected: postgres.Connection = await asyncpg.connect(settings.database.get_secret_value())
    except asyncpg.ClientConfigurationError:  # its text may quote a password
        raise Misconfigured(
            "MILLRACE_DATABASE: is no DSN; write postgresql://role@host:port/database"
        ) from None
    try:
        await postgres.prepare(connected)
        yield connected
    finally:
        await connected.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; a refusal, or a world that does not answer, is one sentence and exit code 1."""
    logging.getLogger("aiokafka").setLevel(
        logging.CRITICAL
    )  # it says in many lines what the error says in one
    try:
        return asyncio.run(work)
    except Refused as refused:
        problem = str(refused)
    except WORLD as failed:
        problem = f"{type(failed).__name__}: {failed}"
    typer.echo(f"millrace: {problem}", err=True)
    raise typer.Exit(1)


def instant(text: str, now: datetime) -> datetime:
    """An instant as people write it: a day, a time with a zone, or so long ago (90m, 24h, 30d)."""
    if ago := AGO.fullmatch(text):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or (at.tzinfo is None and len(text) > len("2026-11-01")):
        raise typer.BadParameter(f"{text!r}: write 2026-11-01, 2026-11-01T12:00:00Z, 24h or 30d")
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def operator() -> str:
    """Who runs the command, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has a number and no name
        return f"uid {os.getuid()}"


def confirmed(word: str, yes: bool) -> None:
    """Go on with --yes, or when a person types the word. Raises Refused otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused("nothing was changed: add --yes, or answer at a terminal")
    if typer.prompt(f"Type {word} to go on", err=True) != word:
        raise Refused("nothing was changed: that was another word")


def note(settings: Settings, action: str, why: str) -> audit.Entry:
    """What an operator does and why, for the audit log; who it is done to is added where it is written."""
    if not why.strip():
        raise typer.BadParameter("an empty reason says nothing", param_hint="--why")
    return audit.Entry(clock(settings.clock).now(), operator(), action, "", "", why)
