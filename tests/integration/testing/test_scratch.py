"""A database of a test's own: with the consumer's rights, and gone afterwards."""

from __future__ import annotations

import os

import asyncpg
import pytest

from lab.stack import Stack
from millrace.testing import Harness, scratch
from tests.support.tally import SCHEMA, event, fold


async def databases(stack: Stack) -> set[str]:
    connection = await asyncpg.connect(stack.postgres)
    try:
        mine = f"millrace_test_{os.getpid()}_%"
        rows = await connection.fetch("select datname from pg_database where datname like $1", mine)
        return {row["datname"] for row in rows}
    finally:
        await connection.close()


async def test_a_consumer_works_there_with_its_own_rights_and_no_others(stack: Stack) -> None:
    async with scratch(stack.postgres, SCHEMA) as pool:
        harness = Harness(fold(), pool=pool)
        await harness.run(event("add", "e1", 3))
        assert await pool.fetchval("select total from tally.tally") == 3
        assert await pool.fetchval("select current_user") == SCHEMA.role
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute("delete from tally.processed_events")
        with pytest.raises(TypeError, match="only a fold in memory has states"):
            _ = harness.states


async def test_it_is_dropped_however_the_test_ends(stack: Stack) -> None:
    before = await databases(stack)
    with pytest.raises(ZeroDivisionError):
        async with scratch(stack.postgres, SCHEMA) as pool:
            [name] = await databases(stack) - before
            assert await pool.fetchval("select current_database()") == name
            raise ZeroDivisionError
    assert await databases(stack) == before


async def test_dying_at_every_await_of_real_transactions_leaves_one_effect_an_event(stack: Stack) -> None:
    async with scratch(stack.postgres, SCHEMA) as pool:
        harness = Harness(fold(), pool=pool)
        stream = [
            event("take", "t", 2),
            event("add", "e1"),
            event("add", "e2", "two"),
            event("add", "e3", of="b"),
        ]
        harness.bus.send(*stream)
        assert await harness.crash_everywhere() > 12
        assert {tuple(row) for row in await pool.fetch("select key, total from tally.tally")} == {
            ("a", 1),
            ("b", 1),
        }
        assert await pool.fetchval("select count(*) from tally.processed_events") == 4
        again = Harness(fold(), pool=pool, bus=harness.bus)
        report = await again.run()
        assert (report.duplicate, report.applied) == (4, 0)
