"""The entitlement process: everything built and put together, nothing decided."""

from __future__ import annotations

from entitlement.catalog import InForce
from entitlement.commands import TOPICS
from entitlement.fold import fold
from entitlement.http import Served, api
from entitlement.settings import Settings
from entitlement.store import SCHEMA
from millrace import postgres, service
from millrace.clock import clock
from millrace.consumer import Consumer


async def main(settings: Settings) -> None:
    """Run the consumer and the access API until a signal. Raises Misconfigured: bad catalog, or not migrated."""
    time = clock(settings.clock)
    catalog = InForce(settings.catalog, time)
    pool = await postgres.pool(settings.database.get_secret_value(), name="entitlement")
    async with pool:
        await postgres.migrated(pool, SCHEMA)
        await service.run(
            Consumer(
                fold(catalog.current),
                topics=TOPICS,
                pool=pool,
                kafka=settings.kafka,
                instance=settings.instance,
            ),
            Served(api(pool, catalog.current, time), settings.http_host, settings.http_port),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )
