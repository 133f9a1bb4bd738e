"""The dunning process: one visible list."""

from __future__ import annotations

from dunning import policies
from dunning.commands import TOPICS
from dunning.fold import fold
from dunning.jobs import Timers
from dunning.settings import Settings
from dunning.store import SCHEMA
from millrace import clock, postgres, service
from millrace.consumer import Consumer
from millrace.documents import Watched


async def main(settings: Settings) -> None:
    """Build everything, decide nothing, run until told to stop. Raises Misconfigured for a schema not migrated."""
    rules = Watched(settings.policies, policies.read)
    time = clock.clock(settings.clock)
    pool = await postgres.pool(settings.database.get_secret_value(), name="millrace-dunning")
    try:
        await postgres.migrated(pool, SCHEMA)
        await service.run(
            Consumer(fold(rules), topics=TOPICS, pool=pool, kafka=settings.kafka, instance=settings.instance),
            Timers(pool, time, every_seconds=settings.timer_seconds),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )
    finally:
        await pool.close()
