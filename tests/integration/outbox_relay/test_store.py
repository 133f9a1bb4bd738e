"""The statements: each prepares for the relay's own role, and the hot ones keep their plan."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from zstandard import ZstdCompressor

from outbox_relay import store
from outbox_relay.domain.cursor import NOTHING, Cursor, Identity, Position
from outbox_relay.domain.page import plan
from tests.integration.outbox_relay.arena import Arena, MakeArena, until

STATEMENTS = {name: text for name, text in vars(store).items() if name.isupper() and isinstance(text, str)}
LIMITS = "2000, 8000000, 1000000"


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


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "never analyzed"])
@pytest.mark.parametrize(
    ("name", "words", "index", "not_index"),
    [
        ("FIRST", f"'900', '{{}}', '900:900:', {LIMITS}", "event_xid", "event_pkey"),
        ("NEXT", f"1000, '3:3:', '9000:9000:', {LIMITS}", "event_pkey", "event_xid"),
    ],
)
async def test_the_plan_is_the_one_that_was_meant(
    arena: MakeArena, analyzed: bool, name: str, words: str, index: str, not_index: str
) -> None:
    """Whatever the statistics say: the tail goes by transaction, the pages of a window by id."""
    it = await arena()
    await it.insert(rows=20_000)
    if analyzed:
        async with it.connection() as connection:
            await connection.execute("analyze outbox.event")
    plan = await explained(it, STATEMENTS[name], words)
    assert f" {index}" in plan and not_index not in plan, plan
    assert "Seq Scan" not in plan, plan


async def explained(it: Arena, statement: str, words: str) -> str:
    connection = await asyncpg.connect(it.dsn, server_settings=store.SESSION)
    try:
        await connection.execute(f"prepare it as {statement}")
        return "\n".join(row[0] for row in await connection.fetch(f"explain execute it({words})"))
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
    assert [
        found.reason for row in (large, damaged) if (found := plan([row], {"t": 1}, {}, 5000).refused)
    ] == [
        "too_large",
        "bad_payload",
    ]


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
    mine = await store.lease(it.dsn, 1.5)
    assert mine is not None
    assert await store.lease(it.dsn, 1.5) is None
    mine._keeping.cancel()  # as a stopped process would
    held: list[store.Lease] = []

    async def taken() -> bool:
        held.extend(filter(None, [await store.lease(it.dsn, 1.5)]))
        return bool(held)

    await until(taken, 10)
    await asyncio.wait_for(mine.lost.wait(), 5)
    for each in (mine, *held):
        await each.release()
