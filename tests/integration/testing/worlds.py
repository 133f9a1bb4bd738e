"""Three places where the same consumer runs over the same records: memory, PostgreSQL, PostgreSQL and Kafka."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from lab.stack import Stack
from millrace import outbox, postgres
from millrace.consumer import Batches, Consumer, Each, Fold
from millrace.errors import Poison, Retryable
from millrace.events import Event
from millrace.events.ours import RefreshRequested
from millrace.postgres import Pool, Transaction
from millrace.testing import Bus, Harness
from tests.support import tally
from tests.support.database import databases
from tests.support.kafka import making
from tests.support.tally import SCHEMA, fold

DEADLINE = 60.0
PARTITIONS = 3
Rows = dict[str, tuple[tuple[str, ...], int]]  # key → the ids that were applied, in order, and the total


# --- the consumer, in the versions that the stories need ---


def handlers() -> dict[str, Any]:
    """The tally again, as handlers; a fresh set, for one of them remembers that it was not ready."""
    refused: set[str] = set()

    async def add(tx: Transaction, e: Event) -> str:
        amount = e.data["amount"]
        if type(amount) is not int:
            raise Poison("amount is not a whole number")
        await tx.execute(tally.SAVE, [f"{e.subject}/{e.id}"], [e.id], [amount])
        return f"added {amount}"

    async def tell(tx: Transaction, e: Event) -> None:
        body = RefreshRequested(account=e.account, customer="", object=e.subject, reason="told", cause=e.id)
        await outbox.publish(tx, outbox.caused(e, "tally", body))

    async def late(tx: Transaction, e: Event) -> None:
        if e.id not in refused:
            refused.add(e.id)
            raise Retryable("not yet", after=0.02)
        await add(tx, e)

    async def half(tx: Transaction, e: Event) -> None:
        await add(tx, e)
        raise ZeroDivisionError("secret in the text of the exception")

    return {"stripe.add": add, "stripe.tell": tell, "stripe.late": late, "stripe.half": half}


def bugged() -> Fold[Any, Any]:
    rules = fold().apply
    return replace(fold(), apply={**rules, "stripe.take": rules["stripe.broken"]})


VERSIONS: dict[str, Callable[[], Fold[Any, Any] | Each]] = {
    "fold": fold,
    "unordered fold": lambda: fold(ordered=False),
    "fold with a bug": bugged,
    "handlers": lambda: Each("tally", handlers()),
    "unordered handlers": lambda: Each("tally", handlers(), ordered=False),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen of a story when it is over."""

    outcomes: dict[str, str]
    reasons: dict[str, str]
    published: list[tuple[str, str, str, dict[str, Any]]]  # key, type, id, body: in order of each key
    rows: Rows


class World(ABC):
    """Where a story is played. Its events carry the story's name, so that many are played in one world."""

    def __init__(self, topic: str) -> None:
        self.topic, self.bus = topic, Bus(PARTITIONS)
        self.version, self.story = "", ""
        self.raw: dict[str, str] = {}  # place → what the story calls it

    def event(self, kind: str, id: str, amount: Any = 1, *, of: str = "a") -> Event:
        return tally.event(kind, f"{self.story}.{id}", amount, of=f"{self.story}.{of}")

    async def send(self, *events: Event) -> None:
        """To the end of the topic, and applied as far as that goes."""
        self.bus.send(*events, topic=self.topic)
        await self.run()

    async def put(self, name: str, value: bytes, like: Event | None = None) -> None:
        """A raw record, with the headers of an event or none."""
        shape = Bus(PARTITIONS)
        if like:
            shape.send(like, topic=self.topic)
        headers = shape.records[0].headers if like else {}
        key = like.key.encode() if like else self.story.encode()
        record = self.bus.put(self.topic, key=key, value=value, headers=headers)
        self.raw[record.place] = name
        await self.run()

    async def deploy(self, version: str) -> None:
        if version != self.version:
            self.version = version
            await self.start(VERSIONS[version]())

    async def seen(self) -> Seen:
        outcomes, reasons, published, rows = await self.all()
        names = {id: id.removeprefix(f"{self.story}.") for id in outcomes if id.startswith(f"{self.story}.")}
        names |= {place: name for place, name in self.raw.items() if place in outcomes}
        return Seen(
            {name: outcomes[id] for id, name in names.items()},
            {name: reasons[id] for id, name in names.items()},
            sorted((row for row in published if self._ours(row[3])), key=lambda row: row[0]),
            {key: row for key, row in rows.items() if key.startswith(f"{self.story}.")},
        )

    def _ours(self, body: dict[str, Any]) -> bool:
        place = f"{body.get('topic')}/{body.get('partition')}/{body.get('offset')}"
        return body.get("cause", body.get("event_id", "")).startswith(f"{self.story}.") or place in self.raw

    def begin(self, story: str) -> None:
        self.story, self.raw = story, {}

    @abstractmethod
    async def start(self, consumer: Fold[Any, Any] | Each) -> None: ...

    @abstractmethod
    async def run(self) -> None: ...

    @abstractmethod
    async def redrive(self, key: str | None = None) -> None: ...

    @abstractmethod
    async def all(
        self,
    ) -> tuple[dict[str, str], dict[str, str], list[tuple[str, str, str, dict[str, Any]]], Rows]: ...


