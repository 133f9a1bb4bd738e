"""What the ledger does by the calendar: month partitions are opened before anything is recorded in them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import asyncpg

from ledger import store
from millrace.postgres import Pool

log = logging.getLogger("ledger")

EVERY_SECONDS = 6 * 3600.0  # months are opened long before they begin, so this may be late by weeks


class Months:
    """Keeps partitions ready; a part of the service. A month that was missed lands in the default one."""

    name = "months"

    def __init__(self, pool: Pool, ahead: int) -> None:
        self.pool, self.ahead = pool, ahead

    def ready(self) -> str:
        return ""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await store.open_months(self.pool, self.ahead)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as problem:
                log.warning("months could not be opened", extra={"error": type(problem).__name__})
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
