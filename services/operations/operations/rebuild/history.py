"""What a consumer has met, in the order in which it settled it. Read from one snapshot, however long it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

import asyncpg

from millrace.postgres import Connection, prepare


class Met(NamedTuple):
    """An event where it was met. What could not be read has no source, and its place as its id."""

    source: str
    event_id: str
    topic: str
    partition: int
    offset: int
    met_at: datetime


@asynccontextmanager
async def snapshot(dsn: str) -> AsyncIterator[Connection]:
    """A connection for which the database stands still. While it does, no row that dies there can be vacuumed."""
    connection: Connection = await asyncpg.connect(
        dsn, server_settings={"TimeZone": "UTC", "idle_in_transaction_session_timeout": "0"}
    )
    try:
        await prepare(connection)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


COUNT = """
-- How many events there are to apply.
select count(*) filter (where outcome <> 'discarded') as events,
       count(*) filter (where outcome = 'discarded') as discarded
  from {schema}.processed_events
"""


async def count(connection: Connection, schema: str) -> tuple[int, int]:
    """(events to apply, events that an operator discarded)."""
    row = await connection.fetchrow(COUNT.format(schema=schema))
    assert row is not None  # an aggregate always has one
    return row["events"], row["discarded"]


HISTORY = """
-- Every event but the discarded, in the order of settling. What could not be read is named by its place.
select source, event_id, topic, partition, kafka_offset, processed_at
  from {schema}.processed_events
 where outcome <> 'discarded'
 order by seq
"""


async def history(connection: Connection, schema: str, batch: int) -> AsyncIterator[list[Met]]:
    """Everything met, a batch at a time."""
    met: list[Met] = []
    async for row in connection.cursor(HISTORY.format(schema=schema), prefetch=4 * batch):
        met.append(Met(*row))
        if len(met) == batch:
            yield met
            met = []
    if met:
        yield met
