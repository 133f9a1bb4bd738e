"""Everything that is measured at the door, in the same way: a server under the load of another process.

    serve      starts the servers of a lane on a database, and says on which ports, in which processes
    measure    one run: what was answered, how soon, and the CPU of the servers and of PostgreSQL

A run counts only if every answer was 200 and the database holds as many events as were answered.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from ingest.store import SCHEMA
from lab.stack.jars import CHECKOUT
from tests.bench import ingest_cpu
from tests.bench.ingest_body import ACCOUNT, SECRET
from tests.bench.ingest_load import Plan
from tests.support.database import Database

START_SECONDS = 60
PEER = Path(__file__).parent / "peers" / "sync_engine"
INSTALLED = CHECKOUT / ".millrace" / "bench" / "peers" / "sync_engine"
POLICY = CHECKOUT / "schemas" / "sealing.yaml"

_runs = count(1)


@dataclass(frozen=True, slots=True)
class Serving:
    """Servers that take requests."""

    ports: tuple[int, ...]
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """One way to serve. `stored` counts what its database holds."""

    serve: Callable[[Database, Path], AbstractAsyncContextManager[Serving]]
    stored: str
    events: int = 12_000  # prepared for each second; more than it answers
    customers: int = 2000
    warm: int = 2000  # so that every customer has been seen


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. Units: seconds; of CPU where the name says so; answers as (when it was due, how long)."""

    events: int
    seconds: float
    server_cpu: float
    postgres_cpu: float
    generator_cpu: float
    answers: list[tuple[float, float]]

    @property
    def rate(self) -> float:
        return self.events / self.seconds

    @property
    def server_us(self) -> float:
        """CPU of the servers per event."""
        return 1e6 * self.server_cpu / self.events

    @property
    def postgres_us(self) -> float:
        """CPU of the whole PostgreSQL per event."""
        return 1e6 * self.postgres_cpu / self.events

    @property
    def generator_us(self) -> float:
        return 1e6 * self.generator_cpu / self.events


async def run(lane: Lane, db: Database, folder: Path, *, seconds: float) -> Figures:
    """One closed loop against fresh servers on a database of their own."""
    async with lane.serve(db, folder) as serving:
        plan = Plan(
            serving.ports, events=int(lane.events * seconds), warm=lane.warm, seconds=seconds,
            customers=lane.customers,
        )  # fmt: skip
        figures = await measure(serving, db, plan)
    await insist_on_stored(db, lane, plan.warm + figures.events)
    return figures


async def sample(db: Database) -> tuple[bytes, bytes]:
    """What one event of ours left behind: its stored and its published bytes."""
    connection = await asyncpg.connect(db.owner)
    try:
        row = await connection.fetchrow(SAMPLE)
    finally:
        await connection.close()
    assert row
    return row["raw"], row["payload"]


async def measure(serving: Serving, db: Database, plan: Plan) -> Figures:
    """The load of a plan, and what it cost. Raises: AssertionError when an answer was not 200."""
    postmaster = await ingest_cpu.postmaster(db.owner)
    async with generator(replace(plan, run=next(_runs))) as go:
        server, postgres = ingest_cpu.used(serving.pids), ingest_cpu.used_by_tree(postmaster)
        seen = await go()
        server, postgres = (
            ingest_cpu.used(serving.pids) - server,
            ingest_cpu.used_by_tree(postmaster) - postgres,
        )
    return Figures(
        seen["events"], seen["seconds"], server, postgres, seen["generator_seconds"], seen["answers"]
    )


