"""The webhook edge under test: in this process on a real socket, or as a process of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import asyncpg
import httpx
import orjson
from zstandard import ZstdDecompressor

from ingest import store
from ingest.custody import Custody
from ingest.domain import Endpoint, Secret
from ingest.domain.signature import sign
from ingest.door import Limits, Server
from ingest.http import Told, Webhook
from ingest.jobs import GroupCommit
from millrace import postgres
from millrace.clock import FrozenClock
from millrace.sealing import Files, Keys, Policy, key_id, new_key
from tests.support.database import Database

POLICY = Path(__file__).parents[3] / "schemas" / "sealing.yaml"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
SECRET, OLD_SECRET = b"whsec_new", b"whsec_old"
ACCOUNT = "acct_1Edge"
ENDPOINTS = {
    "main": Endpoint(
        "main", ACCOUNT, False, "2026-10-28.endive", (Secret("new", SECRET), Secret("old", OLD_SECRET))
    ),
    "live": Endpoint("live", "acct_1Live", True, "2026-10-28.endive", (Secret("live", b"whsec_live"),)),
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

    async def raw(self, id: str) -> bytes:
        """The body of a stored event as it came, opened."""
        [row] = await self.rows("select account, raw from ingest.event where id = $1", id)
        async with opening(self.db) as keys:
            [key] = (await keys.by_id([key_id(row["raw"])])).values()
        return store.raw_bytes(row["account"], id, key, row["raw"])

    async def payload(self, id: str) -> bytes:
        """What readers of the topic get of an event, sealed fields and all."""
        [row] = await self.rows("select payload, unpacked from outbox.event where headers->>'ce_id' = $1", id)
        unpacked = ZstdDecompressor().decompress(row["payload"])
        assert len(unpacked) == row["unpacked"]
        return unpacked

    async def published(self) -> list[str]:
        """Ids in the outbox, in the order of publication."""
        rows = await self.rows("select headers->>'ce_id' as id from outbox.event order by event.id")
        return [row["id"] for row in rows]


Offer = Callable[[store.Row, Told], None]


@asynccontextmanager
async def edge_on(
    db: Database,
    *,
    wrap: Callable[[GroupCommit], Offer] = lambda commits: commits.offer,
    limits: Limits = Limits(),  # noqa: B008 frozen
    events_max: int = 2000,
    bytes_max: int = 64 * 2**20,
    seconds_max: float = 8.0,
    pool_seconds: float = 10.0,
    pool_size: int = 3,
    policy: Policy | None = None,
) -> AsyncIterator[Edge]:
    """The edge in this process; `wrap` may put something between the door and the group commit."""
    pool = await postgres.pool(db.dsn(store.SCHEMA), size=pool_size, timeout_seconds=pool_seconds)
    stop = asyncio.Event()
    commits = GroupCommit(pool, events_max=events_max, bytes_max=bytes_max, seconds_max=seconds_max)
    policy = policy or Policy.read(POLICY)
    custody = Custody(Keys(pool, Files(key_folder())), lambda: policy)
    webhook = Webhook(
        ENDPOINTS, custody, wrap(commits), FrozenClock(NOW), body_bytes_max=limits.body_bytes_max
    )
    server = Server(webhook, "127.0.0.1", 0, commits.close, limits=limits)
    tasks = [asyncio.create_task(part.run(stop)) for part in (server, commits)]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            yield Edge(server.port, db, client, commits)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(pool.close(), 5)


@asynccontextmanager
async def opening(db: Database) -> AsyncIterator[Keys]:
    """The data keys of a database, as somebody sees them who may open what they seal."""
    pool = await postgres.pool(db.owner, size=1)
    try:
        yield Keys(pool, Files(key_folder()))
    finally:
        await pool.close()


@cache
def key_folder() -> Path:
    """A folder with one key-encryption key, for this run of the tests."""
    folder = Path(mkdtemp(prefix="millrace-keys-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    new_key(folder)
    return folder


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


def settings_of(db: Database, folder: Path, **more: str) -> dict[str, str]:
    """The environment of a process on this database; `more` are variables of one's own. Writes: its endpoints."""
    (folder / "endpoints.yaml").write_text(ENDPOINTS_FILE)
    return {
        "INGEST_DATABASE": db.dsn(store.SCHEMA),
        "INGEST_ENDPOINTS": str(folder / "endpoints.yaml"),
        "INGEST_KEYS": f"files:{key_folder()}",
        "INGEST_SEALING": str(POLICY),
        "INGEST_PORT": "0",
        "INGEST_HEALTH_HOST": "127.0.0.1",
        "TEST_WEBHOOK_SECRET": SECRET.decode(),
        **more,
    }


@asynccontextmanager
async def process_on(db: Database, folder: Path, health_port: int = 0, **more: str) -> AsyncIterator[Process]:
    """The real process with the real clock, on a free port that its log tells."""
    settings = settings_of(db, folder, INGEST_HEALTH_PORT=str(health_port), **more)
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
