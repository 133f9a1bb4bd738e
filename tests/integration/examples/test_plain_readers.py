"""Nothing is private: readers that know only what docs/events.md promises see what was published, once, in order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from lab.stack import Stack, programs
from lab.stack.jars import jars
from millrace import postgres
from millrace.consumer import TABLES
from millrace.events import Event, headers
from millrace.events.examples import EXAMPLES as OURS
from millrace.outbox import Message, publish
from millrace.postgres import Schema
from tests.integration.outbox_relay.arena import MakeArena, make_arena, running
from tests.support.events import event_of
from tests.support.kafka import MakeTopic

__all__ = ["make_arena"]  # the fixture `arena`

EXAMPLES = Path(__file__).parents[3] / "examples"
ODD = 'a "quoted" \\ and\ttabbed Zoë'  # what a line of JSON has to be careful with
WRITER = Schema("writer", TABLES)
BRIEFLY = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")  # it never gets warm
Said = tuple[int, list[dict[str, Any]], str]  # exit code, events, what it complained of


async def said(command: list[str], kafka: str, topic: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        *command, kafka, topic, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    return process.returncode or 0, [json.loads(line) for line in out.splitlines()], err.decode()


async def readers(stack: Stack, topic: str) -> Said:
    """What both readers say, which is the same."""
    python = [sys.executable, str(EXAMPLES / "plain_reader_python" / "reader.py")]
    java = [str(programs.jdk(print)), *BRIEFLY, "-cp", f"{jars(print).folder}/*"]
    java.append(str(EXAMPLES / "plain_reader_java" / "Reader.java"))
    one, other = await asyncio.gather(*(said(command, stack.kafka, topic) for command in (python, java)))
    assert one[:2] == other[:2], (one, other)
    assert one[2] == "".join(f"{line}\n" for line in other[2].splitlines() if line.startswith("gap"))
    return one


def as_read(event: Event, partition: int, offset: int) -> dict[str, Any]:
    """What a reader prints of an event."""
    named = {
        name.removeprefix("ce_"): text for name, text in headers(event).items() if name.startswith("ce_")
    }
    place = {"partition": partition, "offset": offset, "key": event.key}
    return {**named, **place, "data": dict(event.data)}


async def test_what_the_relay_published_is_what_they_read(arena: MakeArena, stack: Stack) -> None:
    there = await arena(partitions=1)
    await postgres.migrate(there.owner, WRITER)
    pool = await postgres.pool(there.owner.replace("postgres@", f"{WRITER.role}@"))
    body = {
        "id": "evt_1", "type": "customer.created", "created": 1772366400, "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "cus_1", "object": "customer", "name": 'Zoë "Z" \\ \n 水'}},
    }  # fmt: skip
    told = [event_of(body)]
    told += [p.event(id=f"ours.{n}", source="millrace/lab", at=told[0].time) for n, p in enumerate(OURS)]
    async with postgres.transaction(pool) as tx:
        await publish(tx, [Message(there.topic, event) for event in told])
    await pool.close()
    async with running(there.lanes()):
        await there.published(len(told))
    code, read, complaints = await readers(stack, there.topic)
    assert (code, complaints) == (0, "")
    assert read == [as_read(event, 0, offset) for offset, event in enumerate(told)]


async def test_they_pass_over_what_was_aborted_or_came_before_and_name_a_gap(
    stack: Stack, topics: MakeTopic
) -> None:
    topic = await topics("numbered", partitions=1)
    one = OURS[0].event(id="e1", source="millrace/lab", at=datetime(2026, 7, 1, tzinfo=UTC))
    await numbered(stack.kafka, topic, {1: one, 2: replace(one, id="e2", subject=ODD)})
    await numbered(stack.kafka, topic, {3: replace(one, id="aborted")}, abort=True)
    await numbered(stack.kafka, topic, {5: replace(one, source="millrace/other"), 6: one})
    code, read, complaints = await readers(stack, topic)
    assert [(e["source"], e["id"]) for e in read] == [
        ("millrace/lab", "e1"), ("millrace/lab", "e2"), ("millrace/other", "e1"),
    ]  # fmt: skip
    assert read[1]["subject"] == ODD
    assert (code, complaints) == (3, "gap: partition 0 jumps from 2 to 5\n")


async def numbered(kafka: str, topic: str, events: Mapping[int, Event], *, abort: bool = False) -> None:
    """One transaction of a relay's, with these numbers."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic)
    await producer.start()
    try:
        await producer.begin_transaction()
        for number, event in events.items():
            more = {"millrace-outbox": "main@0", "millrace-pseq": str(number)}
            named = [(name, text.encode()) for name, text in {**headers(event), **more}.items()]
            await producer.send_and_wait(
                topic, orjson.dumps(dict(event.data)), event.key.encode(), headers=named
            )
        await (producer.abort_transaction() if abort else producer.commit_transaction())
    finally:
        await producer.stop()
