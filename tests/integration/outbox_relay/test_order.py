"""Nothing lost, nothing twice, nothing out of order, however the writers overlap."""

from __future__ import annotations

import asyncio

import pytest

from outbox_relay import store
from outbox_relay.domain.cursor import Position
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until
from tests.integration.outbox_relay.writers import INSERT, Writers

WRITES = 500


@pytest.mark.parametrize("seed", [1, 2])
async def test_sixteen_writers_and_one_long_transaction(arena: MakeArena, seed: int) -> None:
    it = await arena(page_rows=40)
    writers = Writers(it, seed)
    async with it.connection() as slow, running(it.relay()):
        late = slow.transaction()
        await late.start()
        await slow.execute(INSERT, it.topic, "acct_1/cus_slow", b"first of all, committed last")
        work = asyncio.create_task(writers.run())
        await until(lambda: writers.commits > WRITES, 90)
        await late.commit()
        writers.stopping.set()
        await work
        await it.published()
    account = await it.account()
    assert account == Account(rows=account.rows)
    assert account.rows > WRITES


async def test_a_long_transaction_delays_nobody_but_itself(arena: MakeArena) -> None:
    it = await arena()
    async with it.connection() as slow, running(it.relay()):
        late = slow.transaction()
        await late.start()
        await slow.execute(INSERT, it.topic, "k", b"late")
        await it.insert(rows=20)
        await it.published(20)
        await late.commit()
        await it.published(21)
    assert await it.account() == Account(rows=21)


async def test_a_number_taken_before_the_key_lock_says_nothing_about_the_order(arena: MakeArena) -> None:
    """T1 has the lower number and commits after T2, whose row of the same key must come first."""
    it = await arena()
    async with it.connection() as one, it.connection() as two, running(it.relay()):
        first, second = one.transaction(), two.transaction()
        await first.start()
        lower = await one.fetchval("select pg_current_xact_id()")
        await second.start()
        await two.execute(INSERT, it.topic, "k", b"2")
        assert lower < await two.fetchval("select pg_current_xact_id()")
        await second.commit()
        await one.execute(INSERT, it.topic, "k", b"1")
        await it.published(1)
        await first.commit()
        await it.published(2)
    assert await it.account() == Account(rows=2)


async def test_a_late_commit_below_a_published_id_is_not_lost(arena: MakeArena) -> None:
    """The row that a cursor of ids would step over."""
    it = await arena()
    async with it.connection() as one, running(it.relay()):
        late = one.transaction()
        await late.start()
        await one.execute(INSERT, it.topic, "a", b"id 1")
        await it.insert(rows=1)
        await it.published(1)
        await late.commit()
        await it.published(2)
    assert (await it.account()).lost == 0


async def test_pages_of_every_size_cover_a_window_once(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=23)
    for page_rows, page_bytes in ((1, 1 << 20), (5, 1 << 20), (23, 1 << 20), (100, 1 << 20), (100, 300)):
        assert await ids(it, page_rows, page_bytes) == await it.committed()


async def ids(it: Arena, page_rows: int, page_bytes: int) -> list[int]:
    found: list[int] = []
    async with store.outbox(
        it.dsn, page_rows=page_rows, page_bytes=page_bytes, record_bytes=10_000, read_seconds=10
    ) as source:
        page = await source.page(Position())
        while page.rows:
            found += [row.id for row in page.rows]
            page = await source.page(page.position)
    return found


async def test_a_position_inside_a_window_gives_the_same_rows_again(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=30)
    async with store.outbox(
        it.dsn, page_rows=10, page_bytes=1 << 20, record_bytes=10_000, read_seconds=10
    ) as source:
        place = (await source.page(Position())).position
        before = await source.page(place)
        await it.insert(rows=30)
        assert await source.page(place) == before