@asynccontextmanager
async def generator(plan: Plan) -> AsyncIterator[Callable[[], Any]]:
    """A generator, prepared and warm; call what it yields to start it and to have its answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.ingest_load", json.dumps(asdict(plan)), cwd=CHECKOUT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin and process.stdout
    stdin, stdout = process.stdin, process.stdout

    async def go() -> dict[str, Any]:
        stdin.write(b"go\n")
        said = await stdout.read()
        assert said, "the load ended early; its reason stands above"
        found: dict[str, Any] = json.loads(said)
        return found

    try:
        said = await asyncio.wait_for(stdout.readline(), START_SECONDS)
        assert said == b"ready\n", "the generator ended before it began; its reason stands above"
        yield go
        stdin.close()  # and whoever was never started ends
        await asyncio.wait_for(process.wait(), START_SECONDS)
    finally:
        await ended(process)


async def insist_on_stored(db: Database, lane: Lane, answered: int) -> None:
    """A lane that answers without having stored would win every race."""
    connection = await asyncpg.connect(db.owner)
    try:
        stored = await connection.fetchval(lane.stored)
    finally:
        await connection.close()
    assert stored == answered, f"{answered} events were answered and {stored} are stored"


@asynccontextmanager
async def listening(
    *command: object, environment: Mapping[str, str] | None = None, cwd: Path = CHECKOUT
) -> AsyncIterator[Serving]:
    """A server as a process: it says where it listens by a line of JSON, and ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, env={**os.environ, **(environment or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout
    lines = process.stdout
    draining: asyncio.Task[None] | None = None
    try:
        port = await asyncio.wait_for(_port(lines), START_SECONDS)
        draining = asyncio.create_task(_drain(lines))
        yield Serving((port,), (process.pid,))
    finally:
        await ended(process)
        if draining:
            await draining


async def _port(lines: asyncio.StreamReader) -> int:
    said = []
    async for line in lines:
        said.append(line.decode())
        if b'"listening"' in line:
            return int(json.loads(line)["port"])
    raise AssertionError("the server ended instead of listening:\n" + "".join(said))


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.read(2**16):
        pass


async def ended(process: asyncio.subprocess.Process) -> None:
    """Asked to stop unless it has stopped by itself, and waited for."""
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 30)
    except TimeoutError:
        process.kill()
        await process.wait()


# --- ours ---

ENDPOINTS = f"""
main:
  account: {ACCOUNT}
  livemode: false
  secrets:
    - env: BENCH_WEBHOOK_SECRET
"""


def settings(db: Database, folder: Path) -> dict[str, str]:
    """The edge as it is deployed, on a free port; a key-encryption key of its own. Writes: into the folder."""
    (folder / "endpoints.yaml").write_text(ENDPOINTS)
    key = folder / "keys" / "0001.key"
    if not key.exists():
        key.parent.mkdir(mode=0o700)
        key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
        key.chmod(0o400)
    return {
        "INGEST_DATABASE": db.dsn(SCHEMA),
        "INGEST_ENDPOINTS": str(folder / "endpoints.yaml"),
        "INGEST_KEYS": f"files:{key.parent}",
        "INGEST_SEALING": str(POLICY),
        "INGEST_PORT": "0",
        "INGEST_HEALTH_PORT": "0",
        "BENCH_WEBHOOK_SECRET": SECRET.decode(),
    }


def ours(db: Database, folder: Path) -> AbstractAsyncContextManager[Serving]:
    """`python -m ingest`."""
    return listening(sys.executable, "-m", "ingest", environment=settings(db, folder))


def unsealed(db: Database, folder: Path) -> AbstractAsyncContextManager[Serving]:
    """The same, and nothing is sealed: only the bench can do that."""
    return listening(sys.executable, "-m", "tests.bench.ingest_unsealed", environment=settings(db, folder))


@asynccontextmanager
async def two_of_ours(db: Database, folder: Path) -> AsyncIterator[Serving]:
    """Two processes, a port each, one database."""
    async with AsyncExitStack() as both:
        a, b = [await both.enter_async_context(ours(db, folder)) for _ in range(2)]
        yield Serving(a.ports + b.ports, a.pids + b.pids)


# --- others ---


def usual(db: Database, _: Path) -> AbstractAsyncContextManager[Serving]:
    return listening(sys.executable, "-m", "tests.bench.ingest_usual", db.owner)


@asynccontextmanager
async def sync_engine(db: Database, _: Path) -> AsyncIterator[Serving]:
    """@supabase/stripe-sync-engine in node, migrated."""
    await install_peer()
    secret = SECRET.decode()
    async with listening("node", "server.cjs", db.owner, secret, cwd=INSTALLED) as serving:
        yield serving


async def install_peer() -> None:
    """The peer as its lock file has it; once. Raises: AssertionError when it cannot be had here."""
    for name in ("node", "npm"):
        assert shutil.which(name), f"the peer needs {name}: install Node.js 20 or later"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("server.cjs", "package.json", "package-lock.json"):
        shutil.copy(PEER / name, INSTALLED)
    installed, wanted = INSTALLED / "node_modules" / "of-lock.json", PEER / "package-lock.json"
    if installed.exists() and installed.read_bytes() == wanted.read_bytes():
        return
    await npm_ci()
    shutil.copy(wanted, installed)


async def npm_ci() -> None:
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    process = await asyncio.create_subprocess_exec(
        *words, cwd=INSTALLED, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, f"the peer could not be installed:\n{out.decode()[-1000:]}"


SAMPLE = """
select raw, payload from ingest.event join outbox.event as published on published.headers->>'ce_id' = event.id limit 1
"""
OURS_STORED = "select least((select count(*) from ingest.event), (select count(*) from outbox.event))"
USUAL_STORED = "select least((select count(*) from event), (select count(*) from published))"
PEER_STORED = "select count(*) from stripe.invoices"

LANES: dict[str, Lane] = {
    "ours": Lane(ours, OURS_STORED),
    "ours, two processes": Lane(two_of_ours, OURS_STORED),
    "ours, every customer new": Lane(ours, OURS_STORED, customers=10**9),
    "ours, unsealed": Lane(unsealed, OURS_STORED),
    "a transaction a request": Lane(usual, USUAL_STORED, events=6000),
    "sync engine": Lane(sync_engine, PEER_STORED, events=4000, warm=1000),
}
