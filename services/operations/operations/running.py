"""What every operators' command does alike: the library's way of reading, connecting and ending, keys, the audit log.

Exit codes: 0 all is well · 1 something could not be done · 2 misspelt · 3 something is not as it should be ·
78 configuration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from millrace import audit, postgres, sealing
from millrace.clock import clock
from millrace.commands.running import DRIFT, Json, connection, instant, operator, run
from millrace.errors import Misconfigured
from operations.settings import Settings

__all__ = ["DRIFT", "Json", "audited", "audited_each", "connection", "instant", "keys", "operator", "run"]


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