class Page:
    """The tally's table as an object of a test's own."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.written: list[str] = []

    async def execute(self, statement: str, keys: list[str], applied: list[str], totals: list[int]) -> None:
        assert statement == tally.SAVE
        for key, ids, total in zip(keys, applied, totals, strict=True):
            self.rows[key] = (tuple(ids.split()), total)
            self.written.append(key)

    def commit(self) -> None:
        self.written.clear()

    def rollback(self) -> None:
        for key in self.written:
            del self.rows[key]
        self.written.clear()


class InMemory(World):
    """The harness alone."""

    page: Page

    async def start(self, consumer: Fold[Any, Any] | Each) -> None:
        if not hasattr(self, "harness"):
            self.page = Page()
            self.harness = Harness(consumer, tx=self.page, bus=self.bus)
        self.harness.deploy(consumer)

    async def run(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.harness.run()
            while self.harness.resting:
                await self.harness.run()

    async def redrive(self, key: str | None = None) -> None:
        await self.harness.redrive(key)

    async def all(self) -> tuple[dict[str, str], dict[str, str], list[Any], Rows]:
        published = [(e.key, e.type, e.id, dict(e.data)) for e in self.harness.witness.published]
        return self.harness.outcomes, self.harness.reasons, published, await self.rows()

    async def rows(self) -> Rows:
        states = self.harness.store.tables.states  # type: ignore[attr-defined]  # a Memory's
        return {key: (state.applied, state.total) for key, state in states.items()} | self.page.rows


class Tables:
    """What a consumer has left in its database."""

    def __init__(self, pool: Pool, owner: asyncpg.Connection[asyncpg.Record]) -> None:
        self.pool, self.owner = pool, owner

    async def outcomes(self) -> dict[str, tuple[str, str]]:
        rows = await self.owner.fetch(OUTCOMES)
        return {row["event_id"]: (f"{row['outcome']} {row['status']}".strip(), row["reason"]) for row in rows}

    async def published(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        rows = await self.owner.fetch(PUBLISHED)
        return [(r["key"], r["type"], r["id"], orjson.loads(r["payload"])) for r in rows]

    async def rows(self) -> Rows:
        rows = await self.owner.fetch("select key, applied, total from tally.tally")
        return {row["key"]: (tuple(row["applied"]), row["total"]) for row in rows}


OUTCOMES = """
select p.event_id, p.outcome, p.reason, coalesce(k.status, '') as status
  from tally.processed_events p left join tally.parked_event k using (source, event_id)
