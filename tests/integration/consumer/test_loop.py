"""The consumer on real Kafka: from a topic into the database, once, whatever happens to the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from prometheus_client import REGISTRY

from lab.stack import Stack, wire
from millrace import postgres, service
from millrace.consumer import Consumer, DeadLetterLimit, Fold, OffsetsLost
from millrace.consumer.client import CLOSE_SECONDS
from millrace.errors import Misconfigured, Retryable
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
        self,
        made: Fold[Tally, None] | None = None,
        *,
        instance: str = "0",
        group: str = "tally",
        **settings: Any,
    ) -> Consumer:
        consumer = Consumer(
            made or fold(),
            topics=[self.topic],
            pool=self.pool,
            kafka=self.stack.kafka,
            instance=instance,
            **settings,
        )
        consumer.name = f"{group}-{self.topic}"  # a group of the test's own
        return consumer

    async def send(self, *events: Event) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.kafka)
        await producer.start()
        for e in events:
            named = [(name, text.encode()) for name, text in headers(e).items()]
            await producer.send_and_wait(self.topic, orjson.dumps(e.data), e.key.encode(), headers=named)
        await producer.stop()

    async def applied(self, key: str = "a") -> list[str]:
        found = await self.pool.fetchval("select applied from tally.tally where key = $1", key)
        return list(found or [])

    async def operator(self, statement: str) -> None:
        owner = await asyncpg.connect(self.db.owner)
        await owner.execute(statement)
        await owner.close()

    async def delete_records_before(self, offset: int) -> None:
        """What retention does, at once: of every partition that has so many."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.stack.kafka)
        await admin.start()
        await admin.delete_records(
            {tp: RecordsToDelete(before_offset=offset) for tp in await self.longer(offset)}
        )
        await admin.close()

    async def longer(self, offset: int) -> list[TopicPartition]:
        ends: dict[int, int] = {}
        for record in await read_all(self.stack.kafka, self.topic):
            ends[record.partition] = record.offset + 1
        return [TopicPartition(self.topic, number) for number, end in ends.items() if end >= offset]

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
    assert consumer.ready() == "has not joined its group yet: waits for its seat"
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


async def test_a_restart_with_another_topic_reads_that_one_too(harness: Harness, topics: MakeTopic) -> None:
    """Kafka gives a seat that comes back its old partitions, whatever it subscribes to now."""
    await harness.send(event("add", "e1"))
    async with running(harness.consumer(session_seconds=6)):
        await harness.until_total(1)
    both = harness.consumer(session_seconds=6)
    both.topics = [harness.topic, await topics("more")]
    elsewhere = Harness(harness.stack, harness.db, both.topics[1], harness.pool)
    await elsewhere.send(event("add", "e2"))
    async with running(both):
        await harness.until_total(2)


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
    for _ in range(2):  # a restart gets no further
        consumer = harness.consumer(fold(ordered=False), batch_max=5, dead_letters_max=10)
        with pytest.raises(DeadLetterLimit, match="events in 3600 s could not be applied, 10 may be"):
            await asyncio.wait_for(consumer.run(asyncio.Event()), DEADLINE)
    assert await harness.pool.fetchval("select count(*) from tally.parked_event") <= 10


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


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)


def said(metric: str, consumer: Consumer, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(metric, {"consumer": consumer.name, **labels})


async def test_what_was_fetched_ahead_of_a_partition_that_rests_is_dropped_and_read_again(
    harness: Harness,
) -> None:
    """The second batch is decoded before the first one is refused. Applied all the same, it would overtake it."""
    ready = asyncio.Event()

    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Tally]:
        await asyncio.sleep(0.3)  # the next batch is there by now
        if not ready.is_set():
            raise Retryable("not ready", after=0.2)
        return await tally.load(tx, keys)

    names = [f"e{n}" for n in range(20)]
    await harness.send(*(event("add", name) for name in names))
    consumer = harness.consumer(replace(fold(), load=load), batch_max=5)
    async with running(consumer):
        await until(lambda: bool(consumer._resting))
        ready.set()
        await harness.until_total(20)
    assert await harness.applied() == names
    assert await harness.pool.fetchval("select count(*) from tally.processed_events") == 20


