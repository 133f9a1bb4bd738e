"""The office of a lane, taken by a person: whoever moves a cursor does what a relay does before its first row.

Take the lane's lease, fence every producer, read the cursor that was left. So nothing is moved while a relay leads,
and whatever a zombie sends later is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aiokafka.errors import (
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    UnknownTopicOrPartitionError,
)

from millrace import postgres, topics
from millrace.postgres import Connection
from outbox_relay import publisher, store
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.publisher import Halted, Publisher
from outbox_relay.store import Cursors, Lease

__all__ = ["Halted", "Office", "Refused", "Site", "Witness", "connected", "fenced", "office"]

LEASE_SECONDS = 15.0
ASKED, AGAIN_SECONDS = 5, 0.3  # a standby of another division holds a lock for an instant: ask again
NOT_SETTLED = (
    UnknownTopicOrPartitionError,
    NotLeaderForPartitionError,
    LeaderNotAvailableError,
)  # a new topic
DEADLINE_SECONDS, TRANSACTION_SECONDS, BATCH_BYTES = 10.0, 15.0, 1_000_000

Witness = Callable[[Connection], Awaitable[None]]  # writes down who does this and why, before it is done


class Refused(Exception):
    """It would lose or double rows, or somebody leads. The message says what to type."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where the lanes are. `dsn` is that of the outbox's owner, `prefix` the relay's RELAY_CURSOR_TOPIC."""

    dsn: str
    kafka: str
    prefix: str = topics.RELAY_CURSOR


@dataclass(frozen=True, slots=True)
class Office:
    """A lane's lease, its only producer, and the cursor that was left."""

    connection: Connection
    lease: Lease
    producer: Publisher
    copies: Cursors
    left: Cursor | None

    async def put(self, cursor: Cursor, witness: Witness) -> None:
        async with self.connection.transaction():
            await witness(self.connection)
        await self.lease.confirm()
        await self.producer.publish([], cursor)
        await self.copies.mirror(cursor)


@asynccontextmanager
async def office(site: Site, lane: Lane) -> AsyncIterator[Office]:
    """Raises: Refused while somebody leads."""
    async with (
        connected(site.dsn) as connection,
        _leased(connection, site.dsn, lane) as lease,
        fenced(site, lane) as (producer, copies, left),
    ):
        yield Office(connection, lease, producer, copies, left)


@asynccontextmanager
async def _leased(connection: Connection, dsn: str, lane: Lane) -> AsyncIterator[Lease]:
    for _ in range(ASKED):
        if lease := await store.lease(dsn, lane, LEASE_SECONDS):
            break
        await asyncio.sleep(AGAIN_SECONDS)
    else:
        leaders = await store.leaders(connection, lane.database)
        named = "; ".join(f"{led} is led by {who}" for led, who in leaders.items())
        raise Refused(LED.format(named=named or f"somebody has just taken the lease of {lane}"))
    try:
        yield lease
    finally:
        await lease.release()


@asynccontextmanager
async def fenced(site: Site, lane: Lane) -> AsyncIterator[tuple[Publisher, Cursors, Cursor | None]]:
    """The lane's only producer, and the cursor that was left. It writes transactions in either mode: a lane of the
    mode `idempotent` takes the cursor topic's word once its copy in PostgreSQL says that it is a copy."""
    copies = Cursors(site.dsn, lane)
    producer = publisher.make(
        site.kafka, lane, copies, cursor_prefix=site.prefix, deadline_seconds=DEADLINE_SECONDS,
        transaction_seconds=TRANSACTION_SECONDS, batch_bytes=BATCH_BYTES,
    )  # fmt: skip
    try:
        yield producer, copies, await _fence(producer, lane.cursor_topic(site.prefix))
    finally:
        await producer.discard()
        await copies.close()


async def _fence(producer: Publisher, topic: str) -> Cursor | None:
    """A topic that has just been made is not known to every broker at once, nor is who leads it. Raises: Refused,
    Halted."""
    problem: Exception | None = None
    for _ in range(ASKED):
        try:
            return await producer.fence()
        except NOT_SETTLED as raised:
            problem = raised
            await asyncio.sleep(AGAIN_SECONDS)
    raise Refused(
        f"the cursor topic {topic} does not exist, or has no leader ({type(problem).__name__}): name another lane, or "
        "make it, with one partition"
    ) from problem


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(dsn)
    try:
        await postgres.prepare(connection)
        yield connection
    finally:
        await connection.close()


LED = (
    "{named}. Stop the relay first (`kubectl scale deployment/outbox-relay --replicas=0`, or end its process), wait "
    "until its lease is gone, and run this again"
)
