"""PostgreSQL under the relay is another one afterwards: a promoted standby, with and without every commit, or a
cluster into which a dump was restored. Each test has servers of its own.

A consumer in a third database stands for everybody downstream: whatever is published again, it applies nothing twice.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from lab.stack import Stack, StackError, postgres, programs
from lab.stack.process import as_user
from lab.stack.users import own_folder
from millrace import outbox
from millrace import postgres as pg
from millrace.consumer import Consumer
from millrace.outbox import Message
from millrace.postgres import Connection
from outbox_relay.commands import position
from outbox_relay.commands.office import Refused, Site
from outbox_relay.commands.steering import Move, To, rebase
from outbox_relay.domain.lane import Lane
from tests.integration.outbox_relay.arena import INSERT, Account, Arena, RelayProcess, until
from tests.integration.outbox_relay.writers import Writers
from tests.support import tally
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic

HALTED = 3
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the servers' own user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="millrace-failover-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def servers(folder: Path) -> AsyncIterator[list[postgres.Server]]:
    """The first one runs, with an outbox; the second was never started."""
    try:
        both = [postgres.Server.new(folder / name, print) for name in ("one", "other")]
    except StackError as problem:
        pytest.skip(f"no PostgreSQL of our own to lose: {problem}")
    await asyncio.to_thread(both[0].start, print)
    await pg.migrate(both[0].address, outbox.SCHEMA)
    yield both
    for server in both:
        await asyncio.to_thread(server.kill)
        server.wipe()


@pytest.fixture
async def it(stack: Stack, servers: list[postgres.Server], topics: MakeTopic) -> Arena:
    return Arena(
        owner=servers[0].address,
        kafka=stack.kafka,
        topic=await topics("billing", partitions=3),
        cursor=await topics("cursor", partitions=1, config={"cleanup.policy": "compact"}),
        overrides={"page_rows": 20},
    )


def run(server: postgres.Server, program: str, *words: str, feed: bytes | None = None) -> bytes:
    """One of PostgreSQL's own programs, as the servers' user."""
    path = programs.postgres(print).folder / program
    done = subprocess.run([path, *words], input=feed, capture_output=True, cwd="/", **as_user(server.user))
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return done.stdout


async def execute(address: str, *statements: str) -> None:
    connection = await asyncpg.connect(address)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def stands_by(servers: list[postgres.Server], *, synchronous: bool) -> None:
    """The second server follows the first; every commit waits for it, or none does."""
    first, second = servers
    own_folder(second.home, second.user)
    target = second.home / "data"
    words = (f"--dbname={first.address}", f"--pgdata={target}", "--write-recovery-conf", "--checkpoint=fast")
    await asyncio.to_thread(run, second, "pg_basebackup", *words)
    await asyncio.to_thread(second.start, print)
    if synchronous:
        wanted = "alter system set synchronous_standby_names = '*'"
        await execute(first.address, wanted, "select pg_reload_conf()")
    await until(lambda: followed(first, "sync" if synchronous else "async"))


async def followed(first: postgres.Server, how: str) -> bool:
    connection = await asyncpg.connect(first.address)
    states = await connection.fetch("select sync_state from pg_stat_replication where state = 'streaming'")
    await connection.close()
    return [row["sync_state"] for row in states] == [how]


async def fail_over(it: Arena, servers: list[postgres.Server]) -> None:
    """The first server dies, the second takes its place, and everybody is told its address."""
    await asyncio.to_thread(servers[0].kill)
    await execute(servers[1].address, "select pg_promote()", "alter system reset synchronous_standby_names")
    it.owner = servers[1].address


async def halted(it: Arena, log: Path) -> str:
    """A relay that starts here refuses, and says why."""
    relay = await RelayProcess.start(it, log)
    assert await relay.ended(60) == HALTED
    return str(relay.logged()[-1]["message"])


async def moved(it: Arena, to: To) -> Move:
    async def nobody(_: Connection) -> None:
        return None

    return await rebase(Site(it.owner, it.kafka, it.cursor), Lane(), to, nobody)


@asynccontextmanager
async def relaying(it: Arena, log: Path) -> AsyncIterator[RelayProcess]:
    relay = await RelayProcess.start(it, log)
    yield relay
    await relay.kill()


async def test_a_synchronous_standby_takes_over_in_the_middle_of_a_window(
    it: Arena, servers: list[postgres.Server], tmp_path: Path
) -> None:
    """It stands still until a person says that no commit was lost; then nothing is lost or doubled."""
    await stands_by(servers, synchronous=True)
    writers = Writers(it, seed=16)
    work = asyncio.create_task(writers.run(8))
    async with relaying(it, tmp_path / "before.log"):
        await it.published(200, deadline_seconds=90)
        await many(it, rows=3000)
        await until(lambda: in_a_window(it))
        await fail_over(it, servers)
        await asyncio.gather(work, return_exceptions=True)  # what a dying server makes of its sessions
    assert await in_a_window(it), "it ended before it was killed: this proved less than it says"
    words = await halted(it, tmp_path / "halted.log")
    assert "another timeline (2, not 1)" in words
    assert "`millrace relay rebase --lane main --republish`" in words
    assert "`--continue`" in words
    assert (await moved(it, To.CONTINUE)).cursor.generation == 1
    await it.insert(rows=50)
    async with relaying(it, tmp_path / "after.log"):
        await it.published(deadline_seconds=90)
    account = await it.account()
    assert account == Account(rows=account.rows)


async def in_a_window(it: Arena) -> bool:
    left = await position(it.kafka, it.cursor)
    return bool(left and left.position.window and left.position.last_id)


async def many(it: Arena, rows: int) -> None:
    """At once, and in turn with the writers: a key's rows are inserted under its lock."""
    async with it.connection() as connection, connection.transaction():
        for key in range(5):
            await connection.execute("select pg_advisory_xact_lock(7, $1)", key)
        await connection.execute(INSERT, it.topic, rows, 5)


