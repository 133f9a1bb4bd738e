"""Putting a lane somewhere else, and fencing it: what only a person may decide."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import orjson
from aiokafka.errors import KafkaError

from millrace.postgres import Connection
from outbox_relay import store
from outbox_relay.commands.office import Refused, Site, Witness, connected, fenced, office
from outbox_relay.commands.records import newest
from outbox_relay.commands.watch import standing
from outbox_relay.domain import steering
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import OUTBOX, OUTBOX_ID, REPLAY
from outbox_relay.domain.steering import Refusal, To, Told

__all__ = ["Move", "To", "fence", "look", "put", "rebase"]

LOOK_SECONDS = 30.0
NAME = "ce_id"
TAIL_RECORDS = 500  # of each partition; the last commits are the ones that a fail-over loses


@dataclass(frozen=True, slots=True)
class Move:
    """A lane's cursor before and after, and what follows from it."""

    lane: str
    left: Cursor | None
    cursor: Cursor
    rows: int  # about so many rows of the lane are published again, or are stepped over at the end
    restored: int  # rows of another cluster that are given a transaction of this one


async def look(site: Site, lane: Lane, to: To) -> Move:
    """What `rebase` would do. Takes no lease and fences nobody. Raises: Refused."""
    async with connected(site.dsn) as connection:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                left = await standing(connection, site.kafka, lane, site.prefix)
        except (TimeoutError, KafkaError) as problem:
            topic = lane.cursor_topic(site.prefix)
            raise Refused(f"the cursor topic {topic} cannot be read; is it there, and is Kafka?") from problem
        return await _planned(site, connection, left, lane, to)


async def rebase(site: Site, lane: Lane, to: To, witness: Witness) -> Move:
    """Put a lane at the beginning, at the end, or where it stood, in the database that is there now.

    Writes: the transactions of restored rows, what `witness` does, then the cursor. Raises: Refused, Halted.
    Replay: the same again, one generation later.
    """
    async with office(site, lane) as held:
        move = await _planned(site, held.connection, held.left, lane, to)
        if move.restored and to is not To.CONTINUE:
            restored = await store.adopt_rows(held.connection)
            move = replace(await _planned(site, held.connection, held.left, lane, to), restored=restored)
        await held.put(move.cursor, witness)
        return move


async def _planned(site: Site, connection: Connection, left: Cursor | None, lane: Lane, to: To) -> Move:
    """A cursor that Kafka has lost is still good for its generation and its numbering."""
    found = await store.found(connection)
    if left is None and to is not To.CONTINUE:
        kept = await store.kept(connection, lane)
        left = kept.cursor if kept else None
    lost = await _forgotten(site, connection, left, lane) if left and to is To.CONTINUE else []
    cursor = _or_refused(steering.rebased(left, found, to, lane, lost))
    rows = 0 if to is To.CONTINUE else found.rows // lane.shards
    return Move(str(lane), left, cursor, rows, found.foreign)


async def _forgotten(site: Site, connection: Connection, left: Cursor, lane: Lane) -> list[int]:
    """What the ends of the topics say was published under this cursor, held against the database."""
    published = [
        Told(
            int(said[OUTBOX_ID]), (record.key or b"").decode(), said[NAME].decode() if NAME in said else None
        )
        async for record in newest(site.kafka, left.pseq, TAIL_RECORDS)
        if (said := dict(record.headers)).get(OUTBOX, b"").decode() == f"{lane}@{left.generation}"
        and REPLAY not in said
    ]
    rows, oldest = await store.told(connection, [told.id for told in published])
    return steering.forgotten(published, rows, oldest)


async def put(site: Site, lane: Lane, record: bytes, witness: Witness) -> Move:
    """Put a cursor in force that a person brings. Writes and raises as `rebase`."""
    try:
        given = Cursor.parse(record)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as problem:
        raise Refused(
            f"this is no cursor ({problem}): bring what `millrace relay cursor show --json` prints"
        ) from None
    async with office(site, lane) as held:
        found = await store.found(held.connection)
        cursor = _or_refused(steering.put(given, held.left, found, lane))
        waiting, _ = await store.unpublished(held.connection, cursor, lane)
        await held.put(cursor, witness)
        return Move(str(lane), held.left, cursor, waiting, found.foreign)


async def fence(site: Site, lane: Lane) -> Cursor | None:
    """Refuse whatever an earlier producer of the lane still sends, without asking for the lease.

    A relay that leads notices at its next page, fences in its turn, and goes on. Raises: Halted.
    """
    async with fenced(site, lane) as (_, _, left):
        return left


def _or_refused(made: Cursor | Refusal) -> Cursor:
    if isinstance(made, Refusal):
        raise Refused(made.words)
    return made
