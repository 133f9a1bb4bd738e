"""What operators ask of a consumer and tell it, through its own tables: it need not run, nor its code be here.

A consumer is a schema with `processed_events`, `parked_event` and `progress`. Whoever may use the schema may look;
what else a command needs is named when it is missing. Redrives and pauses are only written down here: the running
consumer looks every second, and does them in its own stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from millrace import audit
from millrace.consumer.judge import WAITING
from millrace.postgres import Connection, Transaction

LIMIT = 100  # of events an hour that cannot be applied: above it a consumer ends, unless it was told another


class Refused(Exception):
    """A command that cannot be carried out; the message says why, and what to do next."""


@dataclass(frozen=True, slots=True)
class Found:
    """A consumer's schema. `current` says that its tables are of this version."""

    schema: str
    current: bool
    readable: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What a consumer's tables say of it. Times that are None: it has never run, or is not paused."""

    schema: str
    name: str
    topics: tuple[str, ...]
    ordered: bool
    started_at: datetime | None
    paused_at: datetime | None
    paused_by: str | None
    paused_why: str | None


@dataclass(frozen=True, slots=True)
class Came:
    """How far it has come in one partition."""

    topic: str
    partition: int
    next_offset: int
    records: int
    sequences: Mapping[str, int]
    record_at: datetime
    advanced_at: datetime


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked event without its value."""

    id: int
    topic: str
    partition: int
    kafka_offset: int
    record_key: str
    source: str
    event_id: str
    type: str
    status: str
    wait_key: str | None
    reason: str
    parked_at: datetime
    asked_at: datetime | None
    asked_by: str | None

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.kafka_offset}"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which parked events; what is None is not asked for."""

    ids: Sequence[int] | None = None
    key: str | None = None
    reason: str | None = None  # a part of it, in any case of letters
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    statuses: Sequence[str] | None = None


FIND = """
-- Every schema with the tables of a consumer; whether they are of this version, and may be read.
select n.nspname as schema, bool_or(c.relname = 'progress') as current,
       has_schema_privilege(n.oid, 'usage') and bool_and(has_table_privilege(c.oid, 'select')) as readable
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p') and c.relname in ('processed_events', 'parked_event', 'progress')
 group by n.oid, n.nspname
having bool_or(c.relname = 'processed_events') and bool_or(c.relname = 'parked_event')
 order by n.nspname
"""


async def find(connection: Connection) -> list[Found]:
    """The consumers of this database, by the names of their schemas."""
    return [Found(**row) for row in await connection.fetch(FIND)]


async def consumers(connection: Connection, names: Sequence[str] = ()) -> list[Known]:
    """These consumers, or all that may be read and are of this version.

    Raises: Refused when one of these is unknown, unreadable or not migrated, or when of all there is none.
    """
    found = await find(connection)
    by_name = {one.schema: one for one in found}
    for name in names:
        if name not in by_name:
            there = ", ".join(by_name) or "none: `millrace migrate` has not run here"
            raise Refused(f"there is no consumer {name!r} in this database; there is {there}")
        _refuse_unusable(by_name[name])
    usable = [one.schema for one in found if one.readable and one.current]
    if found and not usable:
        _refuse_unusable(found[0])
    return [await known(connection, name) for name in names or usable]


def _refuse_unusable(one: Found) -> None:
    """Raises Refused for a consumer that cannot be looked at."""
    if not one.readable:
        raise Refused(f"{one.schema} may not be read: {_grant(one.schema, 'select on all tables')}")
    if not one.current:
        raise Refused(f"the tables of {one.schema} are of an earlier version: run `millrace migrate` first")


KNOWN = """
-- What a consumer says of itself.
select name, topics, ordered, started_at, paused_at, paused_by, paused_why from {schema}.consumer
"""