@dataclass
class Downstream:
    """A consumer in a database that nobody loses."""

    it: Arena
    pool: pg.Pool

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        consumer = Consumer(
            tally.fold(), topics=[self.it.topic], pool=self.pool, kafka=self.it.kafka, instance="0"
        )
        consumer.name = f"tally-{self.it.topic}"
        stop = asyncio.Event()
        work = asyncio.create_task(consumer.run(stop))
        yield
        stop.set()
        await work

    async def applied(self) -> list[str]:
        rows = await self.pool.fetch("select applied from tally.tally")
        return sorted(name for row in rows for name in row["applied"])

    async def has_applied(self, *names: str) -> None:
        async with self.consuming():
            await until(lambda: self._has(names), 60)
        assert await self.applied() == sorted(names)

    async def _has(self, names: tuple[str, ...]) -> bool:
        return set(await self.applied()) >= set(names)


@pytest.fixture
async def downstream(it: Arena, database: MakeDatabase) -> AsyncIterator[Downstream]:
    db = await database(tally.SCHEMA)
    pool = await pg.pool(db.dsn(tally.SCHEMA))
    yield Downstream(it, pool)
    await pool.close()


async def happened(it: Arena, *names: str) -> None:
    """Each event in a transaction of its own."""
    async with it.connection() as connection:
        await pg.prepare(connection)
        for name in names:
            async with connection.transaction():
                await outbox.publish(connection, [Message(it.topic, tally.event("add", name))])


async def relayed(it: Arena, log: Path, records: int) -> None:
    async with relaying(it, log):
        await it.published(records, deadline_seconds=90)


