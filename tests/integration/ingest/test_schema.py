"""The tables keep their promises against whoever writes: rights, triggers, partitions, statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pytest

from ingest import store
from ingest.commands import digest, event_ids, stored
from ingest.domain.months import Month
from ingest.jobs import Partitions
from ingest.store import SCHEMA
from millrace import postgres
from millrace.clock import FrozenClock
from tests.integration.ingest.edge import ACCOUNT, NOW, Edge, body_of, edge_on, opening
from tests.support.database import Database, MakeDatabase

STATEMENTS = {
    name: text for name, text in vars(store).items() if isinstance(text, str) and text.startswith("\n--")
}


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def role(db: Database) -> AsyncIterator[postgres.Connection]:
    connection = await asyncpg.connect(db.dsn(SCHEMA))
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_statement_is_understood_by_the_migrated_schema(
    role: postgres.Connection, name: str
) -> None:
    await role.prepare(STATEMENTS[name])


def test_the_statements_are_all_there() -> None:
    assert {"STORE", "INSIST", "DURABILITY", "PING", "MAKE_PARTITION", "SUMMARY", "IDS"} == set(STATEMENTS)


FORBIDDEN = [
    "update ingest.event set type = 'x'",
    "delete from ingest.event",
    "truncate ingest.event",
    "insert into ingest.event_default select * from ingest.event",
    "update ingest.event_id set id = 'x'",
    "delete from ingest.event_id",
    "truncate ingest.event_id",
    "select * from outbox.event",
    "update outbox.event set topic = 'x'",
    "delete from outbox.event",
    "create table ingest.mine (id int)",
    "alter table ingest.event disable trigger all",
    "drop table ingest.event_default",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_role_may_only_add(role: postgres.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await role.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "update ingest.event set type = 'x'",
        "delete from ingest.event",
        "truncate ingest.event",
        "update ingest.event_2026_11 set type = 'x'",
        "delete from ingest.event_2026_11",
        "truncate ingest.event_2026_11",
        "truncate ingest.event_default",
        "update ingest.event_id set id = 'x'",
        "delete from ingest.event_id",
        "truncate ingest.event_id",
    ],
)
async def test_even_the_owner_is_refused(edge: Edge, statement: str) -> None:
    await edge.rows("select ingest.make_partition('2026-11-01')")
    assert (await edge.post(body_of())).status_code == 200
    with pytest.raises(asyncpg.RestrictViolationError, match="stored events stay as they are"):
        await edge.rows(statement)


async def test_months_are_made_ahead_once_and_events_go_to_theirs(edge: Edge) -> None:
    pool = await postgres.pool(edge.db.dsn(SCHEMA), size=1)
    partitions = Partitions(pool, FrozenClock(NOW))
    await partitions.make()
    await partitions.make()
    await pool.close()
    assert (await edge.post(body_of())).status_code == 200
    names = await edge.rows(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'ingest.event'::regclass order by 1"
    )
    assert [r["name"].removeprefix("ingest.event_") for r in names] == [
        "2026_11", "2026_12", "2027_01", "2027_02", "default"
    ]  # fmt: skip
    assert await edge.rows("select from ingest.event_2026_11") != []


async def test_without_a_day_in_the_outbox_senders_come_again_until_it_is_made(edge: Edge) -> None:
    """As when the database's clock is two weeks ahead: nothing is stored, nothing is acknowledged."""
    [day] = await edge.rows("select to_char(now() at time zone 'UTC', '\"outbox.event_\"YYYYMMDD') as name")
    await edge.rows(f"drop table {day['name']}")
    assert (await edge.post(body_of())).status_code == 503
    assert await edge.stored() == []
    async with await postgres.pool(edge.db.dsn(SCHEMA), size=1) as pool:
        await Partitions(
            pool, FrozenClock(NOW)
        ).make()  # every ten minutes; or `millrace relay partitions make`
    assert (await edge.post(body_of())).status_code == 200
    assert await edge.rows(f"select from {day['name']}") != []


async def test_a_month_that_nobody_prepared_goes_to_the_default_and_stays_there(edge: Edge) -> None:
    assert (await edge.post(body_of())).status_code == 200
    assert len(await edge.rows("select from ingest.event_default")) == 1
    [made] = await edge.rows("select ingest.make_partition('2026-11-15') as made")
    assert made["made"] is False
    assert await edge.stored() == ["evt_1"]


def test_months_cross_the_year() -> None:
    assert [str(month) for month in Month.of(date(2026, 11, 30)).and_next(2)] == [
        "2026-11",
        "2026-12",
        "2027-01",
    ]


async def test_operators_see_what_is_stored(edge: Edge) -> None:
    connection = await asyncpg.connect(edge.db.dsn(SCHEMA))
    try:
        assert await stored(connection) == {"events": 0, "types": {}, "oldest": None, "newest": None}
        for id, type_ in (
            ("evt_2", "charge.succeeded"),
            ("evt_1", "invoice.paid"),
            ("evt_3", "invoice.paid"),
        ):
            assert (await edge.post(body_of(id, type=type_))).status_code == 200
        assert await stored(connection) == {
            "events": 3,
            "types": {"charge.succeeded": 1, "invoice.paid": 2},
            "oldest": NOW,
            "newest": NOW,
        }
        assert (await event_ids(connection))[:2] == [
            (ACCOUNT, "evt_1", "invoice.paid", "stripe.billing"),
            (ACCOUNT, "evt_2", "charge.succeeded", "stripe.payments"),
        ]
    finally:
        await connection.close()


async def test_the_digest_knows_the_bodies_and_neither_their_order_nor_their_keys(
    database: MakeDatabase,
) -> None:
    async def digest_of(*bodies: bytes) -> str:
        async with edge_on(await database(SCHEMA)) as edge, opening(edge.db) as keys:
            for raw in bodies:
                assert (await edge.post(raw)).status_code == 200
            connection = await asyncpg.connect(edge.db.owner)
            found = await digest(connection, keys)
            await connection.close()
            return found

    one, two = body_of("evt_1"), body_of("evt_2")
    assert await digest_of(one, two) == await digest_of(two, one, two)
    assert await digest_of(one, two) != await digest_of(one, two + b" ")
