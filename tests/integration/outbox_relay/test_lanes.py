"""Lanes: shards of one outbox and outboxes of several databases, side by side in one process or shared by two."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import ConsumerRecord
from prometheus_client import REGISTRY

from millrace.events.keys import key_hash
from outbox_relay import app, store
from outbox_relay.domain.cursor import Position
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.relay import Halted
from outbox_relay.relay.lanes import Lanes
from outbox_relay.store import reading
from tests.fault.outbox_relay.proxy import Proxy, before
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.support.kafka import MakeTopic, read_all

HALVES = lanes("main", 2)


# --- shards of one outbox ---


async def test_two_lanes_share_the_rows_of_an_outbox_and_no_partition(arena: MakeArena) -> None:
    it = await arena(partitions=4, shards=2, page_rows=30)
    await it.insert(rows=200, keys=31)
    async with running(it.lanes()):
        await it.published()
        await it.insert(rows=100, keys=31)
        await it.published()
    assert await it.account() == Account(rows=300)
    by = {(lane_of(record), record.partition % 2) for record in await read_all(it.kafka, it.topic)}
    assert by == {("main.0of2", 0), ("main.1of2", 1)}


def lane_of(record: ConsumerRecord) -> str:
    whose: bytes = dict(record.headers)["millrace-outbox"]
    return whose.decode().partition("@")[0]


async def test_every_row_is_read_by_one_lane(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=90, keys=31)
    whole = await read(it, Lane())
    thirds = [await read(it, lane) for lane in lanes("main", 3)]
    assert sorted(chain(*thirds)) == whole == sorted(await it.committed())
    assert all(thirds)


async def read(it: Arena, lane: Lane) -> list[int]:
    """What a lane's pages bring, in their order: the first of a window, and further ones."""
    found: list[int] = []
    async with source(it, lane) as pages:
        place = Position()
        while not found or place.window:
            page = await pages.page(place)
            found += [row.id for row in page.rows]
            place = page.position
    return found


def source(it: Arena, lane: Lane):  # type: ignore[no-untyped-def]  # a context manager of the store's own type
    return store.outbox(
        it.dsn, lane=lane, page_rows=20, page_bytes=1 << 20, record_bytes=5000, read_seconds=10
    )


async def test_a_quiet_lane_does_not_search_what_the_others_were_given(arena: MakeArena) -> None:
    """Rows of other lanes prove as well as its own that their transactions are over for good."""
    it = await arena()
    (lone,) = [lane for lane in HALVES if not lane.owns(key_hash("acct_1/cus_0"))]
    for _ in range(3):
        await it.insert(rows=10, keys=1)
    async with source(it, lone) as pages, it.connection() as connection:
        page = await pages.page(Position())
        newest = await connection.fetchval("select max(xid::text::bigint) from outbox.event")
        assert not page.rows
        assert page.position.seen.sees(newest)
        assert page.position.proven == newest + 1


