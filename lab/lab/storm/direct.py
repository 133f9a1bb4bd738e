"""The consumers without processes, ingest and Kafka: deliveries go straight into their tables, in the order given.

Every delivery reaches every consumer, duplicates and all, as if each had been published anew: more than the
pipeline lets through. Dunning's words and timers find their way as they do on Kafka. Cheap enough to be asked
again and again by a shrinker.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import groupby, pairwise
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import orjson
import zstandard

from dunning import commands as dunning
from dunning.jobs import Timers
from entitlement import commands as entitlement
from ingest.domain.envelope import Endpoint, arrival
from ingest.domain.refusal import Refused
from ingest.domain.routing import topic_of
from lab.demo.site import COMPANY
from lab.storm.answers import ASPECTS, answers, expected
from ledger import commands as ledger
from millrace import outbox, postgres, sealing
from millrace.clock import FrozenClock
from millrace.consumer import Batches, Fold, Record, read
from millrace.events import headers
from millrace.postgres import Connection, Pool
from millrace.topics import DUNNING_CHANGED, DUNNING_TIMERS
from millrace_lab.account import ACCOUNT, DAY
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import Answers

SCHEMAS = (entitlement.SCHEMA, ledger.SCHEMA, dunning.SCHEMA)
TOPICS = {"dunning": dunning.TOPICS, "entitlement": entitlement.TOPICS, "ledger": ledger.TOPICS}
DOOR = Endpoint("storm", ACCOUNT, livemode=False, api_version="", secrets=())
LONG_AGO, STANDING = datetime(2026, 1, 1, tzinfo=UTC), FrozenClock(datetime(2099, 1, 1, tzinfo=UTC))
MANY = 500  # deliveries after which tables are truncated, not emptied row by row
Raw = tuple[str, bytes, list[tuple[str, bytes]], bytes]  # topic, key, headers, value


def folds() -> dict[str, Fold[Any, Any]]:
    """The consumers as they run, with the rules of the demo's company. Dunning first: entitlement hears it."""
    return {
        "dunning": dunning.rebuilt(COMPANY / "dunning.yaml")[0],
        "entitlement": entitlement.rebuilt(COMPANY / "catalog.yaml", STANDING)[0],
        "ledger": ledger.rebuilt()[0],
    }


