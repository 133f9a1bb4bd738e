"""The consumer on real Kafka: from a topic into the database, once, whatever happens to the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from lab.stack import Stack
from millrace import postgres
from millrace.consumer import Consumer, DeadLetterLimit, Fold
from millrace.consumer.loop import CLOSE_SECONDS
from millrace.errors import Retryable
from millrace.events import Event, headers
from millrace.postgres import Transaction
from tests.support import tally
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic, read_all
from tests.support.tally import SCHEMA, Tally, event, fold

DEADLINE = 30.0
Applied = Callable[[], Awaitable[list[tuple[str, int]]]]


class Harness:
    """A topic, a database and the consumers between them."""

    def __init__(self, stack: Stack, db: Database, topic: str, pool: postgres.Pool) -> None:
        self.stack, self.db, self.topic, self.pool = stack, db, topic, pool

    def consumer(
        self, made: Fold[Tally, None] | None = None, *, instance: str = "0", **settings: Any
    ) -> Consumer:
        consumer = Consumer(
            made or fold(),
            topics=[self.topic],
            pool=self.pool,
            kafka=self.stack.kafka,
            instance=instance,
            **settings,
        )
        consumer.name = f"tally-{self.topic}"  # a group of the test's own
        return consumer

    async def send(self, *events: Event) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka)
        await producer.start()
        for e in events:
            named = [(name, text.encode()) for name, text in headers(e).items()]
            await producer.send_and_wait(self.topic, orjson.dumps(e.data), e.key.encode(), headers=named)
        await producer.stop()

    async def total(self) -> int:
        return int(await self.pool.fetchval("select coalesce(sum(total), 0) from tally.tally"))

    async def until_total(self, total: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while await self.total() < total:  # noqa: ASYNC110 the database is the signal
                await asyncio.sleep(0.02)
        assert await self.total() == total


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, DEADLINE)


@pytest.fixture
async def harness(stack: Stack, database: MakeDatabase, topics: MakeTopic) -> AsyncIterator[Harness]:
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA))
    yield Harness(stack, db, await topics("tally"), pool)
    await pool.close()


async def test_events_sent_before_the_first_start_are_applied(harness: Harness) -> None:
    await harness.send(*(event("add", f"e{n}", of=f"k{n % 5}") for n in range(50)))
    consumer = harness.consumer()
    assert consumer.ready() == "has not joined its group yet"
    async with running(consumer):
        await harness.until_total(50)
        assert consumer.ready() == ""


async def test_killed_between_the_database_commit_and_the_offset_commit_it_applies_nothing_twice(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.send(*(event("add", f"e{n}", of=f"k{n % 5}") for n in range(40)))
    died = asyncio.Event()

    async def die(*_: object) -> None:
        died.set()
        await asyncio.Event().wait()  # the offset commit never happens

    with monkeypatch.context() as patched:
        patched.setattr(AIOKafkaConsumer, "commit", die)
        task = asyncio.create_task(harness.consumer().run(asyncio.Event()))
        await asyncio.wait_for(died.wait(), DEADLINE)
        first = await harness.total()
        task.cancel()
        await asyncio.wait([task])
    assert first > 0
    await harness.send(event("add", "last", of="k0"))
    async with running(harness.consumer()):
        await harness.until_total(41)
    assert await harness.pool.fetchval("select count(*) from tally.processed_events") == 41


async def test_a_restart_continues_where_the_offsets_are(harness: Harness) -> None:
    await harness.send(*(event("add", f"a{n}") for n in range(10)))
    async with running(harness.consumer()):
        await harness.until_total(10)
    await harness.send(*(event("add", f"b{n}") for n in range(10)))
    async with running(harness.consumer()):
        await harness.until_total(20)
    [ids] = [r["applied"] for r in await harness.pool.fetch("select applied from tally.tally")]
    assert ids == [f"{run}{n}" for run in "ab" for n in range(10)]


async def test_a_database_that_is_away_makes_the_partition_rest_and_nothing_is_lost(harness: Harness) -> None:
    owner = await asyncpg.connect(harness.db.owner)
    await owner.execute("revoke insert on tally.processed_events from millrace_tally")
    await harness.send(*(event("add", f"e{n}") for n in range(5)))
    consumer = harness.consumer()
    async with running(consumer):
        async with asyncio.timeout(DEADLINE):
            while not consumer._resting:  # noqa: ASYNC110 the pause is the signal
                await asyncio.sleep(0.02)
        await owner.execute("grant insert on tally.processed_events to millrace_tally")
        await harness.until_total(5)
    await owner.close()


async def test_a_partition_that_cannot_go_on_rests_alone(harness: Harness) -> None:
    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Tally]:
        if "blocked" in keys:
            raise Retryable("the world is not ready for this key", after=60)
        return await tally.load(tx, keys)

    keys = ["blocked", *(f"k{n}" for n in range(30))]
    await harness.send(*(event("add", f"e-{key}", of=key) for key in keys))
    consumer = harness.consumer(replace(fold(), load=load))
    async with running(consumer):
        async with asyncio.timeout(DEADLINE):
            while not consumer._resting:  # noqa: ASYNC110 the pause is the signal
                await asyncio.sleep(0.02)
        [resting] = consumer._resting
        sent = await read_all(harness.stack.kafka, harness.topic)
        await harness.until_total(sum(record.partition != resting.partition for record in sent))


async def test_a_flood_of_poison_halts_the_consumer_before_it_drains_the_topic(harness: Harness) -> None:
    await harness.send(*(event("add", f"e{n}", "no number", of=f"k{n}") for n in range(60)))
    consumer = harness.consumer(fold(ordered=False), batch_max=5, dead_letters_max=10)
    with pytest.raises(DeadLetterLimit, match="of the last"):
        await asyncio.wait_for(consumer.run(asyncio.Event()), DEADLINE)
    assert await harness.pool.fetchval("select count(*) from tally.parked_event") < 60


async def test_two_members_share_the_partitions_and_each_event_is_applied_once(harness: Harness) -> None:
    async with running(harness.consumer(instance="0")), running(harness.consumer(instance="1")):
        for start in range(0, 90, 10):
            await harness.send(*(event("add", f"e{n}", of=f"k{n % 9}") for n in range(start, start + 10)))
        await harness.until_total(90)
    assert await harness.pool.fetchval("select count(*) from tally.processed_events") == 90


async def test_told_to_stop_in_the_middle_of_a_rebalance_it_stops_all_the_same(harness: Harness) -> None:
    await harness.send(event("add", "e1"))
    stop = asyncio.Event()
    first = asyncio.create_task(harness.consumer(instance="0").run(stop))
    await harness.until_total(1)
    second = asyncio.create_task(harness.consumer(instance="1").run(stop))
    await asyncio.sleep(
        0.5
    )  # long enough to ask for a seat, too short to be given one: heartbeats come every 3 s
    stop.set()
    await asyncio.wait_for(asyncio.gather(first, second), 4 * CLOSE_SECONDS)