async def test_a_long_backlog_is_ordered_from_the_index_alone(arena: MakeArena) -> None:
    """The first page of a window sorts numbers, never rows, however many there are and however wide."""
    it = await arena()
    await it.insert(rows=3000)
    connection = await asyncpg.connect(it.dsn, server_settings=reading.SESSION)
    try:
        await connection.execute(f"prepare it as {reading.FIRST}")
        words = "'3', '{}', '3:3:', 2000, 8000000, 1000000, 0, 1"
        found = await connection.fetchval(f"explain (format json, costs off) execute it({words})")
    finally:
        await connection.close()
    every = list(walk(json.loads(found)[0]["Plan"]))
    (chosen,) = [
        node for node in every if node["Node Type"] == "Limit" and node["Plans"][0]["Node Type"] == "Sort"
    ]
    scans = {node["Node Type"] for node in walk(chosen) if "Scan" in node["Node Type"]}
    assert scans == {"Index Only Scan"}
    assert "Seq Scan" not in {node["Node Type"] for node in every}


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A part of a plan and everything below it."""
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)


# --- who leads ---


async def test_lanes_of_one_division_are_led_side_by_side_and_never_beside_another(arena: MakeArena) -> None:
    it = await arena()
    half, other = [await store.lease(it.dsn, lane, 5) for lane in HALVES]
    assert half and other
    assert await store.lease(it.dsn, HALVES[0], 5) is None
    for lane in (Lane(), *lanes("main", 3)):
        assert await store.lease(it.dsn, lane, 5) is None
    await half.release()
    assert await store.lease(it.dsn, Lane(), 5) is None  # one is enough
    await other.release()
    whole = await store.lease(it.dsn, Lane(), 5)
    assert whole
    assert await store.lease(it.dsn, HALVES[0], 5) is None
    await whole.release()


async def test_of_two_divisions_that_ask_at_once_at_most_one_leads(arena: MakeArena) -> None:
    it = await arena()
    rivals = [
        store.Candidate(it.dsn, lane, 10) for lane in (Lane(), HALVES[0], HALVES[1], Lane("main", 2, 3))
    ]
    seen: set[int] = set()
    chance = random.Random(7)

    async def ask(rival: store.Candidate) -> store.Lease | None:
        await asyncio.sleep(chance.uniform(0, 0.01))  # in step for ever, each would give way to the others
        return await rival.ask()

    try:
        for _ in range(25):
            asked = await asyncio.gather(*map(ask, rivals))
            leading = {rival.lane.shards for rival, lease in zip(rivals, asked, strict=True) if lease}
            assert len(leading) <= 1
            seen |= leading
            await asyncio.gather(*(lease.release() for lease in asked if lease))
    finally:
        await asyncio.gather(*(rival.leave() for rival in rivals))
    assert seen  # they do not keep each other out for ever


async def test_two_processes_share_the_lanes(arena: MakeArena, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when one is first at every lane: whoever leads lets the other one ask."""
    monkeypatch.setattr("random.sample", lambda relays, _: relays)
    it = await arena(partitions=4, shards=4)
    one, two = it.lanes(), it.lanes()
    await it.insert(rows=80, keys=31)
    async with running(one):
        await until(lambda: led(one) == 1)
        async with running(two):
            await until(lambda: led(one) + led(two) == 4, 60)
            assert led(one) and led(two)
            await it.published()
    assert await it.account() == Account(rows=80)


def led(process: Lanes) -> int:
    return sum(relay.leading for relay in process.relays)


async def test_a_standby_holds_no_snapshot_and_keeps_its_connection(arena: MakeArena) -> None:
    it = await arena()
    leader = await store.lease(it.dsn, Lane(), 5)
    standby = store.Candidate(it.dsn, Lane(), 5)
    assert leader and await standby.ask() is None
    try:
        async with it.connection() as connection:
            first = await connection.fetch(WAITING)
            assert await standby.ask() is None
            assert await connection.fetch(WAITING) == first
        assert [row["state"] for row in first] == ["idle", "idle"]
        assert all(row["backend_xmin"] is None for row in first)
        await leader.release()
        lease = await standby.ask()
        assert lease
        await lease.release()
    finally:
        await standby.leave()


WAITING = """
select pid, state, backend_xmin from pg_stat_activity
 where datname = current_database() and application_name like 'millrace-relay-lease%' order by pid
"""


# --- outboxes of several databases ---

MakePair = Callable[..., Awaitable[tuple[Arena, Arena]]]


@pytest.fixture(name="pair")
def make_pair(arena: MakeArena, topics: MakeTopic) -> MakePair:
    """Two outboxes of one process: `main` and `billing`, each with a database and a topic."""

    async def make(**overrides: object) -> tuple[Arena, Arena]:
        main, billing = await arena(**overrides), await arena(**overrides)
        cursor = Lane("billing").cursor_topic(main.cursor)
        await topics(cursor, partitions=1, config={"cleanup.policy": "compact"}, exact=True)
        return main, replace(billing, cursor=cursor)

    return make


def together(main: Arena, billing: Arena) -> Lanes:
    databases = {"main": main.dsn, "billing": billing.dsn}
    settings = main.settings().model_dump(exclude={"database"}) | {"databases": databases}
    return Lanes(app.relays(type(main.settings()).model_validate(settings)))


