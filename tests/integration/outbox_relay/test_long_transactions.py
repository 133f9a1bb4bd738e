"""A transaction that is held open: what it delays is its own rows, and what it costs is nothing.

Costs are counted in pages that PostgreSQL touched, not in seconds: a clock would tell of the machine.
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, TypeAlias

import asyncpg
import pytest

from lab.stack import Stack, postgres
from millrace import outbox
from millrace.postgres import migrate
from outbox_relay.domain.cursor import Snapshot
from outbox_relay.store import reading
from tests.fault.outbox_relay.test_servers import folder, server
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic, read_all

__all__ = ["folder", "server"]

ROUNDS = int(os.environ.get("FAULT_RUNS", "4"))
ROWS = """
insert into outbox.event (topic, key, hash, headers, payload)
select $1, key, outbox.murmur2(key), '{}', 'x'
  from (select 'acct_1/' || $3 || (n % 500) as key from generate_series(1, $2) as n) as row
returning id
"""
Isolation = Literal["read_committed", "repeatable_read"]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@asynccontextmanager
async def held(
    dsn: str, *statements: str, isolation: Isolation = "read_committed"
) -> AsyncIterator[Connection]:
    """A transaction that has done this and stays open."""
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction(isolation=isolation)
    await transaction.start()
    for statement in statements:
        await connection.execute(statement)
    yield connection
    await transaction.commit()
    await connection.close()


async def delays(it: Arena, committed: dict[int, float]) -> list[float]:
    """Seconds from the commit of each of these rows to its record, as its relay made it; waits until all are there."""
    found: dict[int, float] = {}

    async def all_there() -> bool:
        for record in await read_all(it.kafka, it.topic):
            found[int(dict(record.headers)["millrace-outbox-id"])] = record.timestamp / 1000
        return committed.keys() <= found.keys()

    await until(all_there, 60)
    return [found[row] - at for row, at in committed.items()]


async def write(connection: Connection, it: Arena) -> tuple[int, float]:
    """A row of its own transaction: its number, and when it was committed at the latest."""
    row = await connection.fetchval(ROWS, it.topic, 1, "cus_")
    return row, time.time()


async def test_rows_of_others_pass_a_writing_transaction_and_its_own_follow_its_commit(
    arena: MakeArena, database: MakeDatabase
) -> None:
    """Check 5: a transaction with rows, and one of another database, each with a number that stays open."""
    it, elsewhere = await arena(), await database()
    async with running(it.relay()), it.connection() as writer:
        await delays(it, dict([await write(writer, it)]))  # it is under way
        late = []
        for _ in range(3):  # a machine that is busy elsewhere may be late once, a relay that waits is always
            async with held(elsewhere.owner, "select pg_current_xact_id()"), held(it.owner) as open_one:
                [own] = [row["id"] for row in await open_one.fetch(ROWS, it.topic, 1, "late_")]
                others = dict([await write(writer, it) for _ in range(20)])
                assert statistics.median(await delays(it, others)) < 1
                assert own not in [
                    int(dict(r.headers)["millrace-outbox-id"]) for r in await read_all(it.kafka, it.topic)
                ]
            late += await delays(it, {own: time.time()})
        assert min(late) < 1
    assert await it.account() == Account(rows=64)


@pytest.mark.timeout(300)
async def test_a_prepared_transaction_is_delivered_once_however_late_it_is_committed(
    server: postgres.Server, stack: Stack, topics: MakeTopic
) -> None:
    """Check 6. It outlives its session and the server."""
    await migrate(server.address, outbox.SCHEMA)
    it = Arena(
        server.address,
        stack.kafka,
        await topics("billing"),
        await topics("cursor", partitions=1),
        {"lease_seconds": 2},
    )
    async with it.connection() as connection:
        await connection.execute("alter system set max_prepared_transactions = 5")
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    async with it.connection() as connection:
        await connection.execute("begin")
        await connection.fetch(ROWS, it.topic, 3, "late_")
        await connection.execute("prepare transaction 'of somebody who forgot'")
    async with running(it.relay()):
        await it.insert(20)
        await it.published(20)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        await it.insert(20)
        await it.published(40)
        async with it.connection() as connection:
            await connection.execute("commit prepared 'of somebody who forgot'")
        await it.published(43)
        await it.insert(5)
        await it.published(48)
    assert await it.account() == Account(rows=48)


async def touched(it: Arena, *open_: int) -> int:
    """Pages that a look at an outbox without news touches, once its plan and the pages' marks are made.

    `open_` are the transactions that were open at the last look; those of other databases would count, too.
    """
    connection = await asyncpg.connect(it.dsn, server_settings=reading.SESSION)
    try:
        now = Snapshot.parse(await connection.fetchval("select pg_current_snapshot()::text"))
        xip = "{" + ",".join(map(str, open_)) + "}"
        words = f"'{now.xmax}', '{xip}', '{now}', 2000, 8000000, 1000000, 0, 1"
        await connection.execute(f"prepare look as {reading.FIRST}")
        for _ in range(2):
            found = await connection.fetch(f"explain (analyze, buffers, timing off) execute look({words})")
        [pages] = [row[0] for row in found if "Buffers" in row[0]][:1]
        return sum(map(int, re.findall(r"(?:hit|read)=(\d+)", pages)))
    finally:
        await connection.close()


DEAD = """
-- What the statistics have seen of every day: rows that came, and versions that died.
select sum(n_tup_ins)::int as came, sum(n_tup_upd + n_tup_del + n_dead_tup)::int as died
  from pg_stat_all_tables where schemaname = 'outbox' and relname ~ '^event_[0-9]{8}$'
