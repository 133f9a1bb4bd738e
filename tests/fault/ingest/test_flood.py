"""A flood that nobody signed, at five times what the door can do, and genuine events among it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from ingest.store import SCHEMA
from tests.fault.ingest.hostile import Door, Post, door_on, genuine, talk
from tests.support.database import MakeDatabase

TIMES = 5  # the capacity
CAPACITY_SECONDS, FLOOD_SECONDS = 2.0, 12.0 if "FAULT_RUNS" in os.environ else 6.0
GENUINE_PER_SECOND = 25
P99_SECONDS_MAX = 1.0
RESULT = Path(__file__).parents[3] / ".millrace" / "bench" / "flood.json"


async def junk(*arguments: object) -> dict[str, Any]:
    """What the generator reports at its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fault.ingest.junk", *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    found: dict[str, Any] = orjson.loads(told)
    return found


async def transactions(door: Door) -> int:
    """How many transactions this database has seen."""
    (row,) = await door.edge.rows(
        "select xact_commit + xact_rollback as n from pg_stat_database where datname = current_database()"
    )
    return int(row["n"])


async def genuine_ones(door: Door, until: asyncio.Task[Any]) -> tuple[list[int], list[float]]:
    """One every so often, by turns on a connection of its own and a lasting one: statuses, and seconds from
    the moment each was due."""
    started = time.perf_counter()
    asked: list[asyncio.Task[tuple[int, float]]] = []
    while not until.done():
        due = started + len(asked) / GENUINE_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        asked.append(asyncio.create_task(one(door, due, lasting=len(asked) % 2 == 0)))
    answered = await asyncio.gather(*asked)
    return [status for status, _ in answered], sorted(seconds for _, seconds in answered)


async def one(door: Door, due: float, *, lasting: bool) -> tuple[int, float]:
    if lasting:
        status = (await door.edge.post(genuine(), at=int(time.time()))).status_code
    else:
        status = (await talk(door.port, [Post()], seconds=30)).end
    return status, time.perf_counter() - due


def report(**figures: object) -> str:
    text = orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode()
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text)
    print(text)  # noqa: T201
    return text


async def test_a_flood_of_five_times_the_capacity_does_not_move_genuine_events(
    database: MakeDatabase, tmp_path: Path
) -> None:
    async with door_on(await database(SCHEMA), tmp_path) as door:
        await door.stands((0, 0), 0)
        closed = await junk("capacity", door.port, CAPACITY_SECONDS)
        capacity = sum(closed["answered"].values()) / closed["seconds"]
        before = await transactions(door)
        flooding = asyncio.create_task(junk("flood", door.port, FLOOD_SECONDS, capacity * TIMES))
        statuses, seconds = await genuine_ones(door, flooding)
        flood = await flooding
        p50, p99 = seconds[len(seconds) // 2], seconds[len(seconds) * 99 // 100]
        asked = await transactions(door) - before
        said = report(
            capacity=capacity, **flood, genuine=len(seconds), p50=p50, p99=p99, worst=seconds[-1], asked=asked
        )
        assert set(statuses) == {200}, said
        assert p99 < P99_SECONDS_MAX, said
        assert set(closed["answered"]) == set(flood["answered"]) == {"400"}, said
        assert flood["offered"] >= 0.9 * TIMES * capacity * flood["seconds"], said
        assert await door.rows() == (len(seconds) + 1, len(seconds) + 1), said
        assert asked < 2 * len(seconds) + 100, said  # the genuine ones' commits and the checks; nobody else's
        assert door.complaints() == []
