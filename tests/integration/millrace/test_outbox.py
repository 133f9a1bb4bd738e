"""The outbox: rows in the order given, in the transaction that makes them true, and never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import orjson
import pytest

from millrace import outbox, postgres
from millrace.events import Event, decode, headers
from millrace.outbox import Message
from millrace.postgres import Schema
from tests.support.database import Database, MakeDatabase

SCHEMA = Schema("mill_out", (outbox.WRITES,))
ROWS = "select id, topic, key, headers, payload from outbox.event order by id"


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


CHANGES = ["update outbox.event set topic = 'x'", "delete from outbox.event", "truncate outbox.event"]


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
            with pytest.raises(refused):
                await connection.execute(statement)
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
