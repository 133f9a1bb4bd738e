"""One webhook, one trace: on the span at the door, the record, the consumer's span, and what the event caused."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
import orjson
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ingest import store
from lab.stack import Stack
from millrace import postgres, tracing
from millrace.consumer import Batches, Record, read
from millrace.telemetry import trace_id
from tests.integration.ingest.edge import NOW, body_of, edge_on
from tests.integration.outbox_relay.arena import COMPACT, Arena, running
from tests.support import tally
from tests.support.database import Database, MakeDatabase
from tests.support.events import record
from tests.support.kafka import MakeTopic, read_all

FOLD = replace(tally.fold(), apply={"stripe.invoice.paid": tally.add})
GATEWAY = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is collected of this process while the test runs."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with tracing.collected(provider):
        yield kept


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def traces_linked(span: ReadableSpan) -> list[str]:
    return [f"{link.context.trace_id:032x}" for link in span.links]


async def arrived(db: Database, stack: Stack, topics: MakeTopic, topic: str, traceparent: str) -> Record:
    """A webhook's way through ingest and relay, to the record that a consumer reads."""
    async with edge_on(db) as edge:
        assert (await edge.post(body_of(amount=3), traceparent=traceparent)).status_code == 200
    arena = Arena(db.owner, stack.kafka, topic, await topics("cursor", partitions=1, config=COMPACT))
    async with running(arena.relay()):
        await arena.published(1)
    [found] = await read_all(stack.kafka, topic)
    return read(topic, found.partition, found.offset, found.key, found.headers, found.value)


async def effect_of(db: Database) -> dict[str, str]:
    owner = await asyncpg.connect(db.owner)
    try:
        asked = "select headers::text from outbox.event where topic = 'millrace.refresh'"
        effect: dict[str, str] = orjson.loads(await owner.fetchval(asked))
        return effect
    finally:
        await owner.close()


@pytest.mark.parametrize("traceparent", ["", GATEWAY], ids=["from nowhere", "through a gateway"])
async def test_a_webhook_is_followed_to_its_effect(
    database: MakeDatabase,
    stack: Stack,
    topics: MakeTopic,
    spans: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    traceparent: str,
) -> None:
    topic = await topics("billing", partitions=1)
    monkeypatch.setattr("ingest.store.topic_of", lambda type_: topic)
    db = await database(store.SCHEMA, tally.SCHEMA)
    found = await arrived(db, stack, topics, topic, traceparent)
    assert found.event
    async with await postgres.pool(db.dsn(tally.SCHEMA)) as pool:
        assert (await Batches(pool, FOLD).apply([found])).applied == 1

    [at_the_door], [page] = named(spans, "webhook"), named(spans, "publish")
    trace = trace_id(found.event.trace)
    assert f"{at_the_door.context.trace_id:032x}" == trace
    assert found.event.trace.split("-")[2] == f"{at_the_door.context.span_id:016x}"
    if traceparent:
        assert trace == "a" * 32 and at_the_door.parent
        assert f"{at_the_door.parent.span_id:016x}" == "b" * 16
    assert at_the_door.attributes == {
        "http.request.method": "POST",
        "http.route": "/webhooks/stripe/{endpoint}",
        "http.response.status_code": 200,
        "millrace.endpoint": "main",
        "millrace.outcome": "stored",
        "cloudevents.event_id": "evt_1",
        "cloudevents.event_type": "stripe.invoice.paid",
        "cloudevents.event_source": "stripe/acct_1Edge",
    }
    assert traces_linked(page) == [trace]
    [batch] = named(spans, "process")
    assert traces_linked(batch) == [trace]
    [told] = batch.events
    assert (told.name, dict(told.attributes or {})["cloudevents.event_id"]) == ("event applied", "evt_1")
    effect = await effect_of(db)
    assert trace_id(effect["traceparent"]) == trace

    assert found.event.recorded == NOW
    assert datetime.fromisoformat(effect["ce_recordedtime"]) == NOW


async def test_a_parked_event_is_told_with_its_trace(
    database: MakeDatabase, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    db = await database(tally.SCHEMA)
    async with await postgres.pool(db.dsn(tally.SCHEMA)) as pool:
        with caplog.at_level(logging.ERROR, "millrace.consumer"):
            await Batches(pool, tally.fold()).apply([record(tally.event("add", "e1", "much"))])
    [line] = [vars(line) for line in caplog.records if line.getMessage() == "event parked"]
    assert (line["event"], line["trace"]) == ("e1", "1" * 32)
    [batch] = named(spans, "process")
    [told] = batch.events
    assert (told.name, dict(told.attributes or {})["millrace.reason"]) == (
        "event poison",
        "amount is not a whole number",
    )


async def test_a_batch_links_to_so_many_traces_and_an_old_event_begins_a_trace_of_its_own(
    database: MakeDatabase, spans: InMemorySpanExporter
) -> None:
    db = await database(tally.SCHEMA)
    many = [
        replace(tally.event("add", f"e{n}"), trace=f"00-{n:032x}-{n:016x}-01")
        for n in range(1, tracing.LINKS_MAX + 50)
    ]
    fresh = replace(tally.event("add", "fresh"), recorded=datetime.now(UTC))
    async with await postgres.pool(db.dsn(tally.SCHEMA)) as pool:
        batches = Batches(pool, tally.fold())
        for events in (many, [tally.event("add", "old")], [fresh]):
            await batches.apply([record(event) for event in events])
    long, old, new = named(spans, "process")
    assert (len(long.links), len(long.events), long.parent) == (tracing.LINKS_MAX, tracing.EVENTS_MAX, None)
    assert old.parent is None and traces_linked(old) == ["1" * 32]
    assert new.parent and f"{new.parent.trace_id:032x}" == "1" * 32
