"""The webhook door under load, beside what people run and beside the floor, in one run on one machine.

    ours                      `python -m ingest` as it is deployed: sealed, with its outbox row, committed
    ours, two processes       both on one database
    ours, every customer new  a data key has to be made for each event
    ours, unsealed            the same without sealing, which the product cannot
    a transaction a request   the same libraries, written the usual way; no sealing
    sync engine               @supabase/stripe-sync-engine in node, the handler that people install
    floor                     one-row commits of the bytes that an event of ours leaves behind; no HTTP

64 connections, bodies of 5.6 KB, every event another one, every answer looked at and counted against the
database. Ratios are what counts; rates and microseconds are this machine's, on which the load runs as well.
Everything is told before anything is asserted, and kept below .millrace/bench/.

BENCH_SECONDS   of each run (4)      BENCH_ROUNDS   of the comparison (3)
BENCH_EVENTS    of the long run (1,000,000; `make bench` takes 200,000)
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from ingest.store import SCHEMA
from lab.stack import Stack
from lab.stack.jars import CHECKOUT
from millrace import sealing
from tests.bench import ingest_cpu, ingest_floor
from tests.bench.ingest_lanes import LANES, Figures, Serving, insist_on_stored, measure, ours, run, sample
from tests.bench.ingest_load import Plan
from tests.bench.ingest_picture import Panel, svg
from tests.bench.ingest_split import split
from tests.bench.ingest_witness import Stall, outside, percentile, witness
from tests.support.database import Database, MakeDatabase, databases

SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
KEYS = 25_000  # customers; more than a process keeps keys for
PART = 10_000  # events between two looks at the memory
RESULT = CHECKOUT / ".millrace" / "bench" / "ingest.json"
PICTURE = RESULT.with_suffix(".svg")
SCHEMAS = (sealing.SCHEMA, SCHEMA)

PEER_TIMES = 10  # the sync engine, in events per second and in CPU per event
USUAL_TIMES = 2  # the usual transaction a request, which seals nothing
FLOOR_SHARE = 0.8
SEALING_SHARE_MAX = 0.35  # of the CPU per event that is spent without it
LOAD_KEPT = 0.95  # of the schedule; less would mean that half of the load is too much
GROWTH_MAX = 0.10  # of memory, from the first tenth of the long run to the last
P99_MS = 50  # at half of the load, outside of stalls; told, for a test asserts no clock
SLOW_SECONDS = 0.4  # a stall of the disk takes about this long

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


class Aim(NamedTuple):
    """What was hoped for, and what was found."""

    words: str
    found: float
    least: float = 0.0
    most: float = math.inf

    @property
    def reached(self) -> bool:
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        hoped = f"at least {self.least:g}" if self.least else f"at most {self.most:g}"
        return f"{'   ' if self.reached else 'NOT'} {self.words:62} {self.found:6.2f}  {hoped}"


class Median(NamedTuple):
    """A lane's rounds. Units: events per second; microseconds of CPU an event."""

    rate: float
    server_us: float
    postgres_us: float
    generator_us: float

    @property
    def cpu_us(self) -> float:
        return self.server_us + self.postgres_us


async def test_ours_beside_what_people_run_and_beside_the_floor(stack: Stack, tmp_path: Path) -> None:
    rounds = [await a_round(stack, tmp_path) for _ in range(ROUNDS)]
    medians = {name: median([lanes[name] for lanes, _ in rounds]) for name in LANES}
    floor = {client: statistics.median(floors[client] for _, floors in rounds) for client in rounds[0][1]}
    found = aims(medians, max(floor.values()))
    tell(medians, floor, found)
    keep("lanes", {name: m._asdict() for name, m in medians.items()} | {"floor": floor})
    keep("aims", {aim.words: aim.found for aim in found})
    keep(
        "events per second in each round", [{n: f.rate for n, f in lanes.items()} | f for lanes, f in rounds]
    )
    PICTURE.write_text(svg(panels(medians, floor)))
    assert not [str(aim) for aim in found if not aim.reached]


