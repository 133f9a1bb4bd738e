"""SIGKILL at every point of a request's way, FAULT_RUNS seeds (16): what was acknowledged is there, once, and opens.

The edge dies at a point before, in or after a commit; Stripe sends what was not acknowledged to the next one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import asyncpg
import orjson
import pytest
import pytest_asyncio

from ingest.store import SCHEMA
from lab.stack import Stack, wire
from tests.fault.ingest.dying import POINTS
from tests.fault.ingest.witness import CURSED, Stripe, account_for, business
from tests.integration.ingest.edge import settings_of
from tests.support.database import Database, databases

SEEDS = int(os.environ.get("FAULT_RUNS", "16"))
DEATH_SECONDS = 20.0  # within which the point is passed
AGAIN = "\nagain: .venv/bin/python -m pytest 'tests/fault/ingest/test_crash_points.py' -k 'seed{seed}-'\n"


@dataclass
class Edges:
    """One edge after the other, always at the same port."""

    db: Database
    folder: Path
    process: subprocess.Popen[bytes]
    port: int

    @asynccontextmanager
    async def life(self, **dying: object) -> AsyncIterator[Life]:
        more = {name.upper(): str(value) for name, value in dying.items()}
        environment = settings_of(
            self.db, self.folder, INGEST_PORT=str(self.port), INGEST_HEALTH_PORT="0", **more
        )
        into, out = _pipes(self.process)
        into.write(orjson.dumps(environment, option=orjson.OPT_APPEND_NEWLINE))
        into.flush()
        life = Life(
            int(await asyncio.to_thread(out.readline)), asyncio.create_task(asyncio.to_thread(out.readline))
        )
        try:
            yield life
        finally:
            if not life.end.done():
                with suppress(ProcessLookupError):
                    os.kill(life.pid, signal.SIGKILL)
            await life.end


@dataclass
class Life:
    """An edge that runs, and later how it ended."""

    pid: int
    end: asyncio.Task[bytes]

    async def ended(self) -> int:
        async with asyncio.timeout(DEATH_SECONDS):
            return int(await asyncio.shield(self.end))


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin and process.stdout
    return process.stdin, process.stdout


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def db(stack: Stack) -> AsyncIterator[Database]:
    async with databases(stack) as make:
        yield await make(SCHEMA)


@pytest.fixture(scope="module")
def edges(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    folder = tmp_path_factory.mktemp("edges")
    [port] = wire.free_ports(1)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.fault.ingest.dying"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        yield Edges(db, folder, process, port)
        _pipes(process)[0].close()


@asynccontextmanager
async def cursed(db: Database) -> AsyncIterator[None]:
    """While this lasts the database refuses one kind of event, and a batch that holds one goes row by row."""
    await execute(
        db, f"alter table ingest.event add constraint cursed check (object_id <> '{CURSED}') not valid"
    )
    try:
        yield
    finally:
        await execute(db, "alter table ingest.event drop constraint cursed")


async def execute(db: Database, statement: str) -> None:
    owner = await asyncpg.connect(db.owner)
    try:
        await owner.execute(statement)
    finally:
        await owner.close()


async def die(edges: Edges, stripe: Stripe, point: str, chance: random.Random) -> None:
    """A life until its death at a point; what it leaves behind is whole."""
    passage = chance.randint(1, 40 if point == "between_answers" else 4)
    after = chance.uniform(0, 0.005)
    async with cursed(edges.db) if point.endswith("row") else nullcontext():
        async with edges.life(die_at=point, die_at_passage=passage, die_after_seconds=after) as life:
            assert await life.ended() == -signal.SIGKILL
        acknowledged = list(stripe.acknowledged)
        stored = await account_for(edges.db, dict(stripe.sent), acknowledged)
    if point in ("after_commit", "after_row"):
        assert stored - set(acknowledged)  # else it had been answered before


@pytest.mark.parametrize(
    "seed", [pytest.param(n, id=f"seed{n}-{POINTS[n % len(POINTS)]}") for n in range(SEEDS)]
)
async def test_killed_at_any_point_it_has_kept_what_it_acknowledged(
    edges: Edges, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    print(AGAIN.format(seed=seed))  # noqa: T201 shown with a failure
    chance = random.Random(seed)
    points = [POINTS[seed % len(POINTS)], *chance.choices(POINTS, k=seed % 4 == 3)]
    stripe = Stripe(edges.port, business(f"{seed}"))
    async with stripe.sending(chance.choice([4, 8, 16])):
        for point in points:
            await die(edges, stripe, point, chance)
        async with edges.life():
            await stripe.finish()
    stored = await account_for(edges.db, stripe.sent, list(stripe.acknowledged))
    assert stored == stripe.sent.keys()
