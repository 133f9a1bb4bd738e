"""What dunning has put on its way out: outbox rows, read back as the events that a consumer would receive."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import asyncpg

from millrace.events import Event, decode
from millrace.postgres import prepare
from tests.support.database import Database

ROWS = "select topic, key, headers, payload from outbox.event where topic = $1 order by id"


async def sent(db: Database, topic: str) -> list[Event]:
    """The events written for a topic, in order."""
    rows = await owner_fetch(db, ROWS, topic)
    return [decode(row["key"].encode(), _raw(row["headers"]), row["payload"]) for row in rows]


async def first_sent(db: Database, topic: str) -> Event:
    """The first event written for a topic, as soon as it is there; the caller sets the deadline."""
    for _ in itertools.count():
        if found := await sent(db, topic):
            return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("unreachable")


async def owner_fetch(db: Database, statement: str, *args: Any) -> list[asyncpg.Record]:
    """Rows as the owner of the database sees them."""
    connection = await asyncpg.connect(db.owner)
    try:
        await prepare(connection)
        return list(await connection.fetch(statement, *args))
    finally:
        await connection.close()


def _raw(headers: dict[str, str]) -> dict[str, bytes]:
    return {name: value.encode() for name, value in headers.items()}
