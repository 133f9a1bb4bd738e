"""The webhook edge under test: in this process on a real socket, or as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson

from ingest import store
from ingest.domain import Endpoint
from ingest.domain.signature import sign
from ingest.http import Commit, Server, Webhook, application
from ingest.jobs import GroupCommit
from millrace import postgres
from millrace.clock import FrozenClock
from tests.support.database import Database

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
SECRET, OLD_SECRET = b"whsec_new", b"whsec_old"
ACCOUNT = "acct_1Edge"
ENDPOINTS = {
    "main": Endpoint("main", ACCOUNT, False, "2026-10-28.endive", (SECRET, OLD_SECRET)),
    "live": Endpoint("live", "acct_1Live", True, "2026-10-28.endive", (b"whsec_live",)),
}


def event(id: str = "evt_1", **changes: Any) -> dict[str, Any]:
    """A snapshot event in the current shape; `None` removes a field."""
    whole = {
        "id": id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": AT - 2,
        "data": {"object": {"id": "in_1", "object": "invoice", "customer": "cus_1", "amount_due": 2900}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "invoice.paid",
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


def body_of(id: str = "evt_1", **changes: Any) -> bytes:
    return orjson.dumps(event(id, **changes))


@dataclass
class Edge:
    """A running edge, and ways to post to it and to look behind it."""

    port: int
    db: Database
    client: httpx.AsyncClient
    commits: GroupCommit | None = None

    async def post(
        self,
        raw: bytes,
        *,
        path: str = "/webhooks/stripe/main",
        signature: str | bytes | None = "",
        at: int = AT,
        secret: bytes = SECRET,
        **headers: str,
    ) -> httpx.Response:
        """POST with Stripe's signature, unless another one, or None, is given."""
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if signature is not None:
            signature = signature or sign(raw, secret, at)
            given.append(
                (b"stripe-signature", signature if isinstance(signature, bytes) else signature.encode())
            )
        return await self.client.post(path, content=raw, headers=given)

    async def rows(self, query: str, *args: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.db.owner)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def stored(self) -> list[str]:
        return [r["id"] for r in await self.rows("select id from ingest.event order by id")]

    async def published(self) -> list[str]:
        """Ids in the outbox, in the order of publication."""
        rows = await self.rows("select headers->>'ce_id' as id from outbox.event order by event.id")
        return [row["id"] for row in rows]


@asynccontextmanager
async def edge_on(
    db: Database,
    *,
    wrap: Callable[[GroupCommit], Commit] = lambda commits: commits.commit,
    body_bytes_max: int = 2**20,
    body_seconds_max: float = 10.0,
    events_max: int = 2000,
    bytes_max: int = 64 * 2**20,
    seconds_max: float = 8.0,
    pool_seconds: float = 10.0,
    pool_size: int = 2,
) -> AsyncIterator[Edge]:
    """The edge in this process; `wrap` may put something between the door and the group commit."""
    pool = await postgres.pool(db.dsn(store.SCHEMA), size=pool_size, timeout_seconds=pool_seconds)
    stop = asyncio.Event()
    commits = GroupCommit(pool, events_max=events_max, bytes_max=bytes_max, seconds_max=seconds_max)
    webhook = Webhook(ENDPOINTS, wrap(commits), FrozenClock(NOW), body_bytes_max, body_seconds_max)
    server = Server(application(webhook), "127.0.0.1", 0, commits.close)
    tasks = [asyncio.create_task(part.run(stop)) for part in (server, commits)]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            yield Edge(server.port, db, client, commits)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(pool.close(), 5)


@dataclass
class Process:
    """`python -m ingest`, started by a test."""

    process: asyncio.subprocess.Process
    port: int
    health_port: int
    listening: asyncio.Future[int]
    log: list[dict[str, Any]] = field(default_factory=list)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 30)


ENDPOINTS_FILE = f"""
main:
  account: {ACCOUNT}
  livemode: false
  secrets:
    - env: TEST_WEBHOOK_SECRET
"""


@asynccontextmanager
async def process_on(db: Database, folder: Path, health_port: int = 0) -> AsyncIterator[Process]:
    """The real process with the real clock, on a free port that its log tells."""
    (folder / "endpoints.yaml").write_text(ENDPOINTS_FILE)
    settings = {
        "INGEST_DATABASE": db.dsn(store.SCHEMA),
        "INGEST_ENDPOINTS": str(folder / "endpoints.yaml"),
        "INGEST_PORT": "0",
        "INGEST_HEALTH_PORT": str(health_port),
        "INGEST_HEALTH_HOST": "127.0.0.1",
        "TEST_WEBHOOK_SECRET": SECRET.decode(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingest", env={**os.environ, **settings}, stderr=asyncio.subprocess.PIPE
    )
    running = Process(process, 0, health_port, asyncio.get_running_loop().create_future())
    reading = asyncio.create_task(_follow(running))
    try:
        running.port = await asyncio.wait_for(running.listening, 20)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _follow(running: Process) -> None:
    """Keep the log, and tell the port when the log tells it."""
    assert running.process.stderr
    async for line in running.process.stderr:
        running.log.append(_line(line))
        if running.log[-1]["message"] == "listening":
            running.listening.set_result(running.log[-1]["port"])
    if not running.listening.done():
        running.listening.set_exception(AssertionError(f"ingest ended: {running.log}"))


def _line(raw: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw.decode()}
    return found


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 a database gives no signal
            await asyncio.sleep(0.01)
