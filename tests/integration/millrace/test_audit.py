"""The audit chain in real tables: it only grows, and whoever changes it behind our back is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from millrace import audit, postgres
from millrace.audit import Entry
from millrace.postgres import Schema
from tests.support.database import Database, MakeDatabase

SCHEMA = Schema("mill", (audit.TABLE,))
FIRST = Entry(
    at=datetime(2026, 3, 1, 12, tzinfo=UTC), actor="ledger", action="applied stripe.invoice.paid",
    subject="in_1", event="evt_1", reason="posted",
)  # fmt: skip
ENTRIES = [
    replace(FIRST, event=f"evt_{n}", at=FIRST.at + timedelta(microseconds=n), reason=f"posted {n} €")
    for n in range(1, 7)
]


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[postgres.Pool]:
    """As the service would have it: with its own role."""
    made = await postgres.pool(db.dsn(SCHEMA))
    yield made
    await made.close()


async def append(pool: postgres.Pool, chain: str, *entries: Entry) -> None:
    async with postgres.transaction(pool) as tx:
        await audit.append(tx, "mill", chain, entries)


async def verified(db: Database) -> list[str]:
    connection = await asyncpg.connect(db.owner)
    try:
        return await audit.verify(connection, "mill")
    finally:
        await connection.close()


async def behind_our_back(db: Database, *statements: str) -> None:
    """What a superuser can do who first turns off whatever would refuse it."""
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute("set session_replication_role = replica")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_what_was_appended_verifies_whatever_the_batches_were(
    db: Database, pool: postgres.Pool
) -> None:
    await append(pool, "ledger/0", *ENTRIES[:2])
    await append(pool, "ledger/0")
    await append(pool, "ledger/0", *ENTRIES[2:])
    await append(pool, "ledger/1", *ENTRIES)
    assert await verified(db) == []
    async with pool.acquire() as connection:
        rows = await connection.fetch(
            "select chain, hash from mill.audit where chain = 'ledger/0' order by seq"
        )
        assert [row["hash"] for row in rows] == list(audit._links("ledger/0", 0, audit.GENESIS, ENTRIES))


async def test_writers_of_one_chain_take_turns(db: Database, pool: postgres.Pool) -> None:
    await asyncio.gather(*(append(pool, "ledger/0", *ENTRIES[:3]) for _ in range(20)))
    assert await verified(db) == []


async def test_a_rollback_leaves_no_gap(db: Database, pool: postgres.Pool) -> None:
    await append(pool, "ledger/0", FIRST)
    with pytest.raises(ZeroDivisionError):
        async with postgres.transaction(pool) as tx:
            await audit.append(tx, "mill", "ledger/0", ENTRIES)
            raise ZeroDivisionError
    await append(pool, "ledger/0", *ENTRIES)
    assert await verified(db) == []


ROW = "where chain = 'ledger/0' and seq = 3"
TAMPERED: dict[str, tuple[list[str], int]] = {
    "one byte of a hash": (
        [f"update mill.audit set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) {ROW}"],
        3,
    ),
    "a reason": ([f"update mill.audit set reason = 'posted 3 $' {ROW}"], 3),
    "a microsecond": ([f"update mill.audit set at = at + interval '1 microsecond' {ROW}"], 3),
    "who did it": ([f"update mill.audit set actor = 'nobody' {ROW}"], 3),
    "a deleted row": ([f"delete from mill.audit {ROW}"], 3),
    "a deleted row, and the gap closed": (
        [
            f"delete from mill.audit {ROW}",
            "update mill.audit set seq = seq - 1 where chain = 'ledger/0' and seq > 3",
        ],
        3,
    ),
    "the first row deleted": (["delete from mill.audit where chain = 'ledger/0' and seq = 1"], 1),
    "two rows swapped": (
        [
            "update mill.audit set seq = 99 where chain = 'ledger/0' and seq = 3",
            "update mill.audit set seq = 3 where chain = 'ledger/0' and seq = 4",
            "update mill.audit set seq = 4 where chain = 'ledger/0' and seq = 99",
        ],
        3,
    ),
    "a row put in": (
        [
            "update mill.audit set seq = seq + 1000 where chain = 'ledger/0' and seq > 3",
            "update mill.audit set seq = seq - 999 where chain = 'ledger/0' and seq > 1000",
            "insert into mill.audit select chain, 4, at, actor, action, subject, 'evt_x', reason, hash"
            " from mill.audit where chain = 'ledger/0' and seq = 3",
        ],
        4,
    ),
    "a row moved to another chain": ([f"update mill.audit set chain = 'ledger/9', seq = 1 {ROW}"], 3),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_was_changed_behind_our_back_is_found(
    db: Database, pool: postgres.Pool, what: str
) -> None:
    await append(pool, "ledger/0", *ENTRIES)
    await append(pool, "ledger/1", *ENTRIES)
    statements, first_bad = TAMPERED[what]
    await behind_our_back(db, *statements)
    found = await verified(db)
    assert f"mill.audit ledger/0: row {first_bad} was changed, removed or moved" in found
    assert not any("ledger/1" in problem for problem in found)  # the others are not accused


CHANGES = [
    "update mill.audit set reason = 'x'",
    "delete from mill.audit",
    "truncate mill.audit",
]


@pytest.mark.parametrize("statement", CHANGES)
async def test_nobody_changes_it_by_accident(db: Database, pool: postgres.Pool, statement: str) -> None:
    await append(pool, "ledger/0", FIRST)
    async with pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # the role has no right to
            await connection.execute(statement)
    owner = await asyncpg.connect(db.owner)
    try:
        with pytest.raises(
            asyncpg.RestrictViolationError, match="the audit log only grows"
        ):  # nor has its owner
            await owner.execute(statement)
    finally:
        await owner.close()
