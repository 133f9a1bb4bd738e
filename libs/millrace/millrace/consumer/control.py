"""What operators have asked of a consumer, looked up every second, and what a person should know of it.

They ask through its own tables, so that the same command works for every team's consumer without its code.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import asyncpg

from millrace.consumer import metrics
from millrace.consumer.batches import Batches
from millrace.errors import Retryable
from millrace.postgres import CUT_OFF, Pool

log = logging.getLogger("millrace.consumer")

REDRIVE_MAX = 500  # parked events a transaction

PARKED_NOW = """
-- How many events are parked, by why, and since when.
select status, count(*) as events, extract(epoch from min(parked_at))::float8 as oldest
  from {schema}.parked_event
 group by status
"""


class Control:
    """Until the database has been asked for the first time, nothing is applied: it may have been paused."""

    def __init__(self, batches: Batches, pool: Pool, name: str, topics: Sequence[str]) -> None:
        self.batches, self.pool, self.name, self.topics = batches, pool, name, list(topics)
        self.paused: str | None = None  # who and why; '' when nobody wants it to rest
        self.redrives, self.away = 0, "not asked yet"
        self._introduced = False

    async def ask(self) -> None:
        """Look once. A database that is away changes nothing of what was asked."""
        try:
            if not self._introduced:
                await self.batches.introduced(self.topics)
                self._introduced = True
            asked = await self.batches.asked()
        except Retryable as away:
            if str(away) != self.away:
                log.warning("nobody to ask", extra={"consumer": self.name, "why": str(away)})
            self.away = str(away)
            return
        if asked.paused != (self.paused or ""):
            said = {"consumer": self.name, "why": asked.paused or f"lifted; it was {self.paused}"}
            log.warning("paused" if asked.paused else "resumed", extra=said)
        self.paused, self.redrives, self.away = asked.paused, asked.redrives, ""
        metrics.PAUSED.labels(self.name).set(bool(asked.paused))

    async def redrive(self) -> None:
        """Judge again what operators asked for, a transaction of it."""
        if not self.redrives:
            return
        self.redrives = 0  # until the next look
        try:
            metrics.count(self.name, await self.batches.redrive_asked(REDRIVE_MAX))
        except Retryable as away:
            log.warning("redrive has to wait", extra={"consumer": self.name, "why": str(away)})

    async def count_parked(self) -> None:
        """What is parked, for its gauges."""
        try:
            rows = await self.pool.fetch(PARKED_NOW.format(schema=self.batches.store.schema))
        except (asyncpg.PostgresError, *CUT_OFF):
            return  # the gauges keep what was last known
        metrics.parked(self.name, [(row["status"], row["events"], row["oldest"]) for row in rows])