async def known(connection: Connection, schema: str) -> Known:
    """What a consumer says of itself; one that never ran is named after its schema."""
    row = await connection.fetchrow(_in(KNOWN, schema))
    if row is None:
        return Known(schema, schema, (), True, None, None, None, None)
    return Known(schema, **{**row, "topics": tuple(row["topics"])})


CAME = """
-- How far a consumer has come in each partition.
select topic, partition, next_offset, records, sequences, record_at, advanced_at
  from {schema}.progress order by topic, partition
"""


async def came(connection: Connection, schema: str) -> list[Came]:
    """How far it has come, by partition."""
    return [Came(**row) for row in await connection.fetch(_in(CAME, schema))]


COUNTED = """
-- How many events are parked, by status, and of how many an operator wants a redrive.
select status, count(*) as events, count(asked_at) as asked from {schema}.parked_event group by status order by status
"""


async def counted(connection: Connection, schema: str) -> tuple[dict[str, int], int]:
    """Parked events by status; those that are asked for."""
    rows = await connection.fetch(_in(COUNTED, schema))
    return {row["status"]: row["events"] for row in rows}, sum(row["asked"] for row in rows)


LATELY = """
-- How many events could not be applied within the last hour: what a consumer's dead-letter limit counts.
select count(*) from {schema}.parked_event
 where status in ('poison', 'failed') and parked_at > now() - interval '1 hour'
"""


async def lately(connection: Connection, schema: str) -> int:
    """How many events could not be applied within the last hour."""
    return int(await connection.fetchval(_in(LATELY, schema)))


COLUMNS = """id, topic, partition, kafka_offset, record_key, source, event_id, type, status, wait_key, reason,
       parked_at, asked_at, asked_by"""

OLDEST = f"""
-- The parked event that has stood longest; what merely waits for a fact does not stand.
select {COLUMNS} from {{schema}}.parked_event where status <> 'waiting' order by parked_at, id limit 1
"""


async def oldest(connection: Connection, schema: str) -> Parked | None:
    """The parked event that has stood longest, if any."""
    row = await connection.fetchrow(_in(OLDEST, schema))
    return Parked(**row) if row else None


CHOOSE = f"""
-- Parked events by what is asked for, in the order in which they were parked; all that there are, or so many.
select {COLUMNS} from {{schema}}.parked_event
 where ($1::bigint[] is null or id = any($1))
   and ($2::text is null or record_key = $2)
   and ($3::text is null or position(lower($3) in lower(reason)) > 0)
   and ($4::text is null or type = $4)
   and ($5::timestamptz is null or parked_at >= $5)
   and ($6::timestamptz is null or parked_at < $6)
   and ($7::text[] is null or status = any($7))
 order by id
 limit $8
"""


async def choose(connection: Connection, schema: str, by: Filter, limit: int | None = None) -> list[Parked]:
    """The parked events that a filter lets through, in their order."""
    asked = (by.ids, by.key, by.reason, by.type, by.since, by.until, by.statuses, limit)
    return [Parked(**row) for row in await connection.fetch(_in(CHOOSE, schema), *asked)]


KEY = f"""
-- Everything parked under a record key that stands in order, first to last.
select {COLUMNS} from {{schema}}.parked_event
 where record_key = any($1::text[]) and record_key <> '' and status <> 'waiting'
 order by id
"""


async def whole_keys(connection: Connection, consumer: Known, chosen: Sequence[Parked]) -> list[Parked]:
    """What has to be judged together: these, and in a consumer that keeps order all that stands under their keys.

    Those in front as well: a later event alone would only be found to stand behind them.
    """
    if not consumer.ordered:
        return list(chosen)
    keys = sorted({one.record_key for one in chosen if one.status != WAITING})
    rows = await connection.fetch(_in(KEY, consumer.schema), keys)
    found = {one.id: one for one in [*chosen, *(Parked(**row) for row in rows)]}
    return [found[id] for id in sorted(found)]


RAW = """
-- One parked event whole.
select headers, key, value from {schema}.parked_event where id = $1
"""


