"""Consumers that do nothing with an event but remember that they met it, each a process of its own.

python -m tests.bench.consumer_lanes LANE NAME DSN KAFKA TOPIC COUNT

NAME is that of the consumer: its group and its schema.

It prints what it cost as JSON once so many events are remembered. Time and CPU count from the moment the partitions
are assigned.

    floor       getmany and one `insert … select unnest`: no library, no decoding, nothing but the dedupe row
    fold        ours: a fold whose apply decides nothing
    each        ours: a handler an event that does nothing
    an_event    what most people write: a transaction an event, its offset committed after it
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from millrace import postgres
from millrace.consumer import TABLES, Consumer, Decision, Each, Fold, metrics, noop
from millrace.events import Event
from millrace.postgres import Pool, Series, Transaction

BATCH = 500
TYPE = "stripe.invoice.paid"
SEEN = (Series("seen", "tests.bench.consumer_seen"),)

REMEMBER = """
-- The floor: one statement a batch.
insert into {name}.seen (source, event_id)
select * from unnest($1::text[], $2::text[])
on conflict do nothing
"""
REMEMBER_ONE = """
-- The same for one event.
insert into {name}.seen (source, event_id) values ($1, $2) on conflict do nothing returning 1
"""


class Stopwatch:
    """What a lane cost since its partitions were assigned. Memory is looked at half-way and at the end."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.began, self.cpu, self.half = 0.0, 0.0, 0

    def start(self) -> None:
        if not self.began:
            self.began, self.cpu = time.perf_counter(), time.process_time()

    def saw(self, events: int) -> bool:
        """Whether it is the end."""
        if not self.half and events * 2 >= self.count:
            self.half = _resident()
        return events >= self.count

    def tell(self, events: int) -> None:
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        rss = {"rss_mib": _resident(), "rss_mib_half_way": self.half}
        print(json.dumps({"events": events, "seconds": seconds, "cpu_seconds": cpu, **rss}))  # noqa: T201


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Nothing is in flight between two fetches."""

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.watch.start()


async def floor(name: str, pool: Pool, kafka: str, topic: str, watch: Stopwatch) -> int:
    consumer = await _started(kafka, topic, watch, name)
    events, remember = 0, REMEMBER.format(name=name)
    while not watch.saw(events):
        fetched = await consumer.getmany(timeout_ms=200, max_records=BATCH)
        names = [_name(record) for records in fetched.values() for record in records]
        if names:
            sources, ids = zip(*names, strict=True)
            async with postgres.transaction(pool) as tx:
                await tx.execute(remember, list(sources), list(ids))
            await consumer.commit({tp: records[-1].offset + 1 for tp, records in fetched.items()})
            events += len(names)
    await consumer.stop()
    return events


async def an_event(name: str, pool: Pool, kafka: str, topic: str, watch: Stopwatch) -> int:
    consumer = await _started(kafka, topic, watch, name)
    events, remember = 0, REMEMBER_ONE.format(name=name)
    async for record in consumer:
        async with postgres.transaction(pool) as tx:
            await tx.fetchval(remember, *_name(record))
        await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
        events += 1
        if watch.saw(events):
            break
    await consumer.stop()
    return events


async def fold(name: str, pool: Pool, kafka: str, topic: str, watch: Stopwatch) -> int:
    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, None]:
        return {}

    async def save(tx: Transaction, changes: Sequence[Any]) -> None:
        raise AssertionError("nothing was decided")

    def apply(state: None, event: Event, rules: None) -> Decision[None]:
        return noop("nothing to do")

    nothing: Fold[None, None] = Fold(
        name, {TYPE: apply}, key=lambda event: event.key, load=load, save=save, rules=lambda: None
    )
    return await _ours(nothing, pool, kafka, topic, watch)


async def each(name: str, pool: Pool, kafka: str, topic: str, watch: Stopwatch) -> int:
    async def handle(tx: Transaction, event: Event) -> None:
        """Nothing."""

    return await _ours(Each(name, {TYPE: handle}), pool, kafka, topic, watch)


async def _ours(what: Fold[Any, Any] | Each, pool: Pool, kafka: str, topic: str, watch: Stopwatch) -> int:
    stop = asyncio.Event()
    consumer = Consumer(what, topics=[topic], pool=pool, kafka=kafka, batch_max=BATCH)
    running = asyncio.create_task(consumer.run(stop))
    while not running.done():
        if metrics.REBALANCES.labels(what.name)._value.get():
            watch.start()
        if watch.saw(events := _counted(what.name)):
            break
        await asyncio.sleep(0.005)
    stop.set()
    await running
    return events


def _counted(name: str) -> int:
    """What the consumer has told Prometheus."""
    counted: list[float] = [metrics.EVENTS.labels(name, end)._value.get() for end in ("noop", "applied")]
    return round(sum(counted))


async def _started(kafka: str, topic: str, watch: Stopwatch, group: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        group_id=group,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    consumer.subscribe([topic], listener=_Assigned(watch))
    return consumer


def _name(record: Any) -> tuple[str, str]:
    named = dict(record.headers)
    return named["ce_source"].decode(), named["ce_id"].decode()


def _resident() -> int:
    """MiB that are in memory now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize() >> 20


LANES: dict[str, tuple[tuple[Series, ...], Callable[[str, Pool, str, str, Stopwatch], Awaitable[int]]]] = {
    "floor": (SEEN, floor),
    "fold": (TABLES, fold),
    "each": (TABLES, each),
    "an_event": (SEEN, an_event),
}


async def main(lane: str, name: str, dsn: str, kafka: str, topic: str, count: str) -> None:
    watch = Stopwatch(int(count))
    pool = await postgres.pool(dsn, timeout_seconds=60)
    watch.tell(await LANES[lane][1](name, pool, kafka, topic, watch))
    await pool.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
