"""The servers die under the relay. Each test has a server of its own to kill."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import StackError, kafka, postgres
from millrace import outbox
from millrace.postgres import migrate
from outbox_relay import store
from outbox_relay.domain.cursor import Position
from outbox_relay.domain.page import Row
from tests.integration.outbox_relay.arena import Account, Arena, RelayProcess
from tests.integration.outbox_relay.writers import INSERT, Writers
from tests.support.database import MakeDatabase


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the server's own user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="millrace-fault-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def broker(folder: Path) -> AsyncIterator[kafka.Cluster]:
    try:
        cluster = kafka.Cluster.new(folder, 1, print)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own to kill: {problem}")
    await asyncio.to_thread(cluster.start, print)
    yield cluster
    await asyncio.to_thread(cluster.brokers[0].kill)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[postgres.Server]:
    try:
        server = postgres.Server.new(folder, print)
    except StackError as problem:
        pytest.skip(f"no PostgreSQL of our own to kill: {problem}")
    await asyncio.to_thread(server.start, print)
    yield server
    await asyncio.to_thread(server.kill)
    server.wipe()


@pytest.mark.timeout(400)
async def test_the_only_broker_dies_under_load(
    broker: kafka.Cluster, database: MakeDatabase, tmp_path: Path
) -> None:
    """Also of a transaction whose end the broker forgot, nothing is lost or doubled, and nobody is asked."""
    it = Arena((await database()).owner, broker.address, "billing", "cursor", {"deadline_seconds": 5})
    await topics(broker.address, NewTopic("billing", 3, 1), NewTopic("cursor", 1, 1))
    relay = await RelayProcess.start(it, tmp_path / "relay.log")
    writers, chance = Writers(it, seed=3), random.Random(3)
    work = asyncio.create_task(writers.run(4))
    try:
        for _ in range(2):
            await it.published(len(await it.committed()), 90)
            await asyncio.sleep(chance.uniform(0.1, 0.5))  # to die at another moment each time
            await asyncio.to_thread(broker.brokers[0].kill)
            await asyncio.to_thread(broker.brokers[0].start)
        writers.stopping.set()
        await work
        await it.published(deadline_seconds=90)
        assert relay.process.returncode is None
    finally:
        writers.stopping.set()
        await relay.kill()
    account = await it.account()
    assert account == Account(rows=account.rows)


async def topics(address: str, *wanted: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics(list(wanted))
    await admin.close()


@pytest.mark.timeout(300)
async def test_a_transaction_number_given_out_again_after_a_crash_is_not_taken_for_seen(
    server: postgres.Server,
) -> None:
    """A roll-back that is not on disk when PostgreSQL dies leaves its number to the next writer."""
    await migrate(server.address, outbox.SCHEMA)
    await settle(server.address, "alter system set wal_writer_delay = '10s'", "select pg_reload_conf()")
    reused = 0
    place = Position()
    for _ in range(5):
        rolled_back = await write(server.address, "published", roll_back="lost")
        place, rows = await window(server, place)
        assert [row.payload for row in rows] == [b"published"]
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        again = await write(server.address, "after")
        reused += again <= rolled_back
        place, rows = await window(server, place)
        assert [row.payload for row in rows] == [b"after"]
    assert reused, "no number was ever given out again: this proved nothing"


async def settle(address: str, *statements: str) -> None:
    connection = await asyncpg.connect(address)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def write(address: str, payload: str, roll_back: str = "") -> int:
    """One committed row, and perhaps one that is rolled back after it; returns the last number used."""
    connection = await asyncpg.connect(address)
    async with connection.transaction():
        await connection.execute(INSERT, "t", "k", payload.encode())
        number = await connection.fetchval("select pg_current_xact_id()")
    if roll_back:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(INSERT, "t", "k", roll_back.encode())
        number = await connection.fetchval("select pg_current_xact_id()")
        await transaction.rollback()
    await connection.close()
    return int(number)


async def window(server: postgres.Server, place: Position) -> tuple[Position, list[Row]]:
    dsn = server.address.replace("postgres@", f"{outbox.SCHEMA.role}@")
    async with store.outbox(
        dsn, page_rows=100, page_bytes=1 << 20, record_bytes=1 << 20, read_seconds=10
    ) as source:
        page = await source.page(place)
    return page.position, list(page.rows)
