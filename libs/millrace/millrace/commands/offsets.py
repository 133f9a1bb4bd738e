"""Where a group's offsets are to be put, what that means, and the moving of them.

An offset is a place in a partition, not a record: the marks of transactions have some of their own. So what is
counted here as read again or skipped is an upper bound of the records.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import typer
from aiokafka.errors import KafkaError

from millrace import audit
from millrace.commands.group import Kafka, Place
from millrace.commands.running import instant
from millrace.consumer import operating
from millrace.consumer.operating import Known, Refused
from millrace.postgres import Connection

OFFSET = re.compile(r"([A-Za-z0-9._-]+)/([0-9]{1,9})=([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: one of these. `said` is how it was asked for."""

    said: str
    earliest: bool = False
    latest: bool = False
    time: datetime | None = None
    offsets: Mapping[Place, int] | None = None
    by: int | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One partition's move. `again` offsets are read once more, `known` of them decided; `skipped` are never read."""

    topic: str
    partition: int
    before: int
    after: int
    end: int
    again: int
    known: int
    skipped: int


def target(
    now: datetime,
    *,
    to_earliest: bool,
    to_latest: bool,
    to_time: str | None,
    to_offset: Sequence[str] | None,
    by: int | None,
) -> Target:
    """What the options ask for. Raises BadParameter unless it is exactly one thing."""
    asked = [
        *([Target("to the earliest", earliest=True)] if to_earliest else []),
        *([Target("to the latest", latest=True)] if to_latest else []),
        *([_to_time(to_time, now)] if to_time else []),
        *([Target(f"to {', '.join(to_offset)}", offsets=dict(map(_offset, to_offset)))] if to_offset else []),
        *([Target(f"by {by:+} records", by=by)] if by is not None else []),
    ]
    if len(asked) != 1:
        raise typer.BadParameter(
            "say where to, once: --to-earliest, --to-latest, --to-time, --to-offset or --by"
        )
    return asked[0]


def _to_time(text: str, now: datetime) -> Target:
    at = instant(text, now)
    return Target(f"to {at:%Y-%m-%dT%H:%M:%SZ}", time=at)


def _offset(text: str) -> tuple[Place, int]:
    if not (match := OFFSET.fullmatch(text)):
        raise typer.BadParameter(f"{text!r}: write TOPIC/PARTITION=OFFSET", param_hint="--to-offset")
    return (match[1], int(match[2])), int(match[3])


async def plan(
    connection: Connection, kafka: Kafka, consumer: Known, to: Target, topics: Sequence[str]
) -> tuple[Move, ...]:
    """What would move. Raises Refused when a topic or a partition is not the consumer's, or an offset is not there."""
    places = await _places(kafka, consumer, to, topics)
    begins, ends, committed = (
        await kafka.begins(places),
        await kafka.ends(places),
        await kafka.committed(consumer.name),
    )
    decided = {
        (c.topic, c.partition): c.next_offset for c in await operating.came(connection, consumer.schema)
    }
    decided = {
        p: offset for p, offset in decided.items() if offset <= ends.get(p, 0)
    }  # else of a topic that is gone
    befores = {p: committed.get(p, decided.get(p, begins[p])) for p in places}
    afters = await _afters(kafka, to, befores, begins, ends)
    return tuple(
        _move(p, befores[p], afters[p], ends[p], decided.get(p, begins[p]))
        for p in places
        if afters[p] != befores[p]
    )


def _move(place: Place, before: int, after: int, end: int, decided: int) -> Move:
    """What moving a partition means, by how far it was decided."""
    again, known = max(0, before - after), max(0, min(before, decided) - after)
    return Move(*place, before, after, end, again, min(again, known), max(0, after - max(before, decided)))


async def _places(kafka: Kafka, consumer: Known, to: Target, topics: Sequence[str]) -> list[Place]:
    if not consumer.topics:
        raise Refused(
            f"{consumer.name} has never run, so its topics are not known here; its first start is at the earliest"
        )
    if strange := sorted(set(topics) - set(consumer.topics)):
        raise Refused(
            f"{consumer.name} does not read {', '.join(strange)}; it reads {', '.join(consumer.topics)}"
        )
    places = await kafka.partitions(topics or consumer.topics)
    if to.offsets is None:
        return places
    if missing := sorted(set(to.offsets) - set(places)):
        raise Refused(f"{consumer.name} reads no {', '.join(f'{t}/{n}' for t, n in missing)}")
    return sorted(to.offsets)


async def _afters(
    kafka: Kafka,
    to: Target,
    befores: Mapping[Place, int],
    begins: Mapping[Place, int],
    ends: Mapping[Place, int],
) -> dict[Place, int]:
    """Where each partition is put, always between its begin and its end."""
    if to.earliest:
        return dict(begins)
    if to.latest:
        return dict(ends)
    if to.time:
        found = await kafka.at(befores, to.time)
        return {p: ends[p] if (at := found.get(p)) is None else min(at, ends[p]) for p in befores}
    if to.by is not None:
        return {p: min(max(before + to.by, begins[p]), ends[p]) for p, before in befores.items()}
    for p, offset in (to.offsets or {}).items():
        if not begins[p] <= offset <= ends[p]:
            raise Refused(
                f"{p[0]}/{p[1]} has the offsets {begins[p]} to {ends[p]}, and {offset} is none of them"
            )
    return dict(to.offsets or {})


async def refuse_members(kafka: Kafka, name: str) -> None:
    """Raises Refused while anybody is in the group, naming who."""
    members = (await kafka.groups([name]))[name].members
    if members:
        who = ", ".join(f"{m.instance} at {m.host}" for m in members)
        raise Refused(
            f"{name} is running: {who}. Stop it (kubectl scale statefulset/{name} --replicas=0) and wait until its "
            "session is over (45 s): `millrace consumers status` then says that it is empty"
        )


async def move(
    connection: Connection, kafka: Kafka, consumer: Known, moves: Sequence[Move], note: audit.Entry
) -> None:
    """Put the offsets there. Writes: the group's offsets, an audit row each partition.

    Raises Refused when a member came meanwhile; nothing is written then.
    """
    subjects = [f"{m.topic}/{m.partition}: {m.before} to {m.after}" for m in moves]
    async with connection.transaction():
        await operating.moved(
            connection, consumer.schema, [(m.topic, m.partition, m.after, m.end) for m in moves]
        )
        await operating.witness(connection, consumer.schema, note, subjects)
        try:
            await kafka.commit(consumer.name, {(m.topic, m.partition): m.after for m in moves})
        except KafkaError as problem:
            await refuse_members(kafka, consumer.name)
            raise Refused(
                f"Kafka refused the offsets ({type(problem).__name__}); nothing was changed"
            ) from None
