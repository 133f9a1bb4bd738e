"""The newcomer process: one visible list."""

from __future__ import annotations

from millrace import postgres, service
from millrace.consumer import Consumer
from millrace.topics import STRIPE_BILLING

from newcomer.fold import fold
from newcomer.settings import Settings
from newcomer.store import SCHEMA

TOPICS = (STRIPE_BILLING,)


async def main(settings: Settings) -> None:
    """Build everything, decide nothing, run until told to stop."""
    pool = await postgres.pool(settings.database.get_secret_value(), name="newcomer")
    try:
        await postgres.migrated(pool, SCHEMA, "run `python -m newcomer.migrate`")
        await service.run(
            Consumer(fold(), topics=TOPICS, pool=pool, kafka=settings.kafka, instance=settings.instance),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )
    finally:
        await pool.close()