async def a_round(stack: Stack, folder: Path) -> tuple[dict[str, Figures], dict[str, float]]:
    """Every lane once, one after another, each on a database of its own; then the floor, by either client."""
    lanes: dict[str, Figures] = {}
    left = (b"", b"")
    for name, lane in LANES.items():
        async with databases(stack) as make:
            db = await fresh(make)
            lanes[name] = await run(lane, db, folder, seconds=SECONDS)
            if name == "ours":
                left = await sample(db)
    async with databases(stack) as make:
        db = await fresh(make)
        await ingest_floor.prepare(db, *left)
        floor = {
            "pgbench": await ingest_floor.pgbench(db, folder, round(SECONDS)),
            "asyncpg": await ingest_floor.python(db, round(SECONDS)),
        }
    return lanes, floor


def aims(medians: Mapping[str, Median], floor: float) -> list[Aim]:
    mine, peer, usual = medians["ours"], medians["sync engine"], medians["a transaction a request"]
    added = mine.cpu_us / medians["ours, unsealed"].cpu_us - 1
    return [
        Aim("events per second, times those of the sync engine", mine.rate / peer.rate, PEER_TIMES),
        Aim("CPU an event, of the sync engine, times ours", peer.cpu_us / mine.cpu_us, PEER_TIMES),
        Aim("events per second, times those of a transaction a request", mine.rate / usual.rate, USUAL_TIMES),
        Aim("events per second, as a share of the floor", mine.rate / floor, FLOOR_SHARE),
        Aim("CPU that sealing adds, as a share of what there is without", added, most=SEALING_SHARE_MAX),
    ]


async def test_half_of_the_load_is_answered_soon(stack: Stack, tmp_path: Path) -> None:
    async with databases(stack) as make:
        full = (await run(LANES["ours"], await fresh(make), tmp_path, seconds=SECONDS)).rate
    async with databases(stack) as make:
        db = await fresh(make)
        async with ours(db, tmp_path) as serving, witness(db) as stalls:
            plan = Plan(serving.ports, events=int(full / 2 * 3 * SECONDS), rate=full / 2, warm=2000)
            figures = await measure(serving, db, plan)
        await insist_on_stored(db, LANES["ours"], plan.warm + figures.events)
    kept = figures.rate / plan.rate
    found = {
        "events per second": plan.rate,
        "of the schedule kept, %": 100 * kept,
        **latencies(figures, stalls),
    }
    keep("half of the load", found)
    lines("half of the load, open loop", found, note=f"aim: p99 outside stalls at most {P99_MS} ms")
    assert kept >= LOAD_KEPT


def latencies(figures: Figures, stalls: Sequence[Stall]) -> dict[str, float]:
    every, unstalled = [took for _, took in figures.answers], outside(figures.answers, stalls)
    return {
        "p50, ms": percentile(every, 0.5),
        "p99, ms": percentile(every, 0.99),
        "at most, ms": percentile(every, 1.0),
        "answers that took over 400 ms": sum(took > SLOW_SECONDS for took in every),
        "stalls of the disk": len(stalls),
        "stalls of the disk, ms": 1000 * sum(to - since for since, to in stalls),
        "answers held up by them, %": 100 * (1 - len(unstalled) / len(every)),
        "p99 outside stalls, ms": percentile(unstalled, 0.99),
    }


async def test_where_the_cpu_goes(stack: Stack, tmp_path: Path) -> None:
    async with databases(stack) as make:
        whole = await run(LANES["ours"], await fresh(make), tmp_path, seconds=SECONDS)
    async with databases(stack) as make:
        steps = await split(await fresh(make))
    rest = whole.server_us - sum(steps.values())
    table = {**steps, "HTTP, loop, queue, metrics: the rest": rest, "server": whole.server_us}
    table["PostgreSQL"] = whole.postgres_us
    keep("split", table)
    lines("CPU of an event, in µs", table)
    assert rest > 0, "the steps alone cost more than the server: one of them is not what the server does"


