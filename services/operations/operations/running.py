"""What every operators' command does alike: read settings, connect, run, and end with a code that tells.

Exit codes: 0 all is well · 1 something could not be done · 2 misspelt · 3 something is not as it should be ·
78 configuration.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import asyncpg
import typer

from millrace import audit, postgres, sealing
from millrace.clock import clock
from millrace.errors import Misconfigured, Retryable
from operations.settings import Settings

T = TypeVar("T")
DRIFT = 3
AGO = re.compile(r"([0-9]{1,5})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


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


@asynccontextmanager
async def connection(settings: Settings) -> AsyncIterator[postgres.Connection]:
    """The operator's connection, for as long as the block lasts."""
    connected: postgres.Connection = await asyncpg.connect(settings.database.get_secret_value())
    try:
        await postgres.prepare(connected)
        yield connected
    finally:
        await connected.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; a world that does not answer is one sentence and exit code 1."""
    try:
        return asyncio.run(work)
    except (OSError, asyncpg.PostgresError, TimeoutError, Retryable, sealing.Unopenable) as problem:
        typer.echo(f"millrace: {type(problem).__name__}: {problem}", err=True)
        raise typer.Exit(1) from None


@asynccontextmanager
async def keys(settings: Settings) -> AsyncIterator[sealing.Keys]:
    """The data keys that the operator's key-encryption keys give. Raises Misconfigured without any."""
    if not settings.keys:
        raise Misconfigured(
            "MILLRACE_KEYS: is empty; set it to files:FOLDER, where the key-encryption keys are"
        )
    provider = sealing.provider(settings.keys)
    async with await postgres.pool(settings.database.get_secret_value(), size=2, name="operator") as pool:
        yield sealing.Keys(pool, provider)


async def audited(
    tx: postgres.Transaction, settings: Settings, action: str, subject: str, reason: str
) -> None:
    """Write down what an operator does and why. Writes: one row of sealing.audit, in the operator's own chain."""
    await audited_each(tx, settings, action, [subject], reason)


async def audited_each(
    tx: postgres.Transaction, settings: Settings, action: str, subjects: Iterable[str], reason: str
) -> None:
    """The same for many things alike. Writes: a row each."""
    who, now = operator(), clock(settings.clock).now()
    entries = [audit.Entry(now, who, action, subject, "", reason) for subject in subjects]
    await audit.append(tx, sealing.SCHEMA.name, f"operator:{who}", entries)


def operator() -> str:
    """Who runs the command, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has a number and no name
        return f"uid {os.getuid()}"
