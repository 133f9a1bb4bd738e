"""Faults planted where the relay hands its records to the client: it believes that they were published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import asyncpg

from outbox_relay.commands import Audit, audit, position, unpublished
from outbox_relay.domain.page import OUTBOX_ID, PSEQ, Record
from outbox_relay.relay import Relay
from tests.integration.outbox_relay.arena import Arena, running, until

Records = list[Record]
Plant = Callable[[Records], Records]


def numbered(record: Record, **changes: int) -> Record:
    """A record with another id or number."""
    names = {"row": OUTBOX_ID, "pseq": PSEQ}
    said = dict(record.headers) | {names[name]: b"%d" % value for name, value in changes.items()}
    return record._replace(headers=list(said.items()))


def row(record: Record) -> int:
    return int(dict(record.headers)[OUTBOX_ID])


def pseq(record: Record) -> int:
    return int(dict(record.headers)[PSEQ])


def planted(relay: Relay, plants: Mapping[str, Plant]) -> dict[str, list[int]]:
    """From now on this relay's records go through the plant of their topic; returns the ids as they were before."""
    publisher: Any = relay.publisher
    encode, ids = publisher.inner.encode, {}

    def spoilt(batches: Mapping[tuple[str, int], Sequence[Record]]) -> Any:
        ids.update(
            {t: [row(record) for record in records] for (t, _), records in batches.items() if t in plants}
        )
        return encode(
            {place: plants.get(place[0], list)(list(records)) for place, records in batches.items()}
        )

    publisher.inner.encode = spoilt
    return ids


async def run(arena: Arena, plants: Mapping[str, Plant] | None = None) -> dict[str, list[int]]:
    """Publish everything that waits."""
    relay = arena.relay()
    ids = planted(relay, plants or {})
    async with running(relay):
        await until(lambda: drained(arena), 60)
    return ids


async def drained(arena: Arena) -> bool:
    async with arena.connection() as connection:
        return (await unpublished(connection, await position(arena.kafka, arena.cursor)))[0] == 0


async def audited(arena: Arena, **how: Any) -> Audit:
    """As the relay's own role, which is all that an audit needs."""
    connection = await asyncpg.connect(arena.dsn)
    try:
        found = await audit(connection, arena.kafka, prefix=arena.cursor, **how)
    finally:
        await connection.close()
    assert found
    return found