async def raw(connection: Connection, schema: str, id: int) -> tuple[dict[str, str], bytes | None]:
    """The headers and the value of a parked event, as they came. Raises Refused when it is not parked any more."""
    row = await connection.fetchrow(_in(RAW, schema), id)
    if row is None:
        raise Refused(
            f"{schema} has no parked event {id}; `millrace parked list {schema}` shows those it has"
        )
    return row["headers"], row["value"]


ASK = """
-- An operator wants these judged again. Who asked first stays.
update {schema}.parked_event set asked_at = now(), asked_by = $2
 where id = any($1::bigint[]) and asked_at is null
"""


async def ask(tx: Transaction, schema: str, chosen: Sequence[Parked], note: audit.Entry) -> None:
    """Ask the running consumer to judge these again. Writes: parked_event, an audit row each."""
    with granted(schema, "update (asked_at, asked_by) on {schema}.parked_event"):
        await tx.execute(_in(ASK, schema), [one.id for one in chosen], note.actor)
    await witness(tx, schema, note, [named(one) for one in chosen])


PENDING = """
-- How many of these are still to be judged.
select count(*) from {schema}.parked_event where id = any($1::bigint[]) and asked_at is not null
"""


async def pending(connection: Connection, schema: str, asked: Sequence[Parked]) -> int:
    """How many events that were asked for are not judged yet."""
    return int(await connection.fetchval(_in(PENDING, schema), [one.id for one in asked]))


OUTCOMES = """
-- What became of these events.
select p.source, p.event_id, p.outcome
  from {schema}.processed_events p
  join unnest($1::text[], $2::text[]) as asked (source, event_id) using (source, event_id)
"""


@dataclass(frozen=True, slots=True)
class Redriven:
    """How far a redrive has come: outcome → events, those that are parked again, those not judged yet."""

    outcomes: Mapping[str, int]
    parked: tuple[Parked, ...]
    pending: int


async def redriven(connection: Connection, schema: str, asked: Sequence[Parked]) -> Redriven:
    """What has become of events that were asked for."""
    left = {one.id: one for one in await choose(connection, schema, Filter(ids=[one.id for one in asked]))}
    gone = [one for one in asked if one.id not in left and one.event_id]
    rows = await connection.fetch(
        _in(OUTCOMES, schema), [one.source for one in gone], [one.event_id for one in gone]
    )
    outcomes: dict[str, int] = {}
    for row in rows:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
    again = tuple(one for one in left.values() if one.asked_at is None)
    return Redriven(outcomes, again, len(left) - len(again))


REMOVE = """
-- They are parked no longer, unless the consumer has settled them meanwhile.
delete from {schema}.parked_event where id = any($1::bigint[]) returning id
"""

DISCARD = """
-- Events that an operator has decided about for good, later than all that was judged before.
update {schema}.processed_events p set outcome = 'discarded', reason = $3, seq = default
  from unnest($1::text[], $2::text[]) as gone (source, event_id)
 where p.source = gone.source and p.event_id = gone.event_id and p.outcome = 'parked'
"""

RELEASE = """
-- What stood behind them alone: nothing in front of it is beyond help any more. An operator wants it judged.
update {schema}.parked_event p set asked_at = now(), asked_by = $2
 where p.record_key = any($1::text[]) and p.record_key <> '' and p.status = 'behind'
   and not exists (select from {schema}.parked_event h
                    where h.record_key = p.record_key and h.id < p.id and h.status in ('poison', 'failed'))
returning p.id
"""


