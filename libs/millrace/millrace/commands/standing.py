"""How a consumer stands: what its tables and Kafka say, put together, and what of it wants attention.

    look(connection, kafka, …)   asks both
    Standing                     what they say; nothing in it is a guess

Lag counts from the first record that is neither decided nor passed over by a reset of the offsets. In records it is
an upper bound: between that record and the end, Kafka counts the marks of transactions as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from millrace.commands.group import First, Group, Kafka, Member, Place
from millrace.commands.show import age
from millrace.consumer import operating
from millrace.consumer.operating import Came, Known, Parked
from millrace.postgres import Connection

RATE_SECONDS = 1.0  # between the two samples of a rate


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: where the consumer stands in it, and what is before it. None: Kafka was not asked."""

    topic: str
    partition: int
    next_offset: int | None = None  # the first that is not decided; None before its first record
    records: int = 0
    sequences: Mapping[str, int] = field(default_factory=dict)
    advanced_at: datetime | None = None
    committed: int | None = None
    begin: int | None = None
    end: int | None = None
    lag_records: int | None = None
    oldest: datetime | None = None  # the timestamp of the first record that waits
    member: str | None = None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """One consumer. Lags are None where Kafka was not asked. Units: `rate` records a second."""

    name: str
    schema: str
    state: str  # running, rebalancing, paused, empty, never started, unknown (Kafka was not asked)
    attention: tuple[str, ...]
    lag_records: int | None
    lag_seconds: float | None
    rate: float
    records: int
    parked: Mapping[str, int]
    asked: int
    oldest_parked: Mapping[str, Any] | None
    topics: Sequence[str]
    ordered: bool
    started_at: datetime | None
    paused: Mapping[str, Any] | None
    members: tuple[Member, ...]
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What the database says of one consumer."""

    known: Known
    came: tuple[Came, ...]
    parked: Mapping[str, int]
    asked: int
    lately: int  # that could not be applied within an hour
    oldest: Parked | None
    rate: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What Kafka says of one consumer's group and partitions."""

    group: Group
    committed: Mapping[Place, int]
    begins: Mapping[Place, int]
    ends: Mapping[Place, int]
    first: Mapping[Place, First]


async def tell(connection: Connection, consumers: Sequence[Known]) -> list[Told]:
    """What the database says; takes RATE_SECONDS."""
    before = {one.schema: await operating.came(connection, one.schema) for one in consumers}
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(RATE_SECONDS if any(before.values()) else 0)
    told = []
    for one in consumers:
        came = await operating.came(connection, one.schema)
        seconds = max(asyncio.get_running_loop().time() - began, 0.001)
        grown = sum(c.records for c in came) - sum(c.records for c in before[one.schema])
        parked, asked = await operating.counted(connection, one.schema)
        oldest = await operating.oldest(connection, one.schema)
        lately = await operating.lately(connection, one.schema)
        told.append(Told(one, tuple(came), parked, asked, lately, oldest, round(max(0, grown) / seconds, 1)))
    return told


async def hear(kafka: Kafka, told: Sequence[Told]) -> dict[str, Heard]:
    """What Kafka says, by the consumer's name. Raises KafkaError, TimeoutError."""
    groups = await kafka.groups([one.known.name for one in told])
    heard = {}
    for one in told:
        places = await kafka.partitions(one.known.topics)
        committed = await kafka.committed(one.known.name)
        begins, ends = await kafka.begins(places), await kafka.ends(places)
        first = await kafka.first(_stands(one, committed, begins, ends), ends)
        heard[one.known.name] = Heard(groups[one.known.name], committed, begins, ends, first)
    return heard


def _stands(
    told: Told, committed: Mapping[Place, int], begins: Mapping[Place, int], ends: Mapping[Place, int]
) -> dict[Place, int]:
    """The offset from which each partition is still to be done; one beyond the end is of a topic that is gone."""
    decided = {(c.topic, c.partition): c.next_offset for c in told.came}
    return {
        place: max(
            [begin, *(at for at in (decided.get(place), committed.get(place)) if at and at <= ends[place])]
        )
        for place, begin in begins.items()
    }


