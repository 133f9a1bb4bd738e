"""The relay beside the loop that most teams write and beside Kafka's own tool, in one run on one machine.

    drain     a backlog of 2.4 KB rows: rows per second, CPU of relay, broker and database
    latency   commit → readable for `read_committed`, at 1,000 single-row commits a second, and the cycle's parts
    poll      one look at the tail of a large outbox, beside one at an empty one
    ingest    the door's p99 at a steady rate, alone and while a backlog drains

Ratios are what counts. Everything is told before anything is asserted, and kept below .millrace/bench/.

RELAY_BENCH_ROWS  of the backlog (100,000)     RELAY_BENCH_SMALL  small rows of the long run (0: none)
RELAY_BENCH_RATE  commits a second (1,000)     RELAY_BENCH_POLL   rows of the large outbox (1,000,000)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.store import SCHEMA as INGEST
from lab.stack import Stack
from lab.stack.wire import free_ports
from millrace import sealing
from outbox_relay import store
from outbox_relay.domain.cursor import Position
from tests.bench import ingest_cpu
from tests.bench.ingest_lanes import LANES, measure
from tests.bench.ingest_load import Plan
from tests.bench.ingest_witness import percentile
from tests.bench.relay_backlog import SMALL, backlog, pending, tidy
from tests.bench.relay_costs import counted
from tests.bench.relay_peak import peak
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, make_arena
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic

__all__ = ["make_arena"]

ROWS = int(os.environ.get("RELAY_BENCH_ROWS", "100000"))
SMALL_ROWS = int(os.environ.get("RELAY_BENCH_SMALL", "0"))
RATE = int(os.environ.get("RELAY_BENCH_RATE", "1000"))
POLL_ROWS = int(os.environ.get("RELAY_BENCH_POLL", "1000000"))
SECONDS = 20
WARM_SECONDS = 4
REPORT = Path(".millrace/bench/relay.json")

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


async def test_a_backlog_drains(arena: MakeArena, topics: MakeTopic, tmp_path: Path) -> None:
    ours, loop, tool = [await arena(partitions=6) for _ in range(3)]
    for it in (ours, loop):
        await backlog(it, ROWS)
    await pending(loop)
    await backlog(tool, 5000)
    await peak(tool, ROWS, tmp_path)  # until the broker is warm: whoever came first would pay for it
    figures = {
        "exactly once (ours)": await costed(ours, "tests.bench.relay_drain", str(ROWS), **ours.environment),
        "SKIP LOCKED loop": await costed(loop, "tests.bench.relay_loop", loop.owner, loop.kafka),
        "Kafka's producer, transactional": await peak(tool, ROWS, tmp_path),
    }
    tell(f"drain of {ROWS:,}", figures)
    assert await ours.account() == Account(rows=ROWS)
    mine = figures["exactly once (ours)"]
    assert mine["rss_mib"] < 1.25 * mine["rss_mib_half_way"]


@pytest.mark.skipif(not SMALL_ROWS, reason="asked for by RELAY_BENCH_SMALL")
async def test_a_long_backlog_of_small_rows_drains_at_one_rate(arena: MakeArena) -> None:
    ours = await arena(partitions=6)
    await backlog(ours, SMALL_ROWS, statement=SMALL)
    figures = await costed(ours, "tests.bench.relay_drain", str(SMALL_ROWS), **ours.environment)
    tell(f"drain of {SMALL_ROWS:,} rows of 300 bytes", {"exactly once (ours)": figures})
    assert figures["rss_mib"] < 1.25 * figures["rss_mib_half_way"]


async def test_committed_to_readable(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(partitions=6)
    rows = RATE * (SECONDS + WARM_SECONDS)
    [port] = free_ports(1)
    relay = await RelayProcess.start(it, tmp_path / "relay.log", RELAY_HEALTH_PORT=str(port))
    try:
        reader = await started("tests.bench.relay_reader", it.kafka, it.topic, str(rows))
        assert reader.stdout and await reader.stdout.readline() == b"ready\n"
        async with counted(it.owner) as costs:
            words = (it.owner, it.topic, str(RATE), str(SECONDS + WARM_SECONDS))
            wrote = await run("tests.bench.relay_commits", *words)
            read: dict[str, float] = json.loads(await reader.stdout.read())
        await reader.wait()
        spent = {"relay": ingest_cpu.used([relay.process.pid]), **asdict(costs)}
        parts = await asyncio.to_thread(cycle, port)
    finally:
        await relay.kill()
    kept = wrote["seconds"] / (SECONDS + WARM_SECONDS)
    waits = [read[n] - at for n, at in wrote["committed"].items() if int(n) >= RATE * WARM_SECONDS]
    figures = percentiles(waits)
    tell(
        f"commit → readable at {RATE}/s",
        {
            "ours": {**figures, "schedule_kept": round(1 / kept, 2)},
            "CPU seconds": {name: round(seconds, 1) for name, seconds in spent.items()},
            "one cycle, mean ms": parts,
        },
    )
    assert await it.account() == Account(rows=rows)


def cycle(port: int) -> dict[str, float]:
    """The parts of a transaction's way, from the relay's own histogram; and how many there were."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        found = next(f for f in families if f.name == "millrace_relay_cycle_seconds")
    sums = {s.labels["part"]: s.value for s in found.samples if s.name.endswith("_sum")}
    counts = {s.labels["part"]: s.value for s in found.samples if s.name.endswith("_count")}
    means = {part: round(1000 * sums[part] / counts[part], 2) for part in sums if counts[part]}
    return {**means, "transactions": counts["commit"]}