class Direct:
    """A system under test. `folds` may be other ones than ours: copies with a fault, to see it found."""

    aspects = ASPECTS

    def __init__(
        self,
        owner: Connection,
        pool: Pool,
        tables: Sequence[str],
        folds: Mapping[str, Fold[Any, Any]],
    ) -> None:
        self.owner, self.pool, self.tables, self.folds = owner, pool, tables, folds
        self.clock = FrozenClock(LONG_AGO)
        self.timers = Timers(pool, self.clock, every_seconds=1)
        self.raw: dict[str, Raw] = {}  # by event id: a body is read once, however often it is tried
        self.last = 0  # of the outbox rows that were passed on
        self.played = 0

    def expected(self, arrivals: Sequence[Arrival]) -> Answers:
        return expected(arrivals)

    async def play(self, arrivals: Sequence[Arrival], moments: Sequence[int]) -> list[Answers]:
        await self._clear()
        self.batches = {name: Batches(self.pool, fold) for name, fold in self.folds.items()}
        self.offset, self.played = 0, len(arrivals)
        return [await self._until(arrivals[:end], start) for start, end in pairwise([0, *moments])]

    async def _until(self, arrivals: Sequence[Arrival], start: int) -> Answers:
        """Go on from a place to the end of these, day by day, and ask."""
        for day, of_day in groupby(arrivals[start:], key=lambda each: each.at // DAY):
            await self._turn(day * DAY)
            await self._apply(map(self._raw, of_day))
        now = arrivals[-1].at if arrivals else 0
        await self._turn(now)
        return await answers(self.owner, now)

    async def _turn(self, at: int) -> None:
        """Let time pass, and fire what has become due."""
        self.clock.at = datetime.fromtimestamp(at, UTC)
        while await self.timers.fire():
            await self._apply(await self._said())

    async def _apply(self, raw: Iterable[Raw]) -> None:
        """Every consumer takes what is its own, and what follows from it, until nothing does."""
        while records := list(self._records(raw)):
            for name, batches in self.batches.items():
                own = [record for record in records if record.topic in TOPICS[name]]
                report = await batches.apply(own)
                assert not report.resting, report.resting
            raw = await self._said()

    def _records(self, raw: Iterable[Raw]) -> Iterator[Record]:
        for topic, key, named, value in raw:
            self.offset += 1
            yield read(topic, 0, self.offset, key, named, value)

    def _raw(self, each: Arrival) -> Raw:
        if each.id not in self.raw:
            self.raw[each.id] = taken_in(each)
        return self.raw[each.id]

    async def _said(self) -> list[Raw]:
        """What the consumers have published since they were last asked."""
        rows = await self.owner.fetch(SAID, self.last, [DUNNING_CHANGED, DUNNING_TIMERS])
        if rows:
            self.last = rows[-1]["id"]
        return [_published(row) for row in rows]

    async def _clear(self) -> None:
        if self.played > MANY:
            await self.owner.execute(f"truncate {', '.join(self.tables)}")
        else:
            await self.owner.execute("; ".join(f"delete from {table}" for table in self.tables))


def taken_in(each: Arrival) -> Raw:
    """The record that ingest would publish of a delivery, unsealed."""
    door = DOOR if not each.event.get("account") else Endpoint("c", ACCOUNT, False, "", (), connect=True)
    came = arrival(door, dict(each.event), b"", source="import", now=LONG_AGO, trace="")
    assert not isinstance(came, Refused), f"{each.id} is refused: {came}"
    event = came.event
    named = [(name, text.encode()) for name, text in headers(event).items()]
    return topic_of(each.type), event.key.encode(), named, orjson.dumps(event.data, default=dict)


SAID = """
-- What came out of the consumers, in order.
select id, topic, key, headers, payload, unpacked
  from outbox.event where id > $1 and topic = any($2::text[]) order by id
"""


def _published(row: asyncpg.Record) -> Raw:
    value = row["payload"]
    if row["unpacked"] is not None:
        value = zstandard.decompress(value, max_output_size=row["unpacked"])
    named = [(name, text.encode()) for name, text in row["headers"].items()]
    return row["topic"], row["key"].encode(), named, value


TABLES = """
-- The tables of the consumers' schemas, and the outbox; what a migration filled stays.
select format('%I.%I', nspname, relname) from pg_class join pg_namespace n on n.oid = relnamespace
 where relkind in ('r', 'p') and not relispartition
   and (nspname = any($1::text[]) or nspname = 'outbox' and relname = 'event')
   and relname not in ('migration', 'account')
 order by 1
"""


@asynccontextmanager
async def database(server: str) -> AsyncIterator[str]:
    """A migrated database of one's own on a server, dropped at the end; both are superusers' DSNs."""
    name = f"storm_{os.getpid()}"
    await _execute(server, f"create database {name}")
    try:
        own = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        for schema in (outbox.SCHEMA, sealing.SCHEMA, *SCHEMAS):
            await postgres.migrate(own, schema)
        yield own
    finally:
        await _execute(server, f"drop database {name} with (force)")


async def _execute(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def direct(dsn: str, own: Mapping[str, Fold[Any, Any]] | None = None) -> AsyncIterator[Direct]:
    """The consumers on a migrated database that nobody else uses; `dsn` is a superuser's.

    Commits do not wait for the disk: a try that is lost is made again.
    """
    fast = f"{dsn}{'&' if '?' in dsn else '?'}synchronous_commit=off"
    owner: Connection = await asyncpg.connect(fast)
    try:
        await postgres.prepare(owner)
        await owner.execute(
            "set session_replication_role = replica"
        )  # past the triggers that forbid to forget
        tables = [row[0] for row in await owner.fetch(TABLES, [schema.name for schema in SCHEMAS])]
        async with await postgres.pool(fast, size=2, timeout_seconds=60) as pool:
            yield Direct(owner, pool, tables, {**folds(), **(own or {})})
    finally:
        await owner.close()