def stand(told: Told, heard: Heard | None, now: datetime, behind_seconds: float) -> Standing:
    """Put together what both say. Without Kafka, what needs it is None, and is no reason for attention."""
    known = told.known
    partitions = _partitions(told, heard)
    lag = sum(p.lag_records or 0 for p in partitions) if heard else None
    waits = [p.oldest for p in partitions if p.oldest]
    seconds = (max(0.0, (now - min(waits)).total_seconds()) if waits else 0.0) if heard else None
    state = _state(told, heard)
    return Standing(
        name=known.name,
        schema=known.schema,
        state=state,
        attention=tuple(_attention(told, heard, state, partitions, seconds, behind_seconds, now)),
        lag_records=lag,
        lag_seconds=None if seconds is None else round(seconds, 1),
        rate=told.rate,
        records=sum(c.records for c in told.came),
        parked=told.parked,
        asked=told.asked,
        oldest_parked=_oldest(told.oldest, now),
        topics=known.topics,
        ordered=known.ordered,
        started_at=known.started_at,
        paused=_paused(known),
        members=heard.group.members if heard else (),
        partitions=partitions,
    )


def _partitions(told: Told, heard: Heard | None) -> tuple[Partition, ...]:
    came = {(c.topic, c.partition): c for c in told.came}
    owners = {place: m.instance for m in heard.group.members for place in m.partitions} if heard else {}
    return tuple(
        _partition(place, came.get(place), heard, owners.get(place))
        for place in sorted({*came, *(heard.ends if heard else ())})
    )


def _partition(place: Place, came: Came | None, heard: Heard | None, member: str | None) -> Partition:
    known = Partition(*place)
    if came:
        known = Partition(*place, came.next_offset, came.records, came.sequences, came.advanced_at)
    if heard is None:
        return known
    if place not in heard.ends:
        return replace(known, lost="Kafka has no such partition")
    first, end, begin = heard.first.get(place), heard.ends[place], heard.begins[place]
    return replace(
        known,
        committed=heard.committed.get(place),
        begin=begin,
        end=end,
        lag_records=end - first.offset if first else 0,
        oldest=first.at if first else None,
        member=member,
        lost=_lost(heard.committed.get(place), known.next_offset, begin, end),
    )


def _lost(committed: int | None, decided: int | None, begin: int, end: int) -> str:
    """Why a partition cannot go on where it was left; where Kafka's offset is lost, the database's will do."""
    if decided is not None and begin <= decided <= end:
        return ""
    if committed is not None and committed < begin:
        return f"retention has taken {begin - committed:,} records that were not read"
    if committed is not None and committed > end:
        return f"it ends at {end:,}, before the committed offset {committed:,}: it was made anew, or lost records"
    return ""


def _state(told: Told, heard: Heard | None) -> str:
    known = told.known
    if known.started_at is None:
        return "never started"
    if known.paused_at:
        return "paused"
    if heard is None:
        return "unknown"
    if heard.group.members:
        return "running" if heard.group.state == "Stable" else "rebalancing"
    return "empty"


def _attention(
    told: Told,
    heard: Heard | None,
    state: str,
    partitions: Sequence[Partition],
    lag_seconds: float | None,
    behind_seconds: float,
    now: datetime,
) -> list[str]:
    """What wants somebody's attention, each with what to do."""
    known, said = told.known, []
    if known.paused_at:
        said.append(
            f"paused for {age((now - known.paused_at).total_seconds())} by {known.paused_by}: {known.paused_why}; "
            f"go on with `millrace consumers resume {known.schema} --why …`"
        )
    if heard and not heard.group.members and state != "never started":
        said.append(f"no member is running: {_why_nobody(told)}")
    if heard and heard.group.members and (free := sum(not p.member for p in partitions if p.end is not None)):
        said.append(
            f"{free} partitions have no member; while the group rebalances that is a matter of seconds"
        )
    if lag_seconds is not None and lag_seconds > behind_seconds and state != "never started":
        said.append(f"behind by {age(lag_seconds)}: docs/runbook/consumer-behind.md")
    said += [
        f"{p.topic}/{p.partition}: {p.lost}; docs/runbook/consumer-stuck.md" for p in partitions if p.lost
    ]
    if standing := sum(n for status, n in told.parked.items() if status != "waiting"):
        said.append(f"{standing:,} events are parked: `millrace parked list {known.schema}`")
    return said


def _why_nobody(told: Told) -> str:
    if told.lately:
        return (
            f"{told.lately:,} events could not be applied within the hour; if the last line of its log says "
            "DeadLetterLimit: docs/runbook/dead-letter-limit.md"
        )
    return "start it, or see why it ended in the last line of its log"


def _paused(known: Known) -> dict[str, Any] | None:
    if known.paused_at is None:
        return None
    return {"at": known.paused_at, "by": known.paused_by, "why": known.paused_why}


def _oldest(parked: Parked | None, now: datetime) -> dict[str, Any] | None:
    if parked is None:
        return None
    return {
        "id": parked.id,
        "status": parked.status,
        "type": parked.type,
        "reason": parked.reason,
        "parked_at": parked.parked_at,
        "age_seconds": round((now - parked.parked_at).total_seconds(), 1),
    }
