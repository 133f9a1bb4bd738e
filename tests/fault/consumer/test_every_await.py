"""The process dies, or its connection does, at every await of the batch path in turn: nothing is lost or doubled.

A story of each service is applied in two batches. Every await on the way, of a connection or a handler, is counted
and named; then the n-th fails, in each of the ways below, before or after it took effect. The same records are
applied again, as they are after the offsets were not committed, and what the service knows, has remembered,
audited and published is what it is when nothing fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

import dunning.fold
import dunning.policies
import dunning.store
import entitlement.catalog
import entitlement.fold
import entitlement.store
import ledger.fold
import ledger.store
from ingest.domain.routing import topic_of
from lab.demo.site import COMPANY
from lab.northwind import quarter
from millrace import postgres
from millrace.clock import FrozenClock
from millrace.consumer import Batches, Each, Fold, Record, read
from millrace.consumer.store import Store
from millrace.documents import Watched
from millrace.events import Event
from millrace.events.stripe import customer_of
from millrace.postgres import Pool, Schema, Transaction
from millrace.topics import STRIPE_BILLING, STRIPE_PAYMENTS
from tests.support import tally
from tests.support.database import MakeDatabase
from tests.support.events import record_of

CLOCK = FrozenClock(datetime(2026, 10, 1, tzinfo=UTC))


async def add(tx: Transaction, event: Event) -> str:
    """A handler as other teams write it: a row, and what it publishes."""
    await tx.execute(
        "insert into tally.tally values ($1, array[$2], 1) on conflict (key) do update"
        " set applied = tally.tally.applied || excluded.applied, total = tally.tally.total + 1",
        event.key,
        event.id,
    )
    return "counted"


async def refuse(tx: Transaction, event: Event) -> None:
    await tx.execute("insert into tally.tally values ($1, '{}', 5000)", event.key)


@dataclass(frozen=True)
class Story:
    """A service, what it reads of the quarter, and every await of its two batches, as they are counted."""

    make: Callable[[], Fold[Any, Any] | Each]
    schema: Schema
    topics: tuple[str, ...]
    awaits: int
    buyers: int = 12  # of the quarter; enough for every statement of the service
    backwards: bool = False  # the last event first, so that facts wait for each other
    parted: str | None = None  # the first batch ends with the first event of this type; in the middle without


STORIES: dict[str, Story] = {
    "entitlement": Story(
        lambda: entitlement.fold.fold(entitlement.catalog.InForce(COMPANY / "catalog.yaml", CLOCK).current),
        entitlement.store.SCHEMA,
        (STRIPE_BILLING,),
        40,
    ),
    "ledger": Story(
        ledger.fold.fold,
        ledger.store.SCHEMA,
        (STRIPE_BILLING, STRIPE_PAYMENTS),
        37,
        backwards=True,
        parted="invoice.voided",  # what it reverses is in the second batch, so it waits
    ),
    "dunning": Story(
        lambda: dunning.fold.fold(Watched(COMPANY / "dunning.yaml", dunning.policies.read)),
        dunning.store.SCHEMA,
        (STRIPE_BILLING, STRIPE_PAYMENTS),
        33,
    ),
    "a handler an event": Story(
        lambda: Each(
            "tally",
            {"stripe.customer.subscription.created": add, "stripe.customer.created": refuse},
            ordered=False,
        ),
        tally.SCHEMA,
        (STRIPE_BILLING,),
        59,
        buyers=1,
    ),
}


class Killed(BaseException):
    """The process ends here: nobody catches it, and nothing of ours runs after it."""


WAYS = [
    f"{when} {what}"
    for what in ("the process dies", "the connection is cut", "it is cancelled")
    for when in ("before", "after")
]
SHORT = ("before the connection is cut", "after the process dies")


class Awaits:
    """Every await on the way to the database, named; the `at`-th fails in its way."""

    def __init__(self, at: int = 0, way: str = "") -> None:
        self.at, self.way, self.names = at, way, list[str]()

    async def __call__(self, name: str, work: Callable[[], Awaitable[Any]], connection: Any = None) -> Any:
        self.names.append(name)
        if len(self.names) != self.at:
            return await work()
        if self.way.startswith("after"):
            connection = await work() if name == "acquire" else (await work(), connection)[1]
        if connection is not None and not self.way.endswith("cancelled"):
            connection.terminate()
        if self.way.endswith("dies"):
            raise Killed
        if self.way.endswith("cancelled"):
            raise asyncio.CancelledError
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class Counted:
    """A connection whose awaits are counted. What has no await passes through."""

    def __init__(self, connection: Any, awaits: Awaits) -> None:
        self.connection, self.awaits = connection, awaits

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.connection, name)
        if name not in ("execute", "executemany", "fetch", "fetchrow", "fetchval"):
            return found

        async def counted(statement: str, *args: Any) -> Any:
            said = " ".join(statement.split())[:70]
            return await self.awaits(said, lambda: found(statement, *args), self.connection)

        return counted


class Unsteady(Store):
    """The runtime's own store, on connections that fail as they are told."""

    def __init__(self, pool: Pool, schema: str, awaits: Awaits) -> None:
        super().__init__(pool, schema)
        self.awaits = awaits

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.pool.acquire() as connection:
            await self.awaits("acquire", _nothing, connection)
            tx = connection.transaction()
            await self.awaits("begin", tx.start, connection)
            try:
                yield Counted(connection, self.awaits)
            except BaseException:
                if not connection.is_closed():
                    await self.awaits("rollback", tx.rollback, connection)
                raise
            await self.awaits("commit", tx.commit, connection)


