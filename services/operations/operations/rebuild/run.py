"""The rebuild itself: history → log → the very batches that the consumer applies → comparison."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from millrace import postgres
from millrace.claims import Claims
from millrace.consumer import Batches, Fold
from millrace.consumer.compared import Compared
from millrace.errors import Misconfigured, Retryable
from millrace.postgres import Connection, Schema
from millrace.sealing import Keys, Policy
from operations.rebuild.compare import Comparison, Side, compare
from operations.rebuild.history import Met, count, history, snapshot
from operations.rebuild.log import EVENT_LOG, Kafka, Log, Stored, client
from operations.rebuild.shadow import Shadow, shadow

BATCH = 500  # as the consumer's own
STATEMENT_SECONDS = 600.0
MISSING_SHOWN = 20
Moved = Callable[[int], object]  # so many events further


@dataclass(frozen=True, slots=True)
class Subject:
    """A consumer that can be rebuilt: its fold and rules, its tables, and what of them is compared how."""

    fold: Fold[Any, Any]
    rules: str  # their version, for whoever reads the result
    schema: Schema
    topics: tuple[str, ...]
    compared: Mapping[str, Compared]
    by_the_clock: tuple[str, ...] = ()  # topics it writes to without the cause of an event


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild found. `missing` events are in no log any more; `discarded` an operator put aside."""

    consumer: str
    rules: str
    into: str
    events: int = 0
    discarded: int = 0
    seconds: float = 0.0
    found: Mapping[str, int] = field(default_factory=dict)  # where the events were → how many
    missing: int = 0
    first_missing: list[str] = field(default_factory=list)
    comparison: Comparison = field(default_factory=lambda: Comparison(0))

    @property
    def equal(self) -> bool:
        return not self.missing and not self.comparison.differing


async def rebuild(
    live: str,
    kafka: str,
    subject: Subject,
    into: str,
    *,
    keep: bool = False,
    differences: int = 20,
    opening: Opening | None = None,
    begin: Moved = lambda _: None,
    moved: Moved = lambda _: None,
) -> Rebuilt:
    """Build a consumer anew and compare it with the live one, which goes on consuming meanwhile.

    Writes:  the shadow database alone; it is dropped at the end, unless it is to be kept or was given.
    Raises:  Misconfigured · Retryable when a database or the broker does not answer.
    """
    name = subject.schema.name
    async with AsyncExitStack() as open_:
        seen = await open_.enter_async_context(snapshot(live))
        await _up_to_date(seen, subject.schema)
        where = await open_.enter_async_context(shadow(live, into, subject.schema, keep=keep))
        told = Rebuilt(name, subject.rules, where.name)
        told.events, told.discarded = await count(seen, name)
        begin(told.events)
        until = await _apply(open_, seen, live, kafka, where, subject, opening, told, moved)
        rebuilt = await open_.enter_async_context(snapshot(where.dsn))
        told.comparison = await compare(
            Side(seen),
            Side(rebuilt, until),
            name,
            subject.compared,
            subject.by_the_clock,
            keep=differences,
            traced=EVENT_LOG not in told.found,
        )
        return told


@dataclass(frozen=True, slots=True)
class Opening:
    """What opens the event log: the keys, and the policy by which its events are sealed again."""

    keys: Keys
    policy: Policy


async def _up_to_date(live: Connection, schema: Schema) -> None:
    if missing := await postgres.pending(live, schema):
        raise Misconfigured(f"{schema.name} lacks {len(missing)} migrations: run `millrace migrate` first")


async def _apply(
    open_: AsyncExitStack,
    seen: Connection,
    live: str,
    kafka: str,
    where: Shadow,
    subject: Subject,
    opening: Opening | None,
    told: Rebuilt,
    moved: Moved,
) -> int:
    """Apply everything that was met. Returns the shadow's last outbox row whose counterpart may be gone."""
    pool = await postgres.pool(where.dsn, size=2, timeout_seconds=STATEMENT_SECONDS, name="millrace-rebuild")
    open_.push_async_callback(pool.close)
    notes: Connection = await asyncpg.connect(where.dsn)
    open_.push_async_callback(notes.close)
    log = await _log(open_, seen, notes, live, kafka, subject, opening)
    batches = Batches(pool, subject.fold, chain="rebuild", dead_letters_max=sys.maxsize)
    first_day, until, began = await _first_day(seen), 0, time.monotonic()
    async for met in history(seen, subject.schema.name, BATCH):
        records = await log.records(met)
        await _applied(batches, [record for record in records if record])
        _missed(told, [one for one, record in zip(met, records, strict=True) if record is None])
        if any(one.met_at < first_day for one in met):
            until = await notes.fetchval(LAST_ROW)
        moved(len(met))
    told.found, told.seconds = {where: n for where, n in log.found.items() if n}, time.monotonic() - began
    return until


async def _log(
    open_: AsyncExitStack,
    seen: Connection,
    notes: Connection,
    live: str,
    kafka: str,
    subject: Subject,
    opening: Opening | None,
) -> Log:
    consumer = client(kafka)
    await consumer.start()
    open_.push_async_callback(consumer.stop)
    claims = Claims({"main": live})
    open_.push_async_callback(claims.close)
    reader = Kafka(consumer, claims)
    await reader.begin(subject.topics)
    stored = Stored(seen, opening.keys, opening.policy) if opening else None
    return Log(seen, notes, subject.schema.name, reader, stored)


async def _applied(batches: Batches, records: Sequence[Any]) -> None:
    if records and (resting := (await batches.apply(records)).resting):
        raise Retryable("; ".join(f"{t}/{n}: {rest.reason}" for (t, n), rest in resting.items()))


def _missed(told: Rebuilt, met: Sequence[Met]) -> None:
    told.missing += len(met)
    room = max(0, MISSING_SHOWN - len(told.first_missing))
    told.first_missing += [
        f"{m.source} {m.event_id} at {m.topic}/{m.partition}/{m.offset}" for m in met[:room]
    ]


LAST_ROW = """
-- The newest outbox row.
select coalesce(max(id), 0) from outbox.event
"""

FIRST_DAY = """
-- The table of the outbox's oldest day that is still there.
select min(c.relname) from pg_inherits i join pg_class c on c.oid = i.inhrelid
 where i.inhparent = 'outbox.event'::regclass and c.relname ~ '^event_[0-9]{8}$'
"""


async def _first_day(live: Connection) -> datetime:
    """Where the outbox begins: what was published before went with its days."""
    name = await live.fetchval(FIRST_DAY)
    if name is None:
        return datetime.max.replace(tzinfo=UTC)
    day = date.fromisoformat(name.removeprefix("event_"))
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
