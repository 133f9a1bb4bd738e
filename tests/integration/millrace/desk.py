"""Somebody's consumer, the tally, with a topic and a group of its own, and an operator at the commands."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from typer.testing import CliRunner, Result

from lab.stack import Stack
from millrace import postgres
from millrace.cli import application
from millrace.commands import standing
from millrace.consumer import Batches, Consumer, Fold, read
from millrace.errors import Misconfigured
from millrace.events import Event, headers
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic, read_all
from tests.support.tally import SCHEMA, fold

DEADLINE = 60.0
millrace = functools.cache(application)  # built once: it is the same for every command


@dataclass
class Desk:
    """The consumer's database as its owner, its topic, its group, and the commands that are typed."""

    db: Database
    kafka: str
    topic: str
    pool: postgres.Pool

    @property
    def group(self) -> str:
        return f"tally_{self.topic}".replace(".", "_")

    @property
    def environment(self) -> dict[str, str]:
        return {"MILLRACE_DATABASE": self.db.owner, "MILLRACE_KAFKA": self.kafka}

    async def run(self, *words: str, code: int = 0, **environment: str) -> Result:
        """A command, which must end with this code."""
        done = await asyncio.to_thread(
            CliRunner().invoke, millrace(), list(words), env=self.environment | environment
        )
        ended = 78 if isinstance(done.exception, Misconfigured) else done.exit_code
        assert ended == code, f"{ended}: {done.output}{done.exception!r}"
        return done

    async def json(self, *words: str, code: int = 0, **environment: str) -> Any:
        return orjson.loads((await self.run(*words, "--json", code=code, **environment)).stdout)

    async def said(self, *words: str, code: int = 0, **environment: str) -> str:
        """What a command says to a person, with its lines joined."""
        return " ".join((await self.run(*words, code=code, **environment)).output.split())

    async def rows(self, query: str, *args: Any) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.db.owner)
        try:
            return [tuple(row) for row in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    async def execute(self, statement: str, *args: Any) -> None:
        await self.rows(statement, *args)

    async def audit(self) -> list[tuple[Any, ...]]:
        """What operators did, oldest first: action, subject, reason."""
        return await self.rows(
            "select action, subject, reason from tally.audit where chain like 'operator:%' order by recorded_at, seq"
        )

    async def parked(self) -> list[tuple[Any, ...]]:
        return await self.rows(
            "select event_id, status, asked_at is not null from tally.parked_event order by id"
        )

    async def send(self, *events: Event, partition: int = 0) -> None:
        """Put events on the topic."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka)
        await producer.start()
        try:
            for e in events:
                named = [(name, text.encode()) for name, text in headers(e).items()]
                await producer.send_and_wait(
                    self.topic, orjson.dumps(dict(e.data)), e.key.encode(), partition, headers=named
                )
        finally:
            await producer.stop()

    async def apply(self, *, made: Fold[Any, Any] | None = None, below: int | None = None) -> None:
        """Apply what is on the topic, as far as an offset, without being in the group."""
        records = [
            read(r.topic, r.partition, r.offset, r.key, r.headers, r.value)
            for r in await read_all(self.kafka, self.topic)
            if below is None or r.offset < below
        ]
        await self.register()
        report = await self.batches(made).apply(records)
        assert not report.resting, report

    def batches(self, made: Fold[Any, Any] | None = None) -> Batches:
        """The tally under the name of its group here."""
        return Batches(self.pool, replace(made or fold(), name=self.group), schema="tally")

    async def register(self) -> None:
        """Say what the consumer is, as its start does."""
        await self.batches().introduced([self.topic])

    @asynccontextmanager
    async def member(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A member of the group that takes all partitions and reads nothing."""
        member = AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.kafka,
            group_id=self.group,
            group_instance_id=f"{self.group}-7",
            session_timeout_ms=30_000,
            enable_auto_commit=False,
        )
        await member.start()
        try:
            async with asyncio.timeout(DEADLINE):
                while not member.assignment():
                    await member.getmany(timeout_ms=50)
            yield member
        finally:
            await member.stop()

    @asynccontextmanager
    async def running(self, made: Fold[Any, Any] | None = None) -> AsyncIterator[Consumer]:
        """The consumer itself."""
        named = replace(made or fold(), name=self.group)
        consumer = Consumer(named, topics=[self.topic], pool=self.pool, kafka=self.kafka)
        consumer.batches = self.batches(made)
        stop = asyncio.Event()
        task = asyncio.create_task(consumer.run(stop))
        try:
            yield consumer
        finally:
            stop.set()
            await asyncio.wait_for(task, DEADLINE)


@pytest.fixture
async def desk(
    stack: Stack, database: MakeDatabase, topics: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setattr(standing, "RATE_SECONDS", 0.2)
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA), size=4)
    yield Desk(db, stack.kafka, await topics("tally", partitions=2), pool)
    await pool.close()


def ids(parked: Iterable[dict[str, Any]]) -> list[str]:
    return [one["event_id"] for one in parked]