@pytest.mark.parametrize("how", ["refuses", "is silent"])
async def test_a_database_that_is_away_slows_nobody_else(pair: MakePair, how: str) -> None:
    main, billing = await pair(stalled_seconds=1)
    async with before(port_of(main)) as proxy:
        both = together(
            replace(main, owner=main.owner.replace(f":{port_of(main)}/", f":{proxy.port}/")), billing
        )
        async with running(both):
            for it in (main, billing):
                await it.insert(rows=20)
                await it.published()
            async with refused(main) if how == "refuses" else silent(proxy):
                fenced = fences("billing")
                await until(lambda: both.ready().startswith("main: no progress"), 30)
                for rows in (30, 40, 50):
                    await billing.insert(rows=10)
                    await billing.published(rows, deadline_seconds=15)
                assert "billing" not in both.ready()
                assert fences("billing") == fenced  # nothing of it was even started over
            await main.insert(rows=5)
            await main.published()
            await until(lambda: both.ready() == "", 30)
    assert (await main.account(), await billing.account()) == (Account(rows=25), Account(rows=50))


def port_of(it: Arena) -> int:
    return urlsplit(it.owner).port or 5432


def fences(lane: str) -> float | None:
    return REGISTRY.get_sample_value("millrace_relay_fences_total", {"lane": lane})


@asynccontextmanager
async def silent(proxy: Proxy) -> AsyncIterator[None]:
    """Nothing comes back any more, not even a refusal."""
    proxy.hang()
    yield
    proxy.mend()


@asynccontextmanager
async def refused(it: Arena) -> AsyncIterator[None]:
    """Nobody gets into this database, and everybody is put out."""
    server, _, name = it.owner.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f"alter database {name} allow_connections false")
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name
        )
        yield
        await connection.execute(f"alter database {name} allow_connections true")
    finally:
        await connection.close()


async def test_a_lane_that_halts_stays_so_by_itself(pair: MakePair, arena: MakeArena) -> None:
    main, billing = await pair()
    await published_from(await arena(), billing)  # its cursor belongs to another database
    both = together(main, billing)
    async with running(both):
        await until(lambda: "billing: halted: " in both.ready(), 30)
        await main.insert(rows=20)
        await main.published()
        assert both.ready().startswith(
            "billing: halted: the cursor of lane billing belongs to another history"
        )
        assert REGISTRY.get_sample_value("millrace_relay_halted", {"lane": "billing"}) == 1
        assert REGISTRY.get_sample_value("millrace_relay_halted", {"lane": "main"}) == 0
        lease = await store.lease(billing.dsn, Lane("billing"), 5)
        assert lease  # a person can take the lane now
        await lease.release()
    assert await main.account() == Account(rows=20)


async def published_from(other: Arena, lane: Arena) -> None:
    """Another database publishes into a lane's cursor topic."""
    stranger = replace(other, cursor=lane.cursor)
    await stranger.insert(rows=3)
    async with running(stranger.relay()):
        await stranger.published()


async def test_when_every_lane_has_halted_the_process_says_all_and_ends(
    pair: MakePair, arena: MakeArena, tmp_path: Path
) -> None:
    main, billing = await pair()
    for lane in (main, billing):
        await published_from(await arena(), lane)
    with pytest.raises(Halted, match=r"rebase --lane (main|billing).* rebase --lane (main|billing)"):
        await asyncio.wait_for(together(main, billing).run(asyncio.Event()), 60)


async def test_of_a_division_the_process_leads_only_what_it_is_told(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(partitions=2, shards=2)
    it.overrides["lanes"] = "main.1of2"
    relay = await RelayProcess.start(it, tmp_path / "half.log")
    await relay.said("leading")
    other = await store.lease(it.dsn, HALVES[0], 5)
    assert other and await store.lease(it.dsn, HALVES[1], 5) is None
    await other.release()
    relay.process.terminate()
    assert await relay.ended() == 0
