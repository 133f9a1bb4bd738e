"""Builds the webhook edge; decides nothing."""

from __future__ import annotations

from ingest import store
from ingest.custody import Custody
from ingest.door import Limits, Server
from ingest.endpoints import Endpoints
from ingest.http import Webhook
from ingest.jobs import GroupCommit, Partitions
from ingest.settings import Settings
from millrace import clock, postgres, service
from millrace.documents import Watched
from millrace.sealing import Keys, Policy, provider


async def main(settings: Settings) -> None:
    time = clock.clock(settings.clock)
    endpoints = Endpoints(settings.endpoints)
    policy = Watched(settings.sealing, Policy.read, seconds=1.0)
    keys_of = provider(settings.keys)
    async with await postgres.pool(settings.database.get_secret_value(), size=3, name="ingest") as pool:
        await postgres.migrated(pool, store.SCHEMA)
        commits = GroupCommit(
            pool,
            events_max=settings.queue_events_max,
            bytes_max=settings.queue_bytes_max,
            seconds_max=settings.commit_seconds_max,
        )
        webhook = Webhook(
            endpoints,
            Custody(Keys(pool, keys_of, keys_max=settings.data_keys_max), policy),
            commits.offer,
            time,
            body_bytes_max=settings.body_bytes_max,
            gateways=settings.gateways,
        )
        await service.run(
            Server(
                webhook,
                settings.host,
                settings.port,
                commits.close,
                limits=_limits(settings),
                shared=settings.port_shared,
            ),
            commits,
            Partitions(pool, time),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )


def _limits(settings: Settings) -> Limits:
    return Limits(
        head_seconds_max=settings.head_seconds_max,
        body_bytes_max=settings.body_bytes_max,
        body_seconds_max=settings.body_seconds_max,
        idle_seconds_max=settings.idle_seconds_max,
        connections_max=settings.connections_max,
    )