"""


@pytest.mark.parametrize(
    ("isolation", "statement"),
    [
        ("repeatable_read", "select count(*) from outbox.event"),  # a report that nobody has ended
        ("read_committed", "select pg_current_xact_id()"),  # a writer that nobody has ended
    ],
    ids=["a held snapshot", "a held number"],
)
async def test_under_a_held_transaction_nothing_dies_and_a_look_costs_what_it_did(
    arena: MakeArena, isolation: Isolation, statement: str
) -> None:
    """Check 14: no row is marked, so vacuum, which the transaction stops, has nothing to do."""
    it = await arena()
    async with (
        running(it.relay()),
        held(it.owner, statement, isolation=isolation) as holder,
        it.connection() as writer,
    ):
        number = await holder.fetchval("select pg_current_xact_id_if_assigned()::text::int")
        open_ = [number] if number else []
        await writer.fetch(ROWS, it.topic, 500, "cus_")
        await it.published(500)
        at_first = await touched(it, *open_)
        for _ in range(ROUNDS):
            for _ in range(5):
                await writer.fetch(ROWS, it.topic, 200, "cus_")
        rows = 500 + 1000 * ROUNDS
        await it.published(rows, 60 + ROUNDS)
        assert await touched(it, *open_) <= at_first + levels(rows)

        async def seen() -> bool:
            await writer.execute("select pg_stat_force_next_flush()")
            return bool((await writer.fetchrow(DEAD))["came"] >= rows)  # type: ignore[index]

        await until(seen)
        assert (await writer.fetchrow(DEAD))["died"] == 0  # type: ignore[index]


def levels(rows: int) -> int:
    """By how much the two searches of today's tree may grow: a page for each level."""
    return 2 * sum(rows > 300**level for level in (1, 2, 3))


@pytest.mark.parametrize(
    "rows", [300_000, pytest.param(10_000_000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])]
)
async def test_a_look_at_a_large_outbox_costs_what_one_at_an_empty_one_does(
    arena: MakeArena, rows: int
) -> None:
    """Check 13's part: never vacuumed, never analyzed, as just after a burst."""
    it = await arena()
    empty = await touched(it)
    async with it.connection() as connection:
        for _ in range(rows // 100_000):
            await connection.execute(FILL)
    assert empty < await touched(it) <= empty + levels(rows)


FILL = """
insert into outbox.event (topic, key, hash, headers, payload)
select 't', 'k', 579986912, '{}', 'x' from generate_series(1, 100000)
"""
