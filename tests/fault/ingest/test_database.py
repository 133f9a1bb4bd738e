"""The database in trouble under load: 503s and never a false 200, soon well again, and nothing lost.

Recovery is timed from the end of the trouble to fifty more acknowledged events; Stripe sends all the while.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import orjson
import pytest

from ingest.store import SCHEMA
from lab.stack import Stack, StackError, postgres, wire
from millrace import postgres as millrace_postgres
from tests.fault.ingest.test_faults import cut_sessions
from tests.fault.ingest.witness import Make, Stripe, account_for, business
from tests.integration.ingest.edge import Process, event, process_on, until
from tests.support.database import Database, MakeDatabase, databases

RECOVERY_SECONDS = 10.0
LOCKED_SECONDS = 30.0 if "FAULT_RUNS" in os.environ else 8.0
FROZEN_SECONDS = 10.0
SETTLED_SECONDS = 2.0  # by then the answers of what was committed before the trouble have been read
MEMORY_BYTES_MAX = 128 * 2**20  # more than before: what waits, and the bodies that are being read
HEAVY = 120  # connections that send large events meanwhile
PLACES = 3
MIB = 2**20


@dataclass
class Site:
    """The real process on a database, and Stripe that does not stop."""

    db: Database
    process: Process
    stripe: Stripe
    probes: httpx.AsyncClient

    async def is_ready(self) -> bool:
        return (await self.probes.get("/readyz")).status_code == 200

    async def is_not_ready(self) -> bool:
        return not await self.is_ready()

    def memory_bytes(self, what: str) -> int:
        """VmRSS now, VmHWM at its highest."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024

    async def recovers(self, trouble: str) -> None:
        """From now on within the deadline. The seconds are printed for whoever wants to know them."""
        since = time.monotonic()
        await self.stripe.more(50, RECOVERY_SECONDS)
        served = time.monotonic() - since
        await until(self.is_ready, RECOVERY_SECONDS - served)
        print(f"{trouble}: served after {served:.2f} s, ready after {time.monotonic() - since:.2f} s")  # noqa: T201

    async def has_lost_nothing(self) -> None:
        await self.stripe.finish()
        stored = await account_for(self.db, self.stripe.sent, list(self.stripe.acknowledged))
        assert stored == self.stripe.sent.keys()
        assert set(self.stripe.answers) <= {200, 503}
        assert all(heard.headers["retry-after"].isdigit() for heard in self.stripe.unavailable)
        assert self.process.process.returncode is None


@asynccontextmanager
async def site_on(db: Database, folder: Path, connections: int = 16, **more: str) -> AsyncIterator[Site]:
    [health_port] = wire.free_ports(1)
    async with (
        process_on(db, folder, health_port, **more) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{health_port}", timeout=30) as probes,
    ):
        stripe = Stripe(process.port, business("db"), again_seconds=0.2)
        async with stripe.sending(connections):
            site = Site(db, process, stripe, probes)
            await stripe.more(100)
            await until(site.is_ready)
            yield site


# --- servers of our own ---