"""
PUBLISHED = """
select key, headers ->> 'ce_type' as type, headers ->> 'ce_id' as id, payload from outbox.event e order by e.id
"""


class OnPostgres(InMemory):
    """The harness on a real PostgreSQL; what it says it saw is what the tables hold."""

    def __init__(self, topic: str, tables: Tables) -> None:
        super().__init__(topic)
        self.tables = tables

    async def start(self, consumer: Fold[Any, Any] | Each) -> None:
        if not hasattr(self, "harness"):
            self.harness = Harness(consumer, pool=self.tables.pool, bus=self.bus)
        self.harness.deploy(consumer)

    async def rows(self) -> Rows:
        return await self.tables.rows()

    async def all(self) -> tuple[dict[str, str], dict[str, str], list[Any], Rows]:
        outcomes, reasons, published, rows = await super().all()
        there = await self.tables.outcomes()
        assert {id: (outcomes[id], reasons[id]) for id in outcomes} == there
        assert published == await self.tables.published()
        return outcomes, reasons, published, rows


class OnKafka(World):
    """The consumer as it runs in production: the bus's records in a real topic."""

    def __init__(self, topic: str, tables: Tables, kafka: str, clients: tuple[Any, Any]) -> None:
        super().__init__(topic)
        self.tables, self.kafka = tables, kafka
        self.producer, self.reader = clients
        self.stop, self.sent = asyncio.Event(), 0
        self.task: asyncio.Task[None] | None = None

    async def start(self, consumer: Fold[Any, Any] | Each) -> None:
        await self.ended()
        self.stop, self.consumer = asyncio.Event(), consumer
        running = Consumer(consumer, topics=[self.topic], pool=self.tables.pool, kafka=self.kafka)
        running.name = self.topic  # a group of the test's own
        self.task = asyncio.create_task(running.run(self.stop))

    async def ended(self) -> None:
        self.stop.set()
        if self.task:
            await asyncio.wait_for(self.task, DEADLINE)

    async def run(self) -> None:
        for record in self.bus.records[self.sent :]:
            await self.producer.send(
                record.topic, record.value, record.key, record.partition, headers=list(record.headers.items())
            )
        self.sent = len(self.bus.records)
        await self.producer.flush()
        await self._until(self._caught_up)

    async def _caught_up(self) -> bool:
        ends = [await self.reader.committed(TopicPartition(self.topic, n)) or 0 for n in range(PARTITIONS)]
        return sum(ends) == self.sent

    async def redrive(self, key: str | None = None) -> None:
        """As an operator does: asked for in the table, done by the running consumer."""
        store = Batches(self.tables.pool, self.consumer).store
        async with store.transaction() as tx:
            await store.ask(tx, key, "operator")
        await self._until(self._nothing_asked)

    async def _nothing_asked(self) -> bool:
        return not await self.tables.owner.fetchval(
            "select count(*) from tally.parked_event where asked_at is not null"
        )

    async def _until(self, done: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not await done():
                assert self.task
                with suppress(TimeoutError):  # a consumer that has failed says so at once
                    await asyncio.wait_for(asyncio.shield(self.task), 0.05)

    async def all(self) -> tuple[dict[str, str], dict[str, str], list[Any], Rows]:
        there = await self.tables.outcomes()
        outcomes = {id: outcome for id, (outcome, _) in there.items()}
        reasons = {id: reason for id, (_, reason) in there.items()}
        return outcomes, reasons, await self.tables.published(), await self.tables.rows()


@asynccontextmanager
async def worlds(stack: Stack) -> AsyncIterator[tuple[World, World, World]]:
    """All three, empty."""
    async with AsyncExitStack() as held:
        make_database = await held.enter_async_context(databases(stack))
        topic = await (await held.enter_async_context(making(stack.kafka)))(
            "agreement", partitions=PARTITIONS
        )
        tables = []
        for _ in range(2):
            db = await make_database(SCHEMA)
            owner = await asyncpg.connect(db.owner)
            held.push_async_callback(owner.close)
            pool = await postgres.pool(db.dsn(SCHEMA))
            held.push_async_callback(pool.close)
            tables.append(Tables(pool, owner))
        producer = AIOKafkaProducer(bootstrap_servers=stack.kafka)
        reader = AIOKafkaConsumer(bootstrap_servers=stack.kafka, group_id=topic, enable_auto_commit=False)
        for client in (producer, reader):
            await client.start()
            held.push_async_callback(client.stop)
        kafka = OnKafka(topic, tables[1], stack.kafka, (producer, reader))
        held.push_async_callback(kafka.ended)
        yield InMemory(topic), OnPostgres(topic, tables[0]), kafka
