"""The days of the outbox: made ahead, and dropped once every row is published, audited and old enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date

import asyncpg

from millrace import outbox
from millrace.postgres import Connection, Transaction
from outbox_relay.domain.days import KEEP_DAYS, Day, kept, missing
from outbox_relay.store import days as store

__all__ = ["CLAIMS_DAYS", "KEEP_DAYS", "Day", "Days", "Judged", "drop", "forget_claims", "make", "plan"]

CLAIMS_DAYS = 90  # longer than any topic keeps a record
Witness = Callable[
    [Transaction], Awaitable[None]
]  # writes down who drops what, in the transaction that decides it


@dataclass(frozen=True, slots=True)
class Judged:
    """A day, and why it stays; '' when it may go."""

    day: Day
    kept: str
    due: bool  # old enough to go

    @property
    def blocked(self) -> bool:
        """It should be gone by now, and something is in the way."""
        return self.due and bool(self.kept)


@dataclass(frozen=True, slots=True)
class Days:
    """All days, oldest first, and those that are missing in the near future."""

    days: list[Judged]
    missing: list[date]


async def plan(connection: Connection, keep_days: int = KEEP_DAYS) -> Days:
    """Every day with what it holds, and why it stays."""
    today, found = await store.today(connection), await store.days(connection)
    behind = await store.behind(connection)
    judged = []
    for day in found:
        early = kept(day, today, keep_days)
        why = early or await _uncovered(connection, day, behind)
        judged.append(Judged(day, why, due=not early))
    return Days(judged, missing(found, today))


async def make(connection: Connection, ahead: int = outbox.DAYS_AHEAD) -> tuple[list[date], list[date]]:
    """Make the days ahead; returns those made, and those that are missing all the same."""
    made = await outbox.make_days(connection, ahead)
    return made, missing(await store.days(connection), await store.today(connection))


async def drop(connection: Connection, day: Day, witness: Witness) -> str:
    """Take one day out for good; returns why not, or ''. It is counted once more when no row can come any more.

    Writes: the day, and what `witness` writes. Needs the rights of the owner.
    Replay: goes on where an interrupted call stopped.
    """
    behind = await store.behind(connection)
    try:
        async with store.owning(connection):
            if why := await _closed(connection, day, behind, witness):
                return why
            await store.leave(connection, day)
            return ""
    except asyncpg.LockNotAvailableError:
        return "a transaction that wrote into this very day is still open"
    except asyncpg.QueryCanceledError:
        held = "; ".join(await store.holders(connection)) or "it has ended, run this again"
        return f"waits for an open transaction: {held}"


async def _closed(connection: Connection, day: Day, behind: store.Behind, witness: Witness) -> str:
    """Why a day cannot be closed, or '' when it is. One that has left already was closed before it did."""
    if day.attached and not day.detaching:
        return await store.close(connection, day, lambda: _uncovered(connection, day, behind), witness)
    return await _uncovered(connection, day, behind)


async def forget_claims(tx: Transaction, days: int = CLAIMS_DAYS) -> int:
    """Remove payloads too large for Kafka whose records have left it; returns how many."""
    async with store.owning(tx):
        return await store.forget_claims(tx, days)


async def _uncovered(connection: Connection, day: Day, behind: store.Behind) -> str:
    """Why the rows of a day keep it; '' when all of them are published and audited."""
    if rows := await store.uncovered(connection, day, behind.published):
        return (
            f"{rows:,} rows are not published"
            if behind.published.whole
            else "not every lane has a cursor here"
        )
    if rows := await store.uncovered(connection, day, behind.audited):
        lanes = ", ".join(map(str, behind.unaudited))
        return f"lane {lanes} was never audited" if lanes else f"{rows:,} rows are not audited"
    return ""