async def discard(
    tx: Transaction, consumer: Known, chosen: Sequence[Parked], note: audit.Entry
) -> tuple[list[Parked], list[int]]:
    """Give these up for good; returns those that were still parked, and the ids that are released by it.

    Writes: processed_events, parked_event, an audit row each.
    """
    schema = consumer.schema
    with granted(schema, "delete, update (asked_at, asked_by) on {schema}.parked_event"):
        removed = {row["id"] for row in await tx.fetch(_in(REMOVE, schema), [one.id for one in chosen])}
        gone = [one for one in chosen if one.id in removed]
        keys = sorted({one.record_key for one in gone})
        released = await tx.fetch(_in(RELEASE, schema), keys, note.actor) if consumer.ordered else []
    with granted(schema, "update (outcome, reason, seq) on {schema}.processed_events"):
        reason = f"discarded by {note.actor}: {note.reason}"
        await tx.execute(
            _in(DISCARD, schema), [one.source for one in gone], [one.event_id for one in gone], reason
        )
    await witness(tx, schema, note, [named(one) for one in gone])
    return gone, sorted(row["id"] for row in released)


PAUSE = """
-- An operator wants it to rest. The first word stands until it is taken back.
update {schema}.consumer set paused_at = now(), paused_by = $1, paused_why = $2 where paused_at is null
"""

RESUME = """
-- It may go on.
update {schema}.consumer set paused_at = null, paused_by = null, paused_why = null where paused_at is not null
"""


async def pause(tx: Transaction, consumer: Known, note: audit.Entry) -> bool:
    """Have it rest; whether that is news. Writes: its row, an audit row."""
    return await _steer(tx, consumer, PAUSE, note, note.actor, note.reason)


async def resume(tx: Transaction, consumer: Known, note: audit.Entry) -> bool:
    """Have it go on; whether that is news. Writes: its row, an audit row."""
    return await _steer(tx, consumer, RESUME, note)


async def _steer(tx: Transaction, consumer: Known, statement: str, note: audit.Entry, *args: str) -> bool:
    if consumer.started_at is None:
        raise Refused(f"{consumer.name} has never run, so there is nothing to pause or resume")
    with granted(consumer.schema, "update (paused_at, paused_by, paused_why) on {schema}.consumer"):
        changed: bool = await tx.execute(_in(statement, consumer.schema), *args) != "UPDATE 0"
    if changed:
        await witness(tx, consumer.schema, note, [consumer.name])
    return changed


MOVED = """
-- Offsets of a topic that was made anew mean other records: what was decided of the old one counts no more.
update {schema}.progress p set next_offset = moved.after
  from unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) as moved (topic, partition, after, ends)
 where p.topic = moved.topic and p.partition = moved.partition and p.next_offset > moved.ends
"""


async def moved(tx: Transaction, schema: str, moves: Sequence[tuple[str, int, int, int]]) -> None:
    """(topic, partition, new offset, the partition's end) of offsets that are put somewhere else. Writes: progress."""
    with granted(schema, "update (next_offset) on {schema}.progress"):
        await tx.execute(_in(MOVED, schema), *map(list, zip(*moves, strict=True)))


async def witness(tx: Transaction, schema: str, note: audit.Entry, subjects: Sequence[str]) -> None:
    """Write down what an operator does, once for each subject, in the operator's own chain. Writes: audit rows."""
    entries = [
        audit.Entry(note.at, note.actor, note.action, subject, "", note.reason) for subject in subjects
    ]
    with granted(schema, "insert on {schema}.audit"):
        await audit.append(tx, schema, f"operator:{note.actor}", entries)


def named(one: Parked) -> str:
    """A parked event in the audit log: its id, or where an unreadable record was."""
    return one.event_id or one.place


@contextmanager
def granted(schema: str, right: str) -> Iterator[None]:
    """Say which grant is missing. Raises Refused where PostgreSQL denies the permission."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError:
        raise Refused(f"permission denied: {_grant(schema, right.format(schema=schema))}") from None


def _grant(schema: str, right: str) -> str:
    return (
        f"connect as the owner of the schema, or have it say `grant {right} to …` "
        f"(and `grant usage on schema {schema}`)"
    )


def _in(statement: str, schema: str) -> str:
    return statement.replace("{schema}", schema)
