"""Builds the webhook edge; decides nothing."""

from __future__ import annotations

from typing import cast

from ingest import http, store
from ingest.jobs import GroupCommit, Partitions
from ingest.settings import Settings, read_endpoints
from millrace import clock, postgres, service
from millrace.errors import Misconfigured


async def main(settings: Settings) -> None:
    time = clock.clock(settings.clock)
    endpoints = read_endpoints(settings.endpoints)
    async with await postgres.pool(settings.database.get_secret_value(), size=2, name="ingest") as pool:
        await _migrated(pool)
        commits = GroupCommit(
            pool,
            events_max=settings.queue_events_max,
            bytes_max=settings.queue_bytes_max,
            seconds_max=settings.commit_seconds_max,
        )
        webhook = http.Webhook(
            endpoints, commits.commit, time, settings.body_bytes_max, settings.body_seconds_max
        )
        await service.run(
            http.Server(http.application(webhook), settings.host, settings.port, commits.close),
            commits,
            Partitions(pool, time),
            health_host=settings.health_host,
            health_port=settings.health_port,
        )


async def _migrated(pool: postgres.Pool) -> None:
    async with pool.acquire() as connection:
        if missing := await postgres.pending(cast(postgres.Connection, connection), store.SCHEMA):
            raise Misconfigured(f"the database lacks {', '.join(missing)}: run `millrace migrate`")
