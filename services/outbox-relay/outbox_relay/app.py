"""Puts the relay together."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager

from millrace import service
from outbox_relay import store
from outbox_relay.publisher import Halted, TxnPublisher
from outbox_relay.relay import Pace, Relay
from outbox_relay.settings import Settings

log = logging.getLogger("outbox_relay")
HALTED = 3  # exit code: a person must decide; starting again by itself would not help


async def main(settings: Settings) -> None:
    """Exit code 3 when the relay halted; the log's last line says what to type."""
    try:
        await service.run(relay(settings), health_host=settings.health_host, health_port=settings.health_port)
    except Halted as halt:
        log.critical("halted: %s", str(halt))  # text of ours, which names no body
        raise SystemExit(HALTED) from None


def relay(settings: Settings) -> Relay:
    dsn = settings.database.get_secret_value()
    return Relay(
        lease=lambda: store.lease(dsn, settings.lease_seconds),
        source=lambda: outbox(dsn, settings),
        publisher=publisher(settings),
        pace=pace(settings),
        adopt=settings.adopt,
    )


def outbox(dsn: str, settings: Settings) -> AbstractAsyncContextManager[store.Outbox]:
    return store.outbox(
        dsn,
        page_rows=settings.page_rows,
        page_bytes=settings.page_bytes,
        record_bytes=settings.record_bytes,
        read_seconds=settings.read_seconds,
    )


def publisher(settings: Settings) -> TxnPublisher:
    return TxnPublisher(
        settings.kafka,
        settings.cursor_topic,
        deadline_seconds=settings.deadline_seconds,
        transaction_seconds=settings.transaction_seconds,
        batch_bytes=settings.record_bytes,
    )


def pace(settings: Settings) -> Pace:
    return Pace(
        poll_seconds=settings.poll_seconds,
        idle_seconds=settings.idle_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        retry_seconds=settings.retry_seconds,
        stalled_seconds=settings.stalled_seconds,
        record_bytes=settings.record_bytes,
    )
