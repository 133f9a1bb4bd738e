"""A small company's quarter, met by three consumers: on Kafka, in their tables, and in the event log."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import orjson
import zstandard
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from dunning import commands as dunning
from dunning.jobs import Timers
from entitlement import commands as entitlement
from ingest import commands as ingest
from lab.northwind import quarter
from lab.stack.jars import CHECKOUT
from ledger import commands as ledger
from millrace import postgres, sealing, topics
from millrace.clock import FrozenClock
from millrace.consumer import Apply, Batches, Decision, Fold, Record, read
from millrace.events import Event
from millrace.postgres import Pool
from operations.rebuild import Rebuilt, Subject, rebuild
from operations.rebuild.run import Opening
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic

ACCOUNT = "acct_1Rebuilt"
POLICY = sealing.Policy.read(CHECKOUT / "schemas" / "sealing.yaml")
CATALOG, POLICIES = (CHECKOUT / "lab" / "company" / name for name in ("catalog.yaml", "dunning.yaml"))
SEED, CUSTOMERS, PARTITIONS, CHUNKS = 7, 11, 2, 8
READ = (topics.STRIPE_BILLING, topics.STRIPE_PAYMENTS, topics.DUNNING_CHANGED, topics.DUNNING_TIMERS)
STANDING = FrozenClock(datetime(2026, 12, 1, tzinfo=UTC))

ROWS = """
select id, topic, key, headers, payload, unpacked
  from outbox.event where id > $1 and topic = any($2::text[]) order by id
"""


def subjects() -> dict[str, Subject]:
    """The three as the command would rebuild them; topics are a test's own, put in by `Place`."""
    folds: dict[str, tuple[ModuleType, tuple[Fold[Any, Any], str]]] = {
        "entitlement": (entitlement, entitlement.rebuilt(CATALOG, STANDING)),
        "ledger": (ledger, ledger.rebuilt()),
        "dunning": (dunning, dunning.rebuilt(POLICIES)),
    }
    return {
        name: Subject(fold, rules, of.SCHEMA, of.TOPICS, of.COMPARED, getattr(of, "BY_THE_CLOCK", ()))
        for name, (of, (fold, rules)) in folds.items()
    }


