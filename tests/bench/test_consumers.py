"""What an event costs each consumer, and where: fetching from Kafka, decoding, judging, the database.

The company's quarter, several times over, as each consumer would read it. CPU and rates are this machine's;
the split and the ratio between the consumers are what to compare.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

import dunning.fold
import dunning.policies
import dunning.store
import entitlement.catalog
import entitlement.fold
import entitlement.store
import ledger.fold
import ledger.store
from ingest.domain.routing import topic_of
from lab.demo.site import COMPANY
from lab.northwind import quarter
from lab.stack import Stack
from millrace import postgres
from millrace.clock import FrozenClock
from millrace.consumer import Batches, Fold, Record, read, run
from millrace.documents import Watched
from millrace.events import Event, headers
from millrace.topics import STRIPE_BILLING, STRIPE_PAYMENTS
from tests.support.database import MakeDatabase
from tests.support.events import event_of
from tests.support.kafka import MakeTopic
from tests.support.ledger_bodies import another

QUARTERS = int(os.environ.get("BENCH_QUARTERS", "3"))
BATCH = 500
RESULT = Path(".millrace/bench/consumers.json")
CLOCK = FrozenClock(datetime(2026, 10, 1, tzinfo=UTC))

CONSUMERS: dict[str, tuple[Callable[[], Fold[Any, Any]], postgres.Schema, tuple[str, ...]]] = {
    "entitlement": (
        lambda: entitlement.fold.fold(entitlement.catalog.InForce(COMPANY / "catalog.yaml", CLOCK).current),
        entitlement.store.SCHEMA,
        (STRIPE_BILLING,),
    ),
    "ledger": (ledger.fold.fold, ledger.store.SCHEMA, (STRIPE_BILLING, STRIPE_PAYMENTS)),
    "dunning": (
        lambda: dunning.fold.fold(Watched(COMPANY / "dunning.yaml", dunning.policies.read)),
        dunning.store.SCHEMA,
        (STRIPE_BILLING, STRIPE_PAYMENTS),
    ),
}


@pytest.fixture(scope="module")
def told() -> list[tuple[str, Event]]:
    """(topic, event) of several quarters, each with customers of its own."""
    bodies = [one for _, one in quarter.build(seed=1).events]
    return [
        (topic_of(one["type"]), event_of(one))
        for number in range(QUARTERS)
        for one in another(bodies, number)
    ]


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CONSUMERS)
async def test_what_an_event_costs(
    name: str, told: Sequence[tuple[str, Event]], stack: Stack, topics: MakeTopic, database: MakeDatabase
) -> None:
    make, schema, reads = CONSUMERS[name]
    events = [event for topic, event in told if topic in reads]
    topic = await topics(f"bench.{name}", partitions=1)
    await publish(stack, topic, events)
    fetched, fetch = await fetch_all(stack, topic, len(events))
    records, decode = timed(lambda: [decoded(f) for f in fetched])
    fold = make()
    _, judge = timed(lambda: run(fold, fold.rules(), records))
    db = await database(schema)
    pool = await postgres.pool(db.dsn(schema), timeout_seconds=60)
    try:
        applied, poisoned = await apply(Batches(pool, fold), records)
    finally:
        await pool.close()
    share = 1e6 / len(events)
    figures = {
        "events": len(events),
        "events_a_second": round(len(events) / (fetch + decode + applied)),
        "fetch_us": round(fetch * share, 1),
        "decode_us": round(decode * share, 1),
        "judge_us": round(judge * share, 1),
        "database_us": round((applied - judge) * share, 1),
    }
    report(name, figures)
    assert poisoned == 0


async def publish(stack: Stack, topic: str, events: Sequence[Event]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka, compression_type="zstd", linger_ms=20)
    await producer.start()
    for event in events:
        named = [(name, text.encode()) for name, text in headers(event).items()]
        await producer.send(topic, orjson.dumps(event.data), event.key.encode(), headers=named)
    await producer.stop()


async def fetch_all(stack: Stack, topic: str, count: int) -> tuple[list[Any], float]:
    """Everything of a topic as the client hands it over, and the seconds that took."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        found: list[Any] = []
        began = time.perf_counter()
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=1000, max_records=BATCH)).values():
                found += records
        return found, time.perf_counter() - began
    finally:
        await consumer.stop()


def decoded(found: Any) -> Record:
    return read(found.topic, found.partition, found.offset, found.key, found.headers, found.value)


async def apply(batches: Batches, records: Sequence[Record]) -> tuple[float, int]:
    poisoned, began = 0, time.perf_counter()
    for start in range(0, len(records), BATCH):
        poisoned += (await batches.apply(records[start : start + BATCH])).poisoned
    return time.perf_counter() - began, poisoned


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def report(name: str, figures: dict[str, float]) -> None:
    """A file for comparison, and the same for people."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps(known | {name: figures}, indent=2))
    print(f"\n{name:12} " + "  ".join(f"{key} {value:,}" for key, value in figures.items()))  # noqa: T201
