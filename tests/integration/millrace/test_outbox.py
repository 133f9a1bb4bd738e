"""The outbox: rows in the order given, in the transaction that makes them true, and never changed."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import orjson
import pytest
from aiokafka.partitioner import murmur2
from zstandard import ZstdCompressor

from lab.stack import Stack
from millrace import outbox, postgres
from millrace.events import Event, decode, headers
from millrace.events.keys import key_hash
from millrace.outbox import Message
from millrace.postgres import Schema, Series
from tests.support.database import Database, MakeDatabase

SCHEMA = Schema("mill_out", (outbox.WRITES,))
ROWS = "select id, topic, key, hash, headers, payload from outbox.event order by id"


def message(n: int) -> Message:
    return Message(
        f"topic.{n % 3}",
        Event(
            id=f"evt_{n}", type="stripe.invoice.paid", source="stripe/acct_1", subject=f"in_{n}",
            time=datetime(2026, 3, 1, 12, 0, 0, n, tzinfo=UTC), key=f"acct_1/cus_{n % 2}",
            schema="2026-10-28.endive", data={"n": n, "name": "Zoë"}, trace="",
        ),
    )  # fmt: skip


MESSAGES = [message(n) for n in range(50)]


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[postgres.Pool]:
    """As a service would have it: with its own role."""
    made = await postgres.pool(db.dsn(SCHEMA))
    yield made
    await made.close()


async def rows(db: Database) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(db.dsn(outbox.SCHEMA))  # the relay's role
    try:
        await postgres.prepare(connection)
        return list(await connection.fetch(ROWS))
    finally:
        await connection.close()


async def test_events_are_published_in_the_order_given_and_come_out_as_they_went_in(
    db: Database, pool: postgres.Pool
) -> None:
    async with postgres.transaction(pool) as tx:
        await outbox.publish(tx, MESSAGES[:30])
        await outbox.publish(tx, [])
        await outbox.publish(tx, MESSAGES[30:])
    found = await rows(db)
    assert [row["topic"] for row in found] == [m.topic for m in MESSAGES]
    for row, sent in zip(found, MESSAGES, strict=True):
        received = {name: text.encode() for name, text in row["headers"].items()}
        assert row["headers"] == headers(sent.event)
        assert row["hash"] == key_hash(sent.event.key)
        assert decode(row["key"].encode(), received, row["payload"]) == sent.event
        assert row["payload"] == orjson.dumps(sent.event.data)


async def test_nothing_is_published_by_a_transaction_that_does_not_commit(
    db: Database, pool: postgres.Pool
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(pool) as tx:
            await outbox.publish(tx, MESSAGES)
            raise ZeroDivisionError
    assert await rows(db) == []


async def test_an_event_without_a_key_has_no_order_and_is_refused(db: Database, pool: postgres.Pool) -> None:
    insert = "insert into outbox.event (topic, key, headers, payload) values ('t', '', '{}', '')"
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.CheckViolationError, match="key_is_said"):
            await connection.execute(insert)


FORGED = [
    "insert into outbox.event (id, topic, key, headers, payload) values (1, 't', 'k', '{}', '')",
    "insert into outbox.event (xid, topic, key, headers, payload) values ('3', 't', 'k', '{}', '')",
    "insert into outbox.event (created_at, topic, key, headers, payload) values (now(), 't', 'k', '{}', '')",
    "insert into outbox.event_{today} (topic, key, headers, payload) values ('t', 'k', '{}', '')",
    "select outbox.make_day('2031-01-01')",
    "select setval('outbox.event_id', 1)",
]


@pytest.mark.parametrize("statement", FORGED)
async def test_number_transaction_and_time_are_the_outbox_s_own(pool: postgres.Pool, statement: str) -> None:
    today = f"{await pool.fetchval('select now()'):%Y%m%d}"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement.replace("{today}", today))


CHANGES = [
    f"{change}{where}"
    for where in ("outbox.event", "outbox.event_{today}")
    for change in ("delete from ", "truncate ", "update ")
]


@pytest.mark.parametrize("statement", CHANGES)
async def test_a_row_is_never_changed(db: Database, pool: postgres.Pool, statement: str) -> None:
    async with postgres.transaction(pool) as tx:
        await outbox.publish(tx, MESSAGES[:1])
    for dsn, refused in (
        (db.dsn(SCHEMA), asyncpg.InsufficientPrivilegeError),  # who writes
        (db.dsn(outbox.SCHEMA), asyncpg.InsufficientPrivilegeError),  # who reads: the relay
        (db.owner, asyncpg.RestrictViolationError),  # who owns it
    ):
        connection = await asyncpg.connect(dsn)
        try:
            today = f"{await connection.fetchval('select now()'):%Y%m%d}"
            set_ = " set topic = 'x'" if statement.startswith("update") else ""
            with pytest.raises(refused):
                await connection.execute(statement.replace("{today}", today) + set_)
        finally:
            await connection.close()
    assert len(await rows(db)) == 1


async def test_who_writes_does_not_read_and_who_reads_does_not_write(
    db: Database, pool: postgres.Pool
) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(ROWS)
    reader = await postgres.pool(db.dsn(outbox.SCHEMA))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with postgres.transaction(reader) as tx:
                await outbox.publish(tx, MESSAGES[:1])
    finally:
        await reader.close()


KEYS = sorted({f"acct_{n:x}/cus_{'Zoë 🜂'[: n % 6]}{'x' * (n % 9)}{n}" for n in range(4000)} | set("aé🜂"))
HASHES = "select key, outbox.murmur2(key) as hash from unnest($1::text[]) as key"
OTHERS = """
insert into outbox.event (topic, key, headers, payload) select 't', key, '{}', '' from unnest($1::text[]) as key
"""


async def test_a_key_has_one_hash_whoever_computes_it(db: Database, pool: postgres.Pool) -> None:
    """Ours, the database's, the client's: or a row would go to another shard than its key."""
    connection = await asyncpg.connect(db.owner)
    try:
        found = {row["key"]: row["hash"] for row in await connection.fetch(HASHES, KEYS)}
    finally:
        await connection.close()
    assert found == {key: key_hash(key) for key in KEYS}
    assert found == {key: murmur2(key.encode()) & 0x7FFFFFFF for key in KEYS}


async def test_who_writes_without_a_hash_is_given_the_right_one(db: Database, pool: postgres.Pool) -> None:
    await pool.execute(OTHERS, KEYS[:50])
    assert {row["key"]: row["hash"] for row in await rows(db)} == {key: key_hash(key) for key in KEYS[:50]}


async def test_days_are_made_by_whoever_writes_and_wait_for_nobody(db: Database, pool: postgres.Pool) -> None:
    """Rows that are being written do not hold days up, nor do days that are being made hold up rows."""
    hasty = await asyncpg.connect(db.dsn(SCHEMA), server_settings={"lock_timeout": "1s"})
    reader = await asyncpg.connect(db.dsn(outbox.SCHEMA), server_settings={"lock_timeout": "1s"})
    await postgres.prepare(hasty)
    try:
        async with postgres.transaction(pool) as open_one, reader.transaction():
            await outbox.publish(open_one, MESSAGES[:1])
            assert await reader.fetchval("select count(*) from outbox.event") == 0  # whose lock stays, too
            async with hasty.transaction():
                assert len(await outbox.make_days(hasty, 9)) == 2
                await outbox.publish(open_one, MESSAGES[1:2])  # while the days are not committed
                async with postgres.transaction(pool) as another:
                    await outbox.publish(another, MESSAGES[2:3])
                assert await reader.fetchval("select count(*) from outbox.event") == 1
        assert await outbox.make_days(hasty, 9) == []
    finally:
        await hasty.close()
        await reader.close()
    assert len(await rows(db)) == 3


async def test_days_are_made_once_however_many_make_them(pool: postgres.Pool) -> None:
    async def make() -> int:
        async with postgres.transaction(pool) as tx:
            return len(await outbox.make_days(tx, 12))

    assert sorted(await asyncio.gather(*(make() for _ in range(5)))) == [0, 0, 0, 0, 5]
    with pytest.raises(asyncpg.InvalidParameterValueError, match="between 0 and 366"):
        await pool.fetch("select outbox.make_days(100000)")


@dataclass(frozen=True)
class Until(Series):
    """The first migrations of a series: what an earlier version had."""

    number: int = 1

    def files(self) -> Iterator[tuple[int, str, str]]:
        return itertools.islice(super().files(), self.number)


BEFORE = (
    Schema("outbox", (Until("outbox", "millrace.migrations.outbox", 2),)),
    Schema("mill_out", (Until("writes_outbox", "millrace.migrations.writes_outbox", 1),)),
)
OLD = "insert into outbox.event (topic, key, headers, payload, unpacked) values ($1, $2, '{}', $3, $4)"
AGED = OLD.replace(", unpacked)", ", created_at)").replace("$4", "now() - $4 * interval '1 day'")
EVERYTHING = (
    "select id, xid, topic, key, headers, payload, unpacked, created_at from outbox.event order by id"
)
SINCE = "select id from outbox.event where not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)"


@pytest.fixture
async def older(stack: Stack) -> AsyncIterator[Database]:
    """A database of the version before the outbox had days."""
    name = f"older_{os.getpid()}"
    server = await asyncpg.connect(stack.postgres)
    await server.execute(f"create database {name}")
    db = Database(stack.postgres.rpartition("/")[0] + f"/{name}", name)
    for schema in BEFORE:
        await postgres.migrate(db.owner, schema)
    yield db
    await server.execute(f"drop database {name} with (force)")
    await server.close()


async def test_rows_from_before_the_days_keep_number_transaction_and_time(older: Database) -> None:
    """So a cursor from before goes on, and who might write still may."""
    writer, owner = await asyncpg.connect(older.dsn(SCHEMA)), await asyncpg.connect(older.owner)
    try:
        for n in range(40):
            await writer.execute(OLD, f"topic.{n % 3}", f"acct_1/cus_{n % 4}", b"%d" % n, None)
            await owner.execute(AGED, "topic.1", f"acct_1/cus_{n % 5}", b"%d" % n, n % 20)
        await writer.execute(OLD, "topic.1", "k", ZstdCompressor().compress(b"x" * 9000), 9000)
        cursor = await owner.fetchval("select pg_current_snapshot()::text")
        before = await owner.fetch(EVERYTHING)
        await writer.execute(OLD, "topic.1", "k", b"not published yet", None)
        assert await postgres.migrate(older.owner, outbox.SCHEMA) != []

        assert (await owner.fetch(EVERYTHING))[:-1] == before
        assert {
            row["key"]: row["hash"] for row in await owner.fetch("select key, hash from outbox.event")
        } == {row["key"]: key_hash(row["key"]) for row in before}
        await writer.execute(
            OLD, "topic.1", "k", b"written after, with the prepared statement of before", None
        )
        newest = before[-1]["id"]
        assert [row["id"] for row in await owner.fetch(SINCE, cursor)] == [newest + 1, newest + 2]
        await postgres.migrate(older.owner, SCHEMA)
        await writer.execute(OLD, "topic.1", "k", b"", None)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await writer.execute(
                "insert into outbox.event (id, topic, key, headers, payload) values (1, '', 'k', '{}', '')"
            )
    finally:
        await writer.close()
        await owner.close()
