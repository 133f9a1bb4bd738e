"""Where the relay stands: its cursors, what waits, who leads, and whether a person is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from millrace import topics
from millrace.postgres import Connection
from outbox_relay import store
from outbox_relay.domain.cursor import Cursor, moved
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.standing import Audited, Standing
from outbox_relay.publisher.cursors import last_cursor
from outbox_relay.publisher.mirrored import later
from outbox_relay.store import audits
from outbox_relay.store import standing as seen
from outbox_relay.store.progress import Waiting

MAIN = Lane()
LOOK_SECONDS = 0.2  # between two looks at a cursor that is waited for


async def position(kafka: str, cursor_topic: str = topics.RELAY_CURSOR) -> Cursor | None:
    """The last cursor that was committed in Kafka; None before the first page."""
    return await last_cursor(kafka, cursor_topic)


async def standing(
    connection: Connection, kafka: str, lane: Lane = MAIN, prefix: str = topics.RELAY_CURSOR
) -> Cursor | None:
    """The cursor of a lane that counts: Kafka's, or in the mode `idempotent` PostgreSQL's."""
    kept = await store.kept(connection, lane)
    committed = await last_cursor(kafka, lane.cursor_topic(prefix))
    return later(committed, kept.cursor) if kept and kept.counts else committed


async def unpublished(
    connection: Connection, cursor: Cursor | None, lane: Lane = MAIN
) -> tuple[int, datetime | None]:
    """How many committed rows of a lane wait to be published, and since when the oldest does."""
    return await store.unpublished(connection, cursor, lane)


async def lag(
    connection: Connection, kafka: str, lanes: Iterable[Lane] = (MAIN,), prefix: str = topics.RELAY_CURSOR
) -> list[Waiting]:
    """What waits, by topic, over all lanes."""
    found: dict[str, Waiting] = {}
    for lane in lanes:
        for it in await store.waiting(connection, await standing(connection, kafka, lane, prefix), lane):
            other = found.get(it.topic, it._replace(rows=0, bytes=0))
            found[it.topic] = Waiting(
                it.topic, it.rows + other.rows, it.bytes + other.bytes, min(it.since, other.since)
            )
    return [found[topic] for topic in sorted(found)]


async def drained(
    connection: Connection,
    kafka: str,
    lanes: Sequence[Lane] = (MAIN,),
    prefix: str = topics.RELAY_CURSOR,
    *,
    deadline_seconds: float,
    left: Callable[[int], object] = lambda _: None,
) -> int:
    """Wait until everything that is committed now is published; returns how many rows are not, at the deadline.

    `left` hears how many rows still wait, again and again.
    """
    now = await store.snapshot(connection)
    until = asyncio.get_running_loop().time() + deadline_seconds
    while True:
        rows = 0
        for lane in lanes:
            cursor = await standing(connection, kafka, lane, prefix)
            rows += sum(it.rows for it in await store.waiting(connection, cursor, lane, now))
        left(rows)
        if not rows or asyncio.get_running_loop().time() >= until:
            return rows
        await asyncio.sleep(LOOK_SECONDS)


async def stand(
    connection: Connection, kafka: str, lane: Lane = MAIN, prefix: str = topics.RELAY_CURSOR
) -> Standing:
    """Everything that is to be seen of a lane from outside."""
    cursor = await standing(connection, kafka, lane, prefix)
    identity, now = await store.identified(connection)
    kept, last = await store.kept(connection, lane), await audits.last(connection, lane)
    leader, standbys = await seen.candidates(connection, lane)
    waiting = await store.waiting(connection, cursor, lane)
    parked, oldest = await seen.wanted(connection, lane)
    return Standing(
        str(lane), leader, standbys,
        mode="idempotent" if kept and kept.counts else "transactional",
        generation=cursor.generation if cursor else None,
        position=_words(cursor),
        redriven=cursor.redriven if cursor else 0,
        retired=cursor.retired if cursor else "",
        moved=moved(cursor, identity, now) if cursor else "",
        rows=sum(it.rows for it in waiting),
        bytes=sum(it.bytes for it in waiting),
        oldest=min((it.since for it in waiting), default=None),
        parked=parked,
        audit=Audited(last.at, last.differences, last.ok) if last else None,
        audit_due=last.at if last else oldest,
        days_ahead=await seen.days_ahead(connection),
    )  # fmt: skip


def _words(cursor: Cursor | None) -> str:
    if cursor is None:
        return "before the first row"
    place = cursor.position
    return f"{place.seen}, in {place.window} up to row {place.last_id}" if place.window else str(place.seen)
