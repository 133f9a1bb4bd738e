"""The statements: each prepares for the relay's own role, and the hot ones keep their plan."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from importlib import import_module
from pkgutil import iter_modules

import asyncpg
import pytest
from zstandard import ZstdCompressor

from outbox_relay import store
from outbox_relay.domain.cursor import NOTHING, Cursor, Identity, Position
from outbox_relay.domain.lane import Lane
from outbox_relay.store import reading
from tests.integration.outbox_relay.arena import Arena, MakeArena, until

MODULES = [import_module(f"{store.__name__}.{found.name}") for found in iter_modules(store.__path__)]
STATEMENTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": text
    for module in MODULES
    for name, text in vars(module).items()
    if name.isupper() and isinstance(text, str) and "\n--" in text and "{day}" not in text  # see test_days.py
}


@pytest.mark.parametrize("name", sorted(STATEMENTS))
async def test_every_statement_prepares_for_the_role_that_runs_it(arena: MakeArena, name: str) -> None:
    it = await arena()
    connection = await asyncpg.connect(it.dsn)
    try:
        await connection.prepare(STATEMENTS[name])
    finally:
        await connection.close()


async def test_the_role_can_change_nothing(arena: MakeArena) -> None:
    it = await arena()
    connection = await asyncpg.connect(it.dsn)
    try:
        for statement in (
            "delete from outbox.event",
            "update outbox.event set topic = ''",
            "truncate outbox.event",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


LIMITS = "2000, 8000000, 1000000, 0, 1"
SCAN = re.compile(r"Scan using event_\d{8}_(xid|pkey)\w* on .*\n\s+Index Cond: \((.+)\)")


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
async def test_the_plan_is_the_one_that_was_meant(arena: MakeArena, analyzed: bool) -> None:
    """Whatever the statistics say: the tail goes by transaction, the pages of a window by id, day by day."""
    it = await arena()
    days = await aged(it, days=3, rows=5000)
    if analyzed:
        async with it.connection() as connection:
            await connection.execute("analyze outbox.event")
    first = await explained(it, reading.FIRST, f"'900', '{{}}', '900:900:', {LIMITS}")
    assert scans(first) == {
        "xid: xid >= $1": days,  # what is new
        "xid: xid = ANY ($2)": days,  # what was still open
        "pkey: (id = event.id) AND (created_at = event.created_at)": days,  # the rows that were found
    }, first
    further = await explained(it, reading.NEXT, f"1000, '3:3:', '9000:9000:', {LIMITS}")
    assert scans(further) == {"pkey: id > $1": days}, further
    assert "Merge Append" in further and "Sort  (" not in further, further
    assert "Seq Scan" not in first + further


def scans(plan: str) -> Counter[str]:
    """Index and condition of each scan of a day, with how many days it looks at."""
    return Counter(
        f"{index}: {re.sub(r'event_[0-9]+', 'event', words)}" for index, words in SCAN.findall(plan)
    )


async def aged(it: Arena, *, days: int, rows: int) -> int:
    """Rows of so many past days, and of today; returns how many days the outbox has."""
    async with it.connection() as connection:
        for ago in range(days, -1, -1):
            await connection.execute(
                "select outbox.make_day((now() at time zone 'UTC')::date - $1::int)", ago
            )
            await connection.execute(AGED, it.topic, rows, ago)
        count: int = await connection.fetchval(
            "select count(*) from pg_inherits where inhparent = 'outbox.event'::regclass"
        )
        return count


AGED = """
insert into outbox.event (topic, key, hash, headers, payload, created_at)
select $1, 'acct_1/cus_' || (n % 7), n % 7, '{}', '{}', now() - $3 * interval '1 day' from generate_series(1, $2) as n
"""


async def explained(it: Arena, statement: str, words: str, how: str = "") -> str:
    connection = await asyncpg.connect(it.dsn, server_settings=reading.SESSION)
    try:
        await connection.execute(f"prepare it as {statement}")
        return "\n".join(row[0] for row in await connection.fetch(f"explain {how} execute it({words})"))
    finally:
        await connection.close()


async def test_the_account_of_what_waits_agrees_with_the_pages(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=25)
    async with it.connection() as connection, outbox(it) as source:
        identity, _ = await source.identity()
        place, left = Position(), 25
        while left:
            assert (await store.unpublished(connection, Cursor(identity, place, {})))[0] == left
            page = await source.page(place)
            place, left = page.position, left - len(page.rows)
        assert await store.unpublished(connection, Cursor(identity, place, {})) == (0, None)
        assert (await store.unpublished(connection, None))[0] == 25


def outbox(it: Arena):  # type: ignore[no-untyped-def]  # a context manager of the store's own type
    return store.outbox(it.dsn, page_rows=10, page_bytes=1 << 20, record_bytes=5000, read_seconds=10)


async def test_a_row_above_the_limit_comes_without_its_payload(arena: MakeArena) -> None:
    """So that a row of any size costs no memory."""
    it = await arena()
    async with it.connection() as connection:
        await connection.execute(
            "insert into outbox.event (topic, key, headers, payload) values ('t', 'k', '{}', $1)", bytes(6000)
        )
    async with outbox(it) as source:
        [row] = (await source.page(Position())).rows
    assert row.payload is None
    assert row.size > 6000


PACKED = "insert into outbox.event (topic, key, headers, payload, unpacked) values ('t', 'k', '{}', $1, $2)"


async def test_a_packed_payload_is_read_as_it_was_and_judged_by_its_whole_size(arena: MakeArena) -> None:
    it = await arena()
    packed = ZstdCompressor().compress
    async with it.connection() as connection:
        await connection.execute(PACKED, packed(b"x" * 3000), 3000)
        await connection.execute(PACKED, packed(b"x" * 6000), 6000)  # a few bytes here, too many in a record
        await connection.execute(PACKED, packed(b"x" * 3000)[:-2], 3000)
    async with outbox(it) as source:
        whole, large, damaged = (await source.page(Position())).rows
    assert (whole.payload, whole.size) == (b"x" * 3000, 3003)
    assert (large.payload, damaged.payload) == (None, None)
    assert (large.size, damaged.size) == (6003, 3003)


async def test_an_empty_outbox_moves_the_window_and_nothing_else(arena: MakeArena) -> None:
    it = await arena()
    async with outbox(it) as source:
        page = await source.page(Position())
    assert (list(page.rows), page.goes_on, page.since) == ([], False, None)
    assert page.position == Position(NOTHING)  # nothing was published: nothing is claimed


async def test_who_we_are_is_this_database_and_no_other(arena: MakeArena) -> None:
    one, other = await arena(), await arena()
    async with outbox(one) as source, outbox(other) as another:
        here, _ = await source.identity()
        there, _ = await another.identity()
    assert here == Identity(there.system, there.timeline, here.database)
    assert here.database != there.database


async def test_the_lease_is_one_and_is_given_up_by_a_silent_session(arena: MakeArena) -> None:
    it = await arena()
    mine = await store.lease(it.dsn, Lane(), 1.5)
    assert mine is not None
    assert await store.lease(it.dsn, Lane(), 1.5) is None
    mine._keeping.cancel()  # as a stopped process would
    held: list[store.Lease] = []

    async def taken() -> bool:
        held.extend(filter(None, [await store.lease(it.dsn, Lane(), 1.5)]))
        return bool(held)

    await until(taken, 10)
    await asyncio.wait_for(mine.lost.wait(), 5)
    for each in (mine, *held):
        await each.release()