async def test_a_batch_is_bounded_by_its_bytes_as_well(harness: Harness) -> None:
    """Everything was fetched at once; a body has 12 bytes, so the fifth one fills a batch."""
    await harness.send(*(event("add", f"e{n}") for n in range(20)))
    consumer = harness.consumer(batch_bytes=60)
    async with running(consumer):
        await harness.until_total(20)
    assert said("millrace_consumer_batch_records_count", consumer) == 4
    assert said("millrace_consumer_batch_records_sum", consumer) == 20


async def test_a_batch_that_does_not_end_in_time_for_a_rebalance_is_rolled_back_and_what_is_ahead_dropped(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    held, holding = asyncio.Event(), asyncio.Event()

    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Tally]:
        holding.set()
        await held.wait()
        return await tally.load(tx, keys)

    names = [f"e{n}" for n in range(12)]
    await harness.send(*(event("add", name) for name in names))
    async with running(harness.consumer(replace(fold(), load=load), batch_max=5, session_seconds=6)):
        await asyncio.wait_for(holding.wait(), DEADLINE)
        async with running(harness.consumer(instance="1", session_seconds=6)):
            await until(lambda: "batch rolled back for a rebalance" in caplog.messages)
            held.set()
            await harness.until_total(12)
    assert await harness.applied() == names


async def test_without_offsets_in_kafka_it_goes_on_from_where_the_database_is(harness: Harness) -> None:
    """Another group has no offsets, just as one whose offsets have expired. Nothing is even read twice."""
    await harness.send(*(event("add", f"a{n}") for n in range(10)))
    async with running(harness.consumer()):
        await harness.until_total(10)
    await harness.send(*(event("add", f"b{n}") for n in range(10)))
    other = harness.consumer(group="other")
    async with running(other):
        await harness.until_total(20)
        assert said("millrace_consumer_offsets_recovered_total", other) == 1
        assert not said("millrace_consumer_events_total", other, outcome="duplicate")


@pytest.mark.parametrize("group", ["tally", "other"], ids=["offset out of range", "no offset"])
async def test_records_that_are_gone_before_they_were_applied_stop_it(harness: Harness, group: str) -> None:
    await harness.send(*(event("add", f"a{n}") for n in range(10)))
    async with running(harness.consumer()):
        await harness.until_total(10)
    await harness.send(*(event("add", f"b{n}") for n in range(10)))
    await harness.delete_records_before(15)
    consumer = harness.consumer(group=group)
    with pytest.raises(OffsetsLost) as lost:
        await asyncio.wait_for(consumer.run(asyncio.Event()), DEADLINE)
    assert "up to 10, and it begins at 15: 5 offsets were removed before they were applied" in str(lost.value)
    assert f"`millrace consumers reset-offsets {consumer.name}`" in str(lost.value)


async def test_a_topic_that_was_made_anew_stops_it(harness: Harness) -> None:
    await harness.send(*(event("add", f"a{n}") for n in range(3)))
    async with running(harness.consumer()):
        await harness.until_total(3)
    await harness.operator("update tally.progress set next_offset = 1000")
    with pytest.raises(OffsetsLost, match="up to 1,000, and it ends at 3"):
        await asyncio.wait_for(harness.consumer(group="other").run(asyncio.Event()), DEADLINE)