async def _nothing() -> None:
    """A connection from the pool, when it is there."""


def told(story: Story) -> list[list[Record]]:
    """What the buyers with the fullest lives did, with an event twice, a body that is no JSON, and what is no event."""
    bodies = [body for _, body in quarter.build(seed=1, customers=60).events]
    lives: dict[str, set[str]] = {}
    for body in bodies:
        lives.setdefault(customer_of(body["data"]["object"]) or "", set()).add(body["type"])
    buyers = sorted(filter(None, lives), key=lambda buyer: -len(lives[buyer]))[: story.buyers]
    chosen = [
        body
        for body in (reversed(bodies) if story.backwards else bodies)
        if customer_of(body["data"]["object"]) in buyers and topic_of(body["type"]) in story.topics
    ]
    ours = [record_of(b, topic=topic_of(b["type"]), offset=2 * place) for place, b in enumerate(chosen)]
    types = [body["type"] for body in chosen]
    half = types.index(story.parted) + 1 if story.parted else len(ours) // 2
    broken = [(name, b"broken" if name == "ce_id" else raw) for name, raw in ours[0].headers.items()]
    return [
        [*ours[:half], replace(ours[0], offset=2 * half - 1)],
        [
            *ours[half:],
            read(STRIPE_BILLING, 0, 90_000, b"acct_test/cus_broken", broken, b"{"),
            read(STRIPE_BILLING, 0, 90_001, None, [], b"{}"),
            replace(ours[1], offset=90_002),
        ],
    ]


TABLES = """
-- The tables of a consumer's schema, and the outbox.
select format('%I.%I', nspname, relname) from pg_class join pg_namespace n on n.oid = relnamespace
 where relkind in ('r', 'p') and not relispartition and (nspname = $1 or nspname = 'outbox' and relname = 'event')
   and relname not in ('migration', 'account')
 order by 1
"""
ROWS = "select (to_jsonb(t) - $1::text[])::text from {table} t"
VOLATILE = (
    "processed_at", "recorded_at", "advanced_at", "parked_at", "created_at", "started_at",  # clocks
    "id", "seq", "xid", "tx_id", "kafka_offset",  # numbers that a rollback burns, or that a second reading has
    "records",  # of progress: what was read again counts again
)  # fmt: skip


class Ground:
    """A database that is cleared between two runs, and what it holds after one."""

    def __init__(self, owner: asyncpg.Connection, pool: Pool, story: Story, tables: Sequence[str]) -> None:
        self.owner, self.pool, self.story, self.tables = owner, pool, story, tables
        self.parts, self.consumer = told(story), story.make()

    async def play(self, awaits: Awaits) -> None:
        """Deliver the story until something rests, as the loop does."""
        store = Unsteady(self.pool, self.story.schema.name, awaits)
        batches = Batches(self.pool, self.consumer, store=store)
        for part in self.parts:
            if (await batches.apply(part)).resting:
                return

    async def state(self) -> dict[str, list[Any]]:
        """Every row of every table, without what no two runs have in common."""
        rows = {table: await self.owner.fetch(ROWS.format(table=table), VOLATILE) for table in self.tables}
        return {table: sorted(row[0] for row in found) for table, found in rows.items()}

    async def clear(self) -> None:
        await self.owner.execute("; ".join(f"delete from {table}" for table in self.tables))


@pytest.fixture
async def ground(request: pytest.FixtureRequest, database: MakeDatabase) -> AsyncIterator[Ground]:
    story = STORIES[request.param]
    db = await database(story.schema)
    owner = await asyncpg.connect(db.owner)
    await owner.execute("set session_replication_role = replica")  # past the triggers that forbid to forget
    pool = await postgres.pool(db.dsn(story.schema), timeout_seconds=60)
    tables = [row[0] for row in await owner.fetch(TABLES, story.schema.name)]
    yield Ground(owner, pool, story, tables)
    await pool.close()
    await owner.close()


async def every(ground: Ground, ways: Sequence[str]) -> None:
    undisturbed = Awaits()
    await ground.play(undisturbed)
    expected = await ground.state()
    assert all(
        expected[f"{ground.story.schema.name}.{table}"] for table in ("processed_events", "parked_event")
    )
    assert len(undisturbed.names) == ground.story.awaits, "\n".join(["counted were:", *undisturbed.names])
    for at, name in enumerate(undisturbed.names, 1):
        for way in ways:
            await ground.clear()
            with suppress(Killed, asyncio.CancelledError):
                await ground.play(Awaits(at, way))
            await ground.play(Awaits())
            assert await ground.state() == expected, f"{way} at await {at}: {name}"


@pytest.mark.parametrize("ground", STORIES, indirect=True)
async def test_a_failure_at_any_await_loses_nothing_and_does_nothing_twice(ground: Ground) -> None:
    await every(ground, SHORT)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ground", STORIES, indirect=True)
async def test_in_whatever_way_it_fails(ground: Ground) -> None:
    await every(ground, WAYS)