@contextmanager
def folder_of_all() -> Iterator[Path]:
    """Where the server's own user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="millrace-fault-", dir="/var/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def server_in(folder: Path) -> Iterator[postgres.Server]:
    try:
        server = postgres.Server.new(folder, print)
    except StackError as problem:
        pytest.skip(f"no PostgreSQL of our own to kill: {problem}")
    server.start(print)
    try:
        yield server
    finally:
        server.kill()
        server.wipe()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with folder_of_all() as folder, server_in(folder) as server:
        yield server


@asynccontextmanager
async def database_on(server: postgres.Server) -> AsyncIterator[Database]:
    async with databases(Stack(server.address, kafka="", taken={}, brokers=0)) as make:
        yield await make(SCHEMA)


@asynccontextmanager
async def kept_running(server: postgres.Server) -> AsyncIterator[None]:
    """Whoever runs a database starts it again when it has gone, as often as it takes."""
    stopping = asyncio.Event()

    def start() -> None:
        with suppress(StackError):  # no room yet
            server.start(print)

    async def watch() -> None:
        while not stopping.is_set():
            if server.process() is None:
                await asyncio.to_thread(start)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        stopping.set()
        await watching


async def test_restarted_immediately_under_load_it_loses_nothing(
    server: postgres.Server, tmp_path: Path
) -> None:
    """`pg_ctl restart -m immediate`: no session is ended in order, and the log is replayed."""
    async with database_on(server) as db, site_on(db, tmp_path) as site:
        for _ in range(3):
            process = server.process()
            assert process
            assert await asyncio.to_thread(process.end, signal.SIGQUIT, within_seconds=10)
            await asyncio.to_thread(server.start, print)
            await site.recovers("restart")
        await site.has_lost_nothing()
        assert site.stripe.answers[503]


# --- a full disk ---


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 192 MiB."""
    with folder_of_all() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=192m,mode=0755", "millrace", folder],
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            pytest.skip(f"no disk of our own to fill: {mounted.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def fill(path: Path) -> None:
    """A file that takes all the room there is."""
    with path.open("wb", buffering=0) as ballast:
        for piece in (MIB, 4096):
            try:
                while ballast.write(bytes(piece)) == piece:
                    pass
            except OSError:
                continue


async def test_a_full_disk_is_told_as_503_and_forgotten_when_there_is_room(tmp_path: Path) -> None:
    """First no table can grow; then PostgreSQL cannot write its log, ends, and cannot even start."""
    with small_disk() as disk, server_in(disk) as server:
        async with database_on(server) as db, kept_running(server), site_on(db, tmp_path) as site:
            ballast = disk / "ballast"
            for in_its_log in (False, True):
                fill(ballast)
                await refused_more(site.stripe, 20)
                if in_its_log:
                    await log_full(server)
                    await refused_more(site.stripe, 50)
                acknowledged = len(site.stripe.acknowledged)
                ballast.unlink()
                await site.recovers(f"full disk, {'log' if in_its_log else 'tables'}")
                assert len(site.stripe.acknowledged) > acknowledged
            await site.has_lost_nothing()


async def refused_more(stripe: Stripe, answers: int) -> None:
    goal = stripe.answers[503] + answers

    async def refused() -> bool:
        return stripe.answers[503] >= goal

    await until(refused)


async def log_full(server: postgres.Server) -> None:
    """Have PostgreSQL begin a new piece of its log, for which there is no room: it panics."""
    before = server.pid

    async def gone() -> bool:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(server.address, timeout=2)
            try:
                await connection.execute("select pg_switch_wal()")
                await connection.execute("create table if not exists public.more (n int)")
            finally:
                connection.terminate()
        process = server.process()
        return process is None or process.pid != before or "PANIC" in server.log.read_text()

    await until(gone)


# --- a lock, a freeze, cut sessions ---


LETTERS = str.maketrans("0123456789", "ghijklmnop")  # digits would be looked at closely, for card numbers


def large(size: int) -> Make:
    """Events with bodies that zstd cannot make small."""

    def make(number: int) -> tuple[str, bytes]:
        id, note = f"evt_large_{number}", os.urandom(size // 2).hex().translate(LETTERS)
        thing = {"id": f"in_{number}", "object": "invoice", "customer": "cus_large", "note": note}
        return id, orjson.dumps(event(id, type="invoice.changed", data={"object": thing}))

    return make


@pytest.mark.timeout(120)
async def test_a_long_lock_is_told_as_503_and_held_in_bounded_memory(
    database: MakeDatabase, tmp_path: Path
) -> None:
    db = await database(SCHEMA)
    async with site_on(db, tmp_path, INGEST_QUEUE_BYTES_MAX=str(8 * MIB)) as site:
        memory = site.memory_bytes("VmRSS")
        heavy = Stripe(site.stripe.port, large(300_000), again_seconds=5.0, fresh=False)
        heavy.waiting.extend(heavy.event() for _ in range(HEAVY))
        async with heavy.sending(HEAVY), locked(db):
            await until(site.is_not_ready, 5)
            await asyncio.sleep(SETTLED_SECONDS)
            acknowledged = len(site.stripe.acknowledged)
            await not_ready_for(site, LOCKED_SECONDS - SETTLED_SECONDS)
            assert len(site.stripe.acknowledged) == acknowledged
            released = time.monotonic()
        await site.recovers("lock")
        assert all(at >= released for at in heavy.acknowledged.values())
        await account_for(db, heavy.sent, list(heavy.acknowledged))
        await site.has_lost_nothing()
        assert site.stripe.answers[503] and heavy.answers[503]
        grown = site.memory_bytes("VmHWM") - memory
        print(f"lock: {grown / MIB:.0f} MiB more at the most")  # noqa: T201
        assert grown < MEMORY_BYTES_MAX


async def not_ready_for(site: Site, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert await site.is_not_ready()
        await asyncio.sleep(0.5)


@asynccontextmanager
async def locked(db: Database) -> AsyncIterator[None]:
    owner = await asyncpg.connect(db.owner)
    try:
        async with owner.transaction():
            await owner.execute("lock table ingest.event_id in access exclusive mode")
            yield
    finally:
        await owner.close()


@pytest.mark.nightly
async def test_a_frozen_edge_goes_on_where_it_was(database: MakeDatabase, tmp_path: Path) -> None:
    async with site_on(await database(SCHEMA), tmp_path) as site:
        with frozen(site.process.process.pid):
            await asyncio.sleep(FROZEN_SECONDS)
        await site.recovers("frozen edge")
        await site.has_lost_nothing()


async def test_a_frozen_database_is_told_as_503(server: postgres.Server, tmp_path: Path) -> None:
    """Nothing is refused and nothing is answered: only deadlines tell."""
    async with database_on(server) as db, site_on(db, tmp_path) as site:
        process = server.process()
        assert process
        with frozen(process.pid, *(child.pid for child in process.children())):
            await until(site.is_not_ready, 5)
            await not_ready_for(site, FROZEN_SECONDS)  # also when nobody is left who has not been told
        await site.recovers("frozen database")
        await site.has_lost_nothing()
        assert site.stripe.answers[503]


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_sessions_cut_at_random_lose_nothing(database: MakeDatabase, tmp_path: Path) -> None:
    chance = random.Random(11)
    async with site_on(await database(SCHEMA), tmp_path) as site:
        cut = 0
        for _ in range(25):
            await asyncio.sleep(chance.uniform(0, 0.15))
            cut += await cut_sessions(site.db)
        assert cut >= 25
        await site.recovers("sessions cut")
        await site.has_lost_nothing()


async def test_a_pool_keeps_its_places_whenever_a_session_is_cut(database: MakeDatabase) -> None:
    """A statement that meets a session's farewell must not cost the pool a connection."""
    db = await database(SCHEMA)
    pool = await millrace_postgres.pool(db.dsn(SCHEMA), size=PLACES)
    owner = await asyncpg.connect(db.owner)
    async with asyncio.timeout(60):
        for turns in range(200):
            await cut_short(pool, owner, turns % 20)
        held = [await pool.acquire() for _ in range(PLACES)]
        assert [await connection.fetchval("select 1") for connection in held] == [1] * PLACES
    await asyncio.gather(*(pool.release(connection) for connection in held))
    await asyncio.gather(owner.close(), pool.close())


async def cut_short(pool: millrace_postgres.Pool, owner: millrace_postgres.Connection, turns: int) -> None:
    """A statement on a session that has just been cut; after so many turns of the loop, to meet its end anywhere."""
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        async with pool.acquire() as connection:
            await owner.execute("select pg_terminate_backend($1)", connection.get_server_pid())
            for _ in range(turns):
                await asyncio.sleep(0)
            await connection.fetchval("select 1")
