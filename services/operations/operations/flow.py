"""How far events have come: stored, published, applied. Counts and ages, and whether all is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dunning import commands as dunning
from millrace.postgres import Connection
from millrace.topics import RELAY_CURSOR
from operations.services import CONSUMERS, Consumer
from operations.settings import Settings
from outbox_relay import commands as relay

LAST = """
-- The newest outbox row.
select coalesce(max(id), 0) from outbox.event
"""

OPEN = """
-- Outbox rows after $1 that a consumer of these topics has not met yet, and since when. What stands in quarantine
-- is not on its way to anybody.
select count(*) as events, min(o.created_at) as oldest
  from outbox.event o
 where o.id > $1
   and o.topic = any($2::text[])
   and not exists (select from {schema}.processed_events p
                    where p.source = o.headers->>'ce_source' and p.event_id = o.headers->>'ce_id')
   and not exists (select from outbox.quarantine q where q.id = o.id and q.status <> 'published')
"""

OUTCOMES = """
-- What a consumer has done with events so far.
select outcome, count(*) as events from {schema}.processed_events group by outcome
"""

PARKED = """
-- What a consumer has parked, and why; the newest reason of each kind.
select status, count(*) as events, min(parked_at) as oldest, max(reason) as reason
  from {schema}.parked_event group by status order by status
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One consumer's place in the stream."""

    consumer: str
    applied: int
    noop: int
    parked: int
    behind: int  # events on its topics that it has not met
    oldest: datetime | None  # when the oldest of those was written
    reasons: tuple[dict[str, Any], ...]


async def stage(connection: Connection, consumer: Consumer, since: int = 0) -> Stage:
    """How far a consumer has come with everything after outbox row `since`."""
    done = {r["outcome"]: r["events"] for r in await connection.fetch(OUTCOMES.format(schema=consumer.name))}
    todo = await connection.fetchrow(OPEN.format(schema=consumer.name), since, consumer.topics)
    parked = await connection.fetch(PARKED.format(schema=consumer.name))
    return Stage(
        consumer.name,
        done.get("applied", 0),
        done.get("noop", 0),
        done.get("parked", 0),
        todo["events"] if todo else 0,
        todo["oldest"] if todo else None,
        tuple(dict(row) for row in parked),
    )


async def stages(connection: Connection) -> list[Stage]:
    """Every consumer's place."""
    return [await stage(connection, consumer) for consumer in CONSUMERS]


class Quiet:
    """Waits until every event has been met by every consumer that reads its topic, and no timer is due."""

    def __init__(self, connection: Connection, consumers: Sequence[Consumer] = CONSUMERS) -> None:
        self.connection, self.consumers = connection, consumers
        self.settled = 0  # everything up to this outbox row was met before

    async def wait(self, now: datetime, *, deadline_seconds: float = 120.0) -> None:
        """Return when all is quiet. Raises TimeoutError, saying who is behind."""
        try:
            async with asyncio.timeout(deadline_seconds):
                while not await self._is_quiet(now):  # noqa: ASYNC110 the database is the signal
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"not quiet after {deadline_seconds:.0f} s: {await self._behind()}") from None

    async def _is_quiet(self, now: datetime) -> bool:
        last = await self.connection.fetchval(LAST)
        if await dunning.overdue_timers(self.connection, now) or await self._behind():
            return False
        if last != await self.connection.fetchval(LAST):
            return False  # an effect was published meanwhile
        self.settled = last
        return True

    async def _behind(self) -> dict[str, int]:
        todo = {c.name: await self._todo(c) for c in self.consumers}
        return {name: events for name, events in todo.items() if events}

    async def _todo(self, consumer: Consumer) -> int:
        row = await self.connection.fetchrow(OPEN.format(schema=consumer.name), self.settled, consumer.topics)
        return int(row["events"]) if row else 0


async def unpublished(connection: Connection, settings: Settings) -> tuple[int, datetime | None]:
    """How many committed rows no lane has published yet, and since when the oldest waits."""
    waiting = await relay.lag(connection, settings.kafka, settings.relay_lanes, settings.relay_cursor_topic)
    return sum(it.rows for it in waiting), min((it.since for it in waiting), default=None)


async def published(
    connection: Connection,
    kafka: str,
    *,
    lanes: Sequence[relay.Lane] = relay.lanes("main", 1),
    cursor_topic: str = RELAY_CURSOR,
    deadline_seconds: float = 60.0,
) -> None:
    """Return when every committed row is published. Raises TimeoutError, saying how many are not."""
    if left := await relay.drained(connection, kafka, lanes, cursor_topic, deadline_seconds=deadline_seconds):
        raise TimeoutError(f"{left} rows are not published after {deadline_seconds:.0f} s")