async def test_a_look_at_the_tail_costs_the_same_over_any_outbox(arena: MakeArena) -> None:
    empty, large = await arena(), await arena()
    await backlog(large, POLL_ROWS, statement=SMALL)
    looks: dict[str, list[float]] = {"an empty outbox": [], f"{POLL_ROWS:,} rows": []}
    ends = [await tail(it) for it in (empty, large)]
    for _ in range(5):  # in turn, so that what the machine does meets both
        for (name, found), it, end in zip(looks.items(), (empty, large), ends, strict=True):
            found += await timed(it, end)
            del name
    tell("one look at the tail", {name: percentiles(found) for name, found in looks.items()})


async def tail(it: Arena) -> Position:
    """Where everything is published: as a relay that has drained would stand."""
    async with it.connection() as connection:
        await tidy(connection)
        newest = await connection.fetchval("select coalesce(max(xid::text::bigint), 3) from outbox.event")
    async with source(it) as outbox_:
        _, now = await outbox_.identity()
    return Position().past(now, newest)


async def timed(it: Arena, end: Position, looks: int = 300) -> list[float]:
    taken = []
    async with source(it) as outbox_:
        for _ in range(looks):
            began = time.perf_counter()
            page = await outbox_.page(end)
            taken.append(time.perf_counter() - began)
            assert not page.rows
    return taken


def source(it: Arena) -> Any:
    return store.outbox(it.dsn, page_rows=2000, page_bytes=8 << 20, record_bytes=1_000_000, read_seconds=60)


INGEST_RATE = 300.0  # events a second: a fifth of what the door takes alone


async def test_ingest_beside_a_backlog_that_drains(
    stack: Stack, database: MakeDatabase, arena: MakeArena, tmp_path: Path
) -> None:
    db = await database(sealing.SCHEMA, INGEST)
    it = await arena(partitions=6)
    await backlog(it, 5 * ROWS)
    async with LANES["ours"].serve(db, tmp_path) as serving:
        plan = Plan(serving.ports, events=int(INGEST_RATE * 10), rate=INGEST_RATE, warm=1000)
        alone = await measure(serving, db, plan)
        relay = await RelayProcess.start(it, tmp_path / "relay.log")
        try:
            beside = await measure(serving, db, plan)
        finally:
            await relay.kill()
    figures = {
        name: percentiles([seconds for _, seconds in found.answers])
        for name, found in {"alone": alone, "while a backlog drains": beside}.items()
    }
    tell(f"ingest at {INGEST_RATE:.0f}/s", figures)


async def costed(it: Arena, module: str, *words: str, **environment: str) -> dict[str, Any]:
    async with counted(it.owner) as costs:
        figures = await run(module, *words, **environment)
    figures["rows_a_second"] = round(figures["rows"] / figures["seconds"])
    figures["relay_us_a_row"] = round(1e6 * figures["cpu_seconds"] / figures["rows"], 1)
    for name, seconds in asdict(costs).items():
        figures[f"{name}_us_a_row"] = round(1e6 * seconds / figures["rows"], 1)
    return figures


async def run(module: str, *words: str, **environment: str) -> dict[str, Any]:
    process = await started(module, *words, **environment)
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


async def started(module: str, *words: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *words,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{p}_ms": round(percentile(seconds, p / 100), 2) for p in (50, 90, 99, 100)}


def tell(title: str, figures: dict[str, dict[str, Any]]) -> None:
    """Lines for people, a file for comparison."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    REPORT.write_text(json.dumps({**kept, title: figures}, indent=2))
    print(f"\n{title}")  # noqa: T201
    for name, it in figures.items():
        print(f"  {name:34}", "  ".join(f"{k} {v}" for k, v in it.items()))  # noqa: T201
