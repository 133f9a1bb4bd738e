"""Puts the relay together: one for each lane."""

from __future__ import annotations

import gc
import logging
import sys
from contextlib import AbstractAsyncContextManager

from millrace import service
from outbox_relay import store
from outbox_relay.domain.lane import Lane
from outbox_relay.publisher import Halted, Publisher, make
from outbox_relay.relay import Pace, Relay
from outbox_relay.relay.heartbeat import Heartbeat
from outbox_relay.relay.lanes import Lanes
from outbox_relay.relay.quarantine import Quarantine
from outbox_relay.settings import Settings

log = logging.getLogger("outbox_relay")
SWITCH_SECONDS = 0.001  # after which a page's thread lets the loop in; Python's own 5 ms would be seen
HALTED = 3  # exit code: a person must decide; starting again by itself would not help


async def main(settings: Settings) -> None:
    """Exit code 3 when every lane halted; the log's last line says what to type."""
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        await service.run(
            Lanes(relays(settings)), health_host=settings.health_host, health_port=settings.health_port
        )
    except Halted as halt:
        log.critical("halted: %s", str(halt))  # text of ours, which names no body
        raise SystemExit(HALTED) from None


def tune() -> None:
    """Make Python fit for pages. Each is tens of thousands of objects that die young, by their counts: looking for
    cycles among them took a quarter of the CPU. And a thread that works on one must not keep the event loop from
    its sockets for the usual 5 ms each time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    sys.setswitchinterval(0.0005)


def relays(settings: Settings) -> list[Relay]:
    return [relay(settings, lane) for lane in settings.to_lead]


def relay(settings: Settings, lane: Lane) -> Relay:
    return Relay(
        lane,
        store.Candidate(dsn(settings, lane), lane, settings.lease_seconds),
        source=lambda: outbox(settings, lane),
        publisher=publisher(settings, lane),
        pace=pace(settings),
        quarantine=quarantine(settings, lane),
        upkeep=heartbeat(settings, lane),
    )


def outbox(settings: Settings, lane: Lane) -> AbstractAsyncContextManager[store.Outbox]:
    return store.outbox(
        dsn(settings, lane),
        lane=lane,
        page_rows=settings.page_rows,
        page_bytes=settings.page_bytes,
        record_bytes=settings.record_bytes,
        read_seconds=settings.read_seconds,
    )


def publisher(settings: Settings, lane: Lane) -> Publisher:
    return make(
        settings.kafka,
        lane,
        store.Cursors(dsn(settings, lane), lane),
        client=settings.client,
        mode=settings.publish,
        cursor_prefix=settings.cursor_topic,
        deadline_seconds=settings.deadline_seconds,
        transaction_seconds=settings.transaction_seconds,
        batch_bytes=settings.record_bytes,
    )


def heartbeat(settings: Settings, lane: Lane) -> Heartbeat:
    return Heartbeat(
        lane,
        settings.kafka,
        lambda: store.upkeep(dsn(settings, lane), lane, settings.read_seconds),
        every_seconds=settings.heartbeat_seconds,
        days=settings.days_ahead,
    )


def pace(settings: Settings) -> Pace:
    return Pace(
        poll_seconds=settings.poll_seconds,
        idle_seconds=settings.idle_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        retry_seconds=settings.retry_seconds,
        stalled_seconds=settings.stalled_seconds,
    )


def quarantine(settings: Settings, lane: Lane) -> Quarantine:
    return Quarantine(
        lane, lambda: store.shelf(dsn(settings, lane), lane, settings.read_seconds), settings.rules
    )


def dsn(settings: Settings, lane: Lane) -> str:
    return settings.outboxes[lane.database].get_secret_value()
