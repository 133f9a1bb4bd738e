"""The consumer runtime beside the least that could work and beside what most people write, in one run.

    floor       getmany and one insert a batch, no library
    fold, each  ours, with nothing to do: dedupe, order, parking, progress and metrics are all that is left
    an event    a transaction an event, in plain aiokafka, and in FastStream
    backlog     three days in small: how fast it drains while more arrives

Ratios are what counts. Everything is told before anything is asserted, and kept below .millrace/bench/.

CONSUMER_BENCH_EVENTS  of the backlog (100,000; memory is looked at half-way and at the end)
CONSUMER_BENCH_ROUNDS  of every lane in turn (3)
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import venv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lab.stack import Stack
from lab.stack.jars import CHECKOUT
from millrace.postgres import Schema, Series
from tests.bench.consumer_lanes import LANES, SEEN
from tests.bench.relay_costs import counted
from tests.bench.test_relay import run, started, tell
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic

EVENTS = int(os.environ.get("CONSUMER_BENCH_EVENTS", "100000"))
ROUNDS = int(os.environ.get("CONSUMER_BENCH_ROUNDS", "3"))
SLOW = 10  # an event at a time takes long: a part of them is enough for a rate
PARTITIONS = 6
ARRIVALS = 2000  # a second, while a backlog drains
PEER = Path(__file__).parent / "peers" / "faststream"
INSTALLED = CHECKOUT / ".millrace" / "bench" / "peers" / "faststream"

numbers = itertools.count(1)
pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


async def test_what_the_runtime_costs(stack: Stack, topics: MakeTopic, database: MakeDatabase) -> None:
    topic = await topics("bench.consumer", partitions=PARTITIONS)
    await fill(stack, topic, EVENTS)
    peer = await asyncio.to_thread(installed)
    rounds: dict[str, list[dict[str, Any]]] = {}
    for number in range(ROUNDS):
        for lane in LANES:
            if number == 0 or lane != "an_event":
                rounds.setdefault(lane, []).append(await one(lane, stack, topic, database))
    rounds["FastStream"] = [await faststream(peer, stack, topic, database)]
    figures = {lane: median(found) for lane, found in rounds.items()}
    floor = figures["floor"]["events_a_second"]
    for found in figures.values():
        found["of_the_floor"] = round(found["events_a_second"] / floor, 2)
    tell(f"consuming {EVENTS:,} events", figures)
    rates = {lane: found["events_a_second"] for lane, found in figures.items()}
    for lane in ("fold", "each"):
        assert rates[lane] >= 5 * rates["an_event"]
        assert figures[lane]["rss_mib"] < 1.25 * figures[lane]["rss_mib_half_way"]
        assert rates[lane] >= 10_000
        assert rates[lane] >= 0.8 * floor


async def test_a_backlog_drains_faster_than_more_arrives(
    stack: Stack, topics: MakeTopic, database: MakeDatabase
) -> None:
    topic = await topics("bench.backlog", partitions=PARTITIONS)
    await fill(stack, topic, EVENTS)
    arriving = EVENTS // 2
    more = await started(
        "tests.bench.consumer_topic", stack.kafka, topic, str(arriving), str(EVENTS), str(ARRIVALS)
    )
    found = await one("fold", stack, topic, database, events=EVENTS)
    await more.wait()
    drained = found["events_a_second"] - ARRIVALS
    tell("a backlog while more arrives", {"fold": {**found, "arrivals_a_second": ARRIVALS, "net": drained}})
    assert found["events_a_second"] > 2 * ARRIVALS


async def one(
    lane: str, stack: Stack, topic: str, database: MakeDatabase, events: int = EVENTS
) -> dict[str, Any]:
    schema = named(lane, LANES[lane][0])
    count = events // SLOW if lane == "an_event" else events
    db = await database(schema)
    words = (stack.kafka, topic, str(count))
    async with counted(db.owner) as costs:
        found = await run("tests.bench.consumer_lanes", lane, schema.name, db.dsn(schema), *words)
    return rated(found, asdict(costs))


async def faststream(python: Path, stack: Stack, topic: str, database: MakeDatabase) -> dict[str, Any]:
    schema = named("faststream", SEEN)
    db = await database(schema)
    async with counted(db.owner) as costs:
        process = await asyncio.create_subprocess_exec(
            python, PEER / "consume.py", schema.name, db.dsn(schema), stack.kafka, topic, str(EVENTS // SLOW),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 600)
    assert process.returncode == 0
    return rated(json.loads(out.splitlines()[-1]), asdict(costs))


def named(lane: str, tables: tuple[Series, ...]) -> Schema:
    """A consumer of its own, each time: nobody goes on where another one was."""
    return Schema(f"bench_{lane}_{next(numbers)}_{os.getpid()}", tables)


def rated(found: dict[str, Any], costs: dict[str, float]) -> dict[str, Any]:
    """Rates, and microseconds of CPU an event."""
    events = found["events"]
    return {
        "events_a_second": round(events / found["seconds"]),
        "us": round(1e6 * found["cpu_seconds"] / events, 1),
        **{f"{name}_us": round(1e6 * seconds / events, 1) for name, seconds in costs.items()},
        **{name: found[name] for name in ("rss_mib", "rss_mib_half_way") if name in found},
    }


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure by itself."""
    return {name: round(statistics.median(it[name] for it in rounds), 1) for name in rounds[0]}


async def fill(stack: Stack, topic: str, events: int) -> None:
    process = await started("tests.bench.consumer_topic", stack.kafka, topic, str(events))
    assert await process.wait() == 0


def installed() -> Path:
    """The peer's Python, with the peer as its lock file has it; made once. It needs an older Kafka client than ours."""
    python, wanted = INSTALLED / "bin" / "python", PEER / "requirements.lock"
    mark = INSTALLED / "of-lock"
    if not (mark.exists() and mark.read_bytes() == wanted.read_bytes()):
        shutil.rmtree(INSTALLED, ignore_errors=True)
        venv.create(INSTALLED, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", wanted], check=True)
        shutil.copy(wanted, mark)
    return python