@dataclass
class Place:
    """The consumers' database with the topics that they read. Whoever publishes stands in for the relay."""

    db: Database
    kafka: str
    keys: str
    topics: Mapping[str, str]  # ours → the test's own
    pool: Pool
    producer: AIOKafkaProducer
    clock: FrozenClock
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    arrived: list[asyncpg.Record] = field(
        default_factory=list
    )  # outbox rows of what came in, not published yet
    published: int = 0  # of what the consumers wrote
    waiting: dict[str, list[Record]] = field(default_factory=dict)
    met: dict[str, list[Record]] = field(default_factory=dict)

    def subject(self, name: str) -> Subject:
        known = subjects()[name]
        return replace(known, topics=tuple(self.topics[topic] for topic in known.topics))

    async def deliver(self, count: int) -> None:
        """Publish the next of what came in."""
        for row in self.arrived[:count]:
            await self._publish(row)
        del self.arrived[:count]

    async def _effects(self) -> bool:
        """Publish what the consumers have written; whether there was anything."""
        rows = await self.pool.fetch(ROWS, self.published, list(READ))
        for row in rows:
            await self._publish(row)
            self.published = row["id"]
        return bool(rows)

    async def _publish(self, row: asyncpg.Record) -> None:
        headers = [(name, text.encode()) for name, text in row["headers"].items()]
        value = row["payload"]
        if row["unpacked"] is not None:
            value = zstandard.decompress(value, max_output_size=row["unpacked"])
        await self.send(row["topic"], row["key"].encode(), headers, value)

    async def send(
        self, topic: str, key: bytes, headers: Sequence[tuple[str, bytes]], value: bytes
    ) -> Record:
        """One record, on Kafka and before the consumers of its topic."""
        own = self.topics[topic]
        at = await self.producer.send_and_wait(own, value, key=key, headers=list(headers))
        record = read(own, at.partition, at.offset, key, headers, value)
        for name, subject in subjects().items():
            if topic in subject.topics:
                self.waiting.setdefault(name, []).append(record)
                self.met.setdefault(name, []).append(record)
        return record

    async def consume(self, folds: Mapping[str, Fold[Any, Any]] | None = None) -> None:
        """Every consumer applies what waits for it, partitions mixed and batches cut by chance; timers fire."""
        busy = True
        while busy:
            for name, subject in subjects().items():
                batches = Batches(self.pool, (folds or {}).get(name, subject.fold))
                for batch in self._cut(_mixed(self.waiting.pop(name, []), self.chance)):
                    report = await batches.apply(batch)
                    assert not report.resting, report.resting
            await Timers(self.pool, self.clock, every_seconds=1).fire()
            busy = await self._effects()

    def _cut(self, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        start = 0
        while start < len(records):
            end = start + self.chance.choice((1, 2, 7, 30))
            yield records[start:end]
            start = end

    async def execute(self, *statements: str) -> None:
        """Past every guard, as a superuser could."""
        async with postgres.transaction(self.pool) as tx:
            await tx.execute("set local session_replication_role = replica")
            for statement in statements:
                await tx.execute(statement)

    async def rebuilt(
        self, name: str, *, into: str = "", keep: bool = False, opened: bool = False, **changes: Any
    ) -> Rebuilt:
        """What `millrace replay` does."""
        subject = replace(self.subject(name), **changes)
        opening = Opening(sealing.Keys(self.pool, sealing.provider(self.keys)), POLICY) if opened else None
        database = into or f"{self.db.name}_{name}_rebuilt"
        return await rebuild(
            self.db.owner, self.kafka, subject, database, keep=keep, differences=1000, opening=opening
        )

    async def forget(self, share: float) -> None:
        """Kafka loses the beginning of every partition."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka)
        await admin.start()
        try:
            ends = await self._ends()
            await admin.delete_records(
                {part: RecordsToDelete(before_offset=int(end * share)) for part, end in ends.items()}
            )
        finally:
            await admin.close()

    async def _ends(self) -> dict[TopicPartition, int]:
        parts = [TopicPartition(topic, n) for topic in self.topics.values() for n in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka)
        await consumer.start()
        try:
            found: dict[TopicPartition, int] = await consumer.end_offsets(parts)
            return found
        finally:
            await consumer.stop()


def _mixed(records: Sequence[Record], chance: random.Random) -> list[Record]:
    """Partitions mixed by chance; each keeps its order."""
    by_place: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_place.setdefault((record.topic, record.partition), []).append(record)
    mixed = []
    while by_place:
        place = chance.choice(sorted(by_place))
        mixed.append(by_place[place].pop(0))
        if not by_place[place]:
            del by_place[place]
    return mixed


@asynccontextmanager
async def place(
    make_database: MakeDatabase, make_topic: MakeTopic, kafka: str, keys: Path
) -> AsyncIterator[Place]:
    """An empty place: every schema, and topics of its own."""
    db = await make_database(ingest.SCHEMA, entitlement.SCHEMA, ledger.SCHEMA, dunning.SCHEMA)
    sealing.new_key(keys)
    own = {topic: await make_topic(topic, partitions=PARTITIONS) for topic in READ}
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        async with await postgres.pool(db.owner, size=4) as pool:
            yield Place(db, kafka, f"files:{keys}", own, pool, producer, FrozenClock(quarter.START))
    finally:
        await producer.stop()


async def take_in(place: Place, customers: int) -> None:
    """A quarter in the event log and the outbox, oldest first."""
    company = quarter.build(SEED, customers=customers)
    connection: postgres.Connection = await asyncpg.connect(place.db.owner)
    try:
        await postgres.prepare(connection)
        door = ingest.endpoint(ACCOUNT, livemode=False, connect=False)
        keys = sealing.Keys(place.pool, sealing.provider(place.keys))
        work = ingest.Import(connection, door, keys, POLICY, STANDING)
        await work.begin()
        given = [ingest.Given(event["id"], orjson.dumps(event), False) for _, event in company.events]
        for batch in ingest.batches(given, 200):
            assert await work.take(batch) == []
    finally:
        await connection.close()
    place.arrived = list(await place.pool.fetch(ROWS, 0, list(READ)))
    place.published = place.arrived[-1]["id"]


@asynccontextmanager
async def played(
    place: Place, chunks: int = CHUNKS, customers: int = CUSTOMERS
) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """The quarter, a chunk a call, with other folds in force if given; what is left of it comes at the end."""
    await take_in(place, customers)
    size = len(place.arrived) // chunks + 1

    async def chunk(folds: Mapping[str, Fold[Any, Any]] | None = None) -> None:
        place.clock.at = max(_time(row) for row in place.arrived[:size])
        await place.deliver(size)
        await place.consume(folds)

    yield chunk
    while place.arrived:
        await chunk()
    place.clock.at = STANDING.now()
    await place.consume()


def broken(fold: Fold[Any, Any], customer: str) -> Fold[Any, Any]:
    """A release with a bug: it cannot apply the events of one customer."""

    def breaking(rule: Apply[Any, Any]) -> Apply[Any, Any]:
        def apply(state: Any, event: Event, rules: Any) -> Decision[Any]:
            if event.key.endswith(f"/{customer}"):
                raise ZeroDivisionError
            return rule(state, event, rules)

        return apply

    return replace(fold, apply={type_: breaking(rule) for type_, rule in fold.apply.items()})


def clocked(fold: Fold[Any, Any]) -> Fold[Any, Any]:
    """A release that reads the clock, which no rule may: only into a sentence, and only now and then."""

    def reading(rule: Apply[Any, Any]) -> Apply[Any, Any]:
        def apply(state: Any, event: Event, rules: Any) -> Decision[Any]:
            decided = rule(state, event, rules)
            return replace(decided, reason=f"{decided.reason} at {time.time_ns()}")

        return apply

    return replace(fold, apply={type_: reading(rule) for type_, rule in fold.apply.items()})


TABLES = """
select quote_ident(relname) from pg_class
 where relnamespace = $1::text::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> 'progress'
 order by 1
"""
ROW_HASHES = """
select md5(t::text) from {schema}.{table} t
 union all
select md5(o::text) from outbox.event o where '{table}' = 'audit' and headers->>'ce_source' = 'millrace/{schema}'
 order by 1
"""


async def digest(pool: Pool, schema: str) -> str:
    """SHA-256 over every row of a consumer's tables, but for its progress, and over all that it has published."""
    whole = hashlib.sha256()
    for (table,) in await pool.fetch(TABLES, schema):
        whole.update(table.encode())
        for (row,) in await pool.fetch(ROW_HASHES.format(schema=schema, table=table)):
            whole.update(row.encode())
    return whole.hexdigest()


def _time(row: asyncpg.Record) -> datetime:
    return datetime.fromisoformat(row["headers"]["ce_time"])