async def test_memory_stays_flat(stack: Stack, tmp_path: Path) -> None:
    """With more customers than a process keeps keys for, so that what is bounded is full before the first look."""
    resident = []
    async with databases(stack) as make:
        db = await fresh(make)
        async with ours(db, tmp_path) as serving:
            for plan in plans(serving):
                await insist_on_stored(db, LANES["ours"], (await measure(serving, db, plan)).events)
                resident.append(ingest_cpu.resident_mib(serving.pids))
                await emptied(db)
    tenth = max(1, len(resident) // 10)
    early, late = statistics.median(resident[1 : 1 + tenth]), statistics.median(resident[-tenth:])
    found = {"MiB in the first tenth": early, "MiB in the last": late, "MiB at most": max(resident)}
    keep("memory", {"events": EVENTS, **found, "samples": resident})
    lines(f"memory of the server over {EVENTS:,} events", found)
    assert late <= (1 + GROWTH_MAX) * early


def plans(serving: Serving) -> Iterator[Plan]:
    """First as many customers as fill what is bounded; then part by part."""
    for first, events in [(0, KEYS), *((n, PART) for n in range(KEYS, EVENTS, PART))]:
        yield Plan(serving.ports, events=events, first=first, warm=0, customers=2 * KEYS)


EMPTIED = """
-- Stored events stay as they are; only who may switch triggers off can empty a bench's tables.
set session_replication_role = replica;
truncate ingest.event, outbox.event;
"""


async def emptied(db: Database) -> None:
    """Keeps a long run off the disk. The ids stay, and so does what makes an event unique."""
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute(EMPTIED)
    finally:
        await connection.close()


async def fresh(make: MakeDatabase) -> Database:
    """A migrated database on a server that has nothing left to write."""
    db = await make(*SCHEMAS)
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute("checkpoint")
    finally:
        await connection.close()
    return db


def median(found: Sequence[Figures]) -> Median:
    return Median(*(statistics.median(getattr(each, name) for each in found) for name in Median._fields))


def tell(medians: Mapping[str, Median], floor: Mapping[str, float], found: Sequence[Aim]) -> None:
    say(f"\n{'':26} events/s   CPU µs an event: servers  PostgreSQL      all   (the load's own)")
    for name, m in medians.items():
        share = f"{m.server_us:24,.0f}  {m.postgres_us:10,.0f}  {m.cpu_us:7,.0f}   {m.generator_us:8,.0f}"
        say(f"{name:26} {m.rate:8,.0f}   {share}")
    for client, rate in floor.items():
        say(f"{'floor, by ' + client:26} {rate:8,.0f}   one-row commits")
    say("")
    for aim in found:
        say(str(aim))
    say(f"picture: {PICTURE}")


def panels(medians: Mapping[str, Median], floor: Mapping[str, float]) -> list[Panel]:
    rates = {name: m.rate for name, m in medians.items()} | {"floor": max(floor.values())}
    cpu = {name: m.cpu_us for name, m in medians.items()}
    return [
        Panel("Acknowledged events per second", "/s", rates),
        Panel("CPU of an event: servers and PostgreSQL", "µs", cpu),
    ]


def lines(title: str, found: Mapping[str, float], note: str = "") -> None:
    say(f"\n{title}")
    for name, value in found.items():
        say(f"  {name:40} {value:12,.1f}")
    say(note)


def keep(part: str, found: object) -> None:
    """A file for comparison; each test writes its own part."""
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    machine = {"cores": os.cpu_count(), "load of the last minute": os.getloadavg()[0]}
    RESULT.write_text(json.dumps({**known, "machine": machine, part: found}, indent=2))


def say(line: str) -> None:
    print(line)  # noqa: T201
