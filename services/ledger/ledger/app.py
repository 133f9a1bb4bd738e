"""The ledger, put together."""

from __future__ import annotations

from ledger.commands import TOPICS
from ledger.fold import fold
from ledger.jobs import Months
from ledger.settings import Settings
from ledger.store import SCHEMA
from millrace import postgres, service
from millrace.consumer import Consumer


async def main(settings: Settings) -> None:
    """Run until told to stop. Raises Misconfigured when the database is not migrated."""
    pool = await postgres.pool(settings.database.get_secret_value(), name="ledger")
    try:
        await postgres.migrated(pool, SCHEMA)
        await service.run(
            Consumer(
                fold(),
                topics=TOPICS,
                pool=pool,
                kafka=settings.kafka,
                instance=settings.instance,
            ),
            Months(pool, settings.months_ahead),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )
    finally:
        await pool.close()
