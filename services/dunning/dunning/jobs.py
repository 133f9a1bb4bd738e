"""Timers: when a deadline has passed by the clock, an event says so, once. What it means is decided there."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

import asyncpg

from dunning import metrics, store
from dunning.store import Due
from millrace import outbox, postgres
from millrace.clock import Clock
from millrace.events import Event
from millrace.events.ours import DunningTimerDue
from millrace.postgres import Pool
from millrace.telemetry import child_trace, describe

log = logging.getLogger("dunning.timers")

PAGE = 500  # timers claimed in one transaction
STALLED_SECONDS = 30.0  # without one successful look: not ready


class Timers:
    """Claims due timers and writes their events. A service.Part; any number may run side by side.

    Units:  `every_seconds` between two looks; the latest an event may be.
    Replay: a crash before the commit leaves the timer unclaimed, one after it leaves it fired.
    """

    name = "timers"

    def __init__(self, pool: Pool, clock: Clock, *, every_seconds: float) -> None:
        self.pool, self.clock, self.every_seconds = pool, clock, every_seconds
        self._looked = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Look for due timers until stopped."""
        while not stop.is_set():
            if await self._look() < PAGE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self.every_seconds)

    def ready(self) -> str:
        stalled = time.monotonic() - self._looked
        limit = max(STALLED_SECONDS, 10 * self.every_seconds)
        return f"no look for due timers succeeded for {stalled:.0f} s" if stalled > limit else ""

    async def _look(self) -> int:
        try:
            fired = await self.fire()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as problem:
            log.warning("timers could not be claimed, will try again", extra={"error": describe(problem)})
            return 0
        self._looked = time.monotonic()
        return fired

    async def fire(self) -> int:
        """Fire what is due now, at most a page; returns how many.

        Writes: fired_at and one DunningTimerDue outbox row a timer, in one transaction.
        """
        now = self.clock.now()
        async with postgres.transaction(self.pool) as tx:
            due = await store.claim_due(tx, now, PAGE)
            await outbox.publish(
                tx, [outbox.Message(DunningTimerDue.TOPIC, event_of(timer)) for timer in due]
            )
        metrics.TIMERS_FIRED.inc(len(due))
        metrics.TIMER_LATENESS.set((now - due[0].due_at).total_seconds() if due else 0)
        return len(due)


def event_of(timer: Due) -> Event:
    """A timer's event: its time is the deadline, not the moment of firing, and its id is the timer's name."""
    step = f"dunning.timer.{timer.invoice}.{timer.timer}"
    payload = DunningTimerDue(
        account=timer.account,
        customer=timer.customer,
        invoice=timer.invoice,
        timer=timer.timer,
        due_at=timer.due_at,
    )
    return payload.event(
        id=step, source="millrace/dunning", at=timer.due_at, trace=child_trace(timer.trace, step)
    )