async def test_a_standby_without_the_last_commits_is_published_anew_and_applied_once(
    it: Arena, servers: list[postgres.Server], downstream: Downstream, tmp_path: Path
) -> None:
    """Two events were published and lost; others get their numbers. No reader can be told, but nothing doubles."""
    await stands_by(servers, synchronous=False)
    await happened(it, "kept-1", "kept-2")
    await execute(servers[0].address, "select pg_switch_wal()")
    await until(lambda: caught_up(servers))
    await execute(servers[1].address, "alter system set primary_conninfo = ''", "select pg_reload_conf()")
    await until(lambda: unfollowed(servers[0]))
    await happened(it, "lost-1", "lost-2")
    await relayed(it, tmp_path / "before.log", 4)
    await fail_over(it, servers)
    words = await halted(it, tmp_path / "halted.log")
    assert "another timeline (2, not 1)" in words
    assert "--continue" not in words  # fewer transactions than were published
    with pytest.raises(Refused, match="--republish"):
        await moved(it, To.CONTINUE)
    await happened(it, "new-1", "new-2", "new-3")
    await execute(it.owner, SPENT)  # by now every number that was lost has been given out again
    with pytest.raises(Refused, match="rows that were published last are not in this database"):
        await moved(it, To.CONTINUE)
    assert (await moved(it, To.REPUBLISH)).cursor.generation == 1
    await relayed(it, tmp_path / "after.log", 4 + 5)
    account = await it.account()
    assert (account.lost, account.gaps) == (0, 0)
    await downstream.has_applied("kept-1", "kept-2", "lost-1", "lost-2", "new-1", "new-2", "new-3")


async def caught_up(servers: list[postgres.Server]) -> bool:
    first, second = [await asyncpg.connect(server.address) for server in servers]
    end = await first.fetchval("select pg_current_wal_lsn()")
    there = await second.fetchval("select pg_last_wal_replay_lsn() >= $1", end)
    await first.close()
    await second.close()
    return bool(there)


async def unfollowed(first: postgres.Server) -> bool:
    connection = await asyncpg.connect(first.address)
    count = await connection.fetchval("select count(*) from pg_stat_replication")
    await connection.close()
    return bool(count == 0)


async def test_a_dump_in_a_new_cluster_is_published_anew_and_applied_once(
    it: Arena, servers: list[postgres.Server], downstream: Downstream, tmp_path: Path
) -> None:
    """A dump keeps the numbers of the old cluster's transactions, which the new one has not reached: its snapshots
    see none of the rows."""
    await execute(servers[0].address, SPENT)
    await happened(it, "old-1", "old-2", "old-3")
    dump = await asyncio.to_thread(dumped, servers[0])
    await happened(it, "gone")
    await relayed(it, tmp_path / "before.log", 4)
    await asyncio.to_thread(servers[0].kill)
    await asyncio.to_thread(restored, servers[1], dump)
    it.owner = servers[1].address
    assert await visible(it) == 0
    words = await halted(it, tmp_path / "halted.log")
    assert words.startswith("halted: 3 rows of the outbox are of transactions that this PostgreSQL cluster")
    with pytest.raises(Refused, match="another PostgreSQL cluster"):
        await moved(it, To.CONTINUE)
    await happened(it, "new-1", "new-2")
    assert (await moved(it, To.REPUBLISH)).restored == 3
    assert await visible(it) == 5
    await relayed(it, tmp_path / "after.log", 4 + 5)
    account = await it.account()
    assert (account.lost, account.gaps) == (0, 0)
    await downstream.has_applied("gone", "new-1", "new-2", "old-1", "old-2", "old-3")


SPENT = "do $$ begin for n in 1..5000 loop perform pg_current_xact_id(); commit; end loop; end $$"


def dumped(server: postgres.Server) -> bytes:
    roles = run(server, "pg_dumpall", f"--dbname={server.address}", "--roles-only")
    return roles.replace(b"CREATE ROLE postgres;", b"") + run(server, "pg_dump", f"--dbname={server.address}")


def restored(server: postgres.Server, dump: bytes) -> None:
    server.start(print)
    run(server, "psql", f"--dbname={server.address}", "--set=ON_ERROR_STOP=1", "--quiet", feed=dump)


async def visible(it: Arena) -> int:
    async with it.connection() as connection:
        seen = "select count(*) from outbox.event where pg_visible_in_snapshot(xid, pg_current_snapshot())"
        return int(await connection.fetchval(seen))
