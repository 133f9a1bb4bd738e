"""A stranger who commits beside the server under load: when his commits stall, the disk stalled for everybody.

Latencies are told with and without those moments. The server's own pauses are not excused: the stranger
does not feel them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from tests.support.database import Database

STALL_SECONDS = 0.1  # a commit takes a few milliseconds here
EVERY_SECONDS = 0.01

Stall = tuple[float, float]


@asynccontextmanager
async def witness(db: Database) -> AsyncIterator[list[Stall]]:
    """The stalls seen while the block lasted, as (from, to) of `time.perf_counter`."""
    stalls: list[Stall] = []
    connection = await asyncpg.connect(db.owner)
    await connection.execute("create table witness (at timestamptz default clock_timestamp())")
    watching = asyncio.create_task(watch(connection, stalls))
    try:
        yield stalls
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        connection.terminate()


async def watch(connection: asyncpg.Connection[asyncpg.Record], stalls: list[Stall]) -> None:
    while True:
        began = time.perf_counter()
        await connection.execute("insert into witness default values")
        if (ended := time.perf_counter()) - began >= STALL_SECONDS:
            stalls.append((began, ended))
        await asyncio.sleep(EVERY_SECONDS)


def outside(answers: Sequence[tuple[float, float]], stalls: Sequence[Stall]) -> list[float]:
    """Seconds of those answers that no stall held up."""
    return [took for due, took in answers if not any(due < to and since < due + took for since, to in stalls)]


def percentile(seconds: Sequence[float], share: float) -> float:
    """Units: milliseconds."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))]