async def test_somebody_who_moves_its_offsets_forward_is_noticed(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.send(*(event("add", f"a{n}") for n in range(10)))
    async with running(harness.consumer()):
        await harness.until_total(10)
    await harness.operator("update tally.progress set next_offset = 4")
    async with running(harness.consumer()):
        await until(lambda: any("ahead of the database" in message for message in caplog.messages))


PAUSE = "update tally.consumer set paused_at = now(), paused_by = 'ann', paused_why = 'a bad deploy'"
LIFT = "update tally.consumer set paused_at = null, paused_by = null, paused_why = null"


async def test_paused_it_rests_through_restarts_stays_ready_and_goes_on_when_that_is_lifted(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await harness.send(*(event("add", f"a{n}") for n in range(10)))
    async with running(harness.consumer()) as _:
        await harness.until_total(10)
        await harness.operator(PAUSE)
        await until(lambda: "paused" in caplog.messages)
    await harness.send(*(event("add", f"b{n}") for n in range(10)))
    consumer = harness.consumer()
    async with running(consumer):
        await until(lambda: consumer.ready() == "")
        await until(lambda: (said("millrace_consumer_lag_seconds", consumer) or 0) > 2)  # it grows meanwhile
        assert (await harness.total(), consumer.ready()) == (10, "")
        assert said("millrace_consumer_paused", consumer) == 1
        await harness.operator(LIFT)
        await harness.until_total(20)
        await until(lambda: said("millrace_consumer_lag_seconds", consumer) == 0)
    whys = [getattr(r, "why", "") for r in caplog.records if r.message in ("paused", "resumed")]
    assert whys[-2:] == ["ann: a bad deploy", "lifted; it was ann: a bad deploy"]
    assert await harness.applied() == [f"{run}{n}" for run in "ab" for n in range(10)]


async def test_what_operators_ask_to_be_judged_again_is_judged_again_by_the_running_consumer(
    harness: Harness,
) -> None:
    """The event's rule was wrong; the deploy that mends it is the consumer that runs now."""
    await harness.send(event("broken", "e1"), event("add", "e2"))
    async with running(harness.consumer()):
        await until(lambda: _parked(harness, 2))
    mended = replace(fold(), apply={**fold().apply, "stripe.broken": tally.add})
    consumer = harness.consumer(mended)
    async with running(consumer):
        await until(lambda: said("millrace_consumer_parked", consumer, status="failed") == 1)
        assert (said("millrace_consumer_oldest_parked_timestamp_seconds", consumer) or 0) > 1e9
        await harness.operator("update tally.parked_event set asked_at = now(), asked_by = 'ann'")
        await harness.until_total(2)
    assert await harness.applied() == ["e1", "e2"]


async def _parked(harness: Harness, count: int) -> bool:
    return bool(await harness.pool.fetchval("select count(*) from tally.parked_event") == count)


async def test_its_metrics_say_what_became_of_events_how_long_that_took_and_lead_to_a_trace(
    harness: Harness,
) -> None:
    received = datetime.now(UTC) - timedelta(seconds=20)
    await harness.send(
        *(replace(event("add", f"e{n}"), recorded=received) for n in range(3)), event("look", "e3")
    )
    consumer = harness.consumer()
    async with running(consumer):
        await harness.until_total(3)
        await until(lambda: said("millrace_consumer_events_total", consumer, outcome="noop") == 1)
        await until(lambda: said("millrace_consumer_lag_seconds", consumer) == 0)
        page = await asyncio.to_thread(scraped, consumer)
    assert said("millrace_consumer_events_total", consumer, outcome="applied") == 3
    assert (said("millrace_event_effective_seconds_sum", consumer) or 0) >= 20
    exemplar = '# {trace_id="' + "1" * 32 + '"}'
    named = f'consumer="{consumer.name}"'
    assert any(
        line.startswith("millrace_event_effective_seconds_bucket") and named in line and exemplar in line
        for line in page.splitlines()
    )


def scraped(consumer: Consumer) -> str:
    """As Prometheus asks for exemplars."""
    [port] = wire.free_ports(1)
    with service.Health((consumer,)).serving("127.0.0.1", port):
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        with urlopen(Request(f"http://127.0.0.1:{port}/metrics", headers=accept), timeout=10) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text")
            return str(answer.read().decode())


async def test_a_database_that_is_not_migrated_is_a_matter_of_configuration(database: MakeDatabase) -> None:
    db = await database(SCHEMA)
    owner = await asyncpg.connect(db.owner)
    await owner.execute("delete from tally.migration where series = 'tally'")
    await owner.close()
    async with await postgres.pool(db.dsn(SCHEMA)) as pool:
        with pytest.raises(Misconfigured, match=r"schema tally lacks 0001_\w+\.sql: run `millrace migrate`"):
            await postgres.migrated(pool, SCHEMA)


async def test_a_pool_without_a_connection_to_spare_is_refused(harness: Harness) -> None:
    async with await postgres.pool(harness.db.dsn(SCHEMA), size=1) as small:
        harness.pool, pool = small, harness.pool
        with pytest.raises(Misconfigured, match="needs two connections"):
            await harness.consumer().run(asyncio.Event())
        harness.pool = pool
