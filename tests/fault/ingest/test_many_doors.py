"""Two processes, two endpoints and an import at once: an event is stored once, and a customer has one key.

Nothing is left to chance: a lock holds everybody back until all are at the same place.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from ingest import importing
from ingest.importing import Given, Import
from ingest.store import SCHEMA
from millrace import postgres
from millrace.clock import SystemClock
from millrace.sealing import Files, Keys, Policy
from tests.fault.ingest.witness import Line, account_for, business, signature
from tests.integration.ingest.edge import ACCOUNT, POLICY, Process, key_folder, process_on, until
from tests.support.database import Database, MakeDatabase

TIMES = 50
CUSTOMERS = 100
SECRETS = {"main": b"whsec_main", "spare": b"whsec_spare"}
ROW_BY_ROW = "batch refused, going row by row"  # a deadlock would look like that

WAITING = """
select count(*) from pg_stat_activity
 where datname = current_database() and wait_event_type = 'Lock' and query like $1
"""


@asynccontextmanager
async def held(db: Database, table: str, marks: str, statements: int) -> AsyncIterator[None]:
    """Lets nobody write to a table until so many statements wait for it; does so at the end of the block."""
    owner = await asyncpg.connect(db.owner)
    looking = await asyncpg.connect(db.owner)

    async def all_there() -> bool:
        return bool(await looking.fetchval(WAITING, f"%{marks}%") >= statements)

    try:
        async with owner.transaction():
            await owner.execute(f"lock table {table} in share row exclusive mode")
            yield
            await until(all_there)
    finally:
        await owner.close()
        await looking.close()


@asynccontextmanager
async def two_edges(db: Database, folder: Path) -> AsyncIterator[list[Process]]:
    """Two processes with two endpoints of one account."""
    for name, secret in SECRETS.items():
        (folder / name).write_bytes(secret)
    doors = [
        f"{name}:\n  account: {ACCOUNT}\n  livemode: false\n  secrets: [{{file: {folder}/{name}}}]\n"
        for name in SECRETS
    ]
    (folder / "doors.yaml").write_text("".join(doors))
    edge = partial(process_on, db, folder, INGEST_ENDPOINTS=str(folder / "doors.yaml"))
    async with edge() as one, edge() as other:
        yield [one, other]


@asynccontextmanager
async def importer(db: Database) -> AsyncIterator[Import]:
    """An import with its own keys, as `millrace import` runs it."""
    pool = await postgres.pool(db.dsn(SCHEMA), size=2)
    try:
        async with pool.acquire() as connection:
            door = importing.endpoint(ACCOUNT, livemode=False, connect=False)
            keys = Keys(pool, Files(key_folder()))
            work = Import(connection, door, keys, Policy.read(POLICY), SystemClock())  # type: ignore[arg-type]
            await work.begin()
            yield work
    finally:
        await pool.close()


async def through_every_door(edges: list[Process], raw: bytes) -> list[int]:
    """The same body to both endpoints of both processes; the answers."""
    lines = [(Line(edge.port), name) for edge in edges for name in SECRETS]
    heard = await asyncio.gather(*(
        line.post(raw, signature(raw, SECRETS[name]), f"/webhooks/stripe/{name}") for line, name in lines
    ))  # fmt: skip
    await asyncio.gather(*(line.close() for line, _ in lines))
    return [one.status if one else 0 for one in heard]


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


async def test_one_event_through_two_endpoints_two_processes_and_an_import_is_one(
    db: Database, tmp_path: Path
) -> None:
    """Fifty times, with all three statements at the id's table at once."""
    make = business("doors")
    sent = dict(make(number) for number in range(TIMES))
    async with two_edges(db, tmp_path) as edges, importer(db) as work:
        for place, raw in enumerate(sent.values()):
            async with held(db, "ingest.event_id", "arriving", statements=3):
                posting = asyncio.create_task(through_every_door(edges, raw))
                taking = asyncio.create_task(work.take([Given(f"file:{place}", raw, listed=False)]))
            assert await posting == [200] * 4
            assert await taking == []
        assert not [line for edge in edges for line in edge.log if line["message"] == ROW_BY_ROW]
    assert await account_for(db, sent, list(sent)) == sent.keys()
    assert work.told.seen == TIMES == work.told.stored + work.told.passed_over
    assert len(await winners(db)) > 1, "one door was always first: this proved nothing"


async def winners(db: Database) -> Counter[str]:
    """Which door's row stayed, and how often."""
    owner = await asyncpg.connect(db.owner)
    rows = await owner.fetch("select endpoint from ingest.event")
    await owner.close()
    return Counter(row["endpoint"] for row in rows)


async def test_new_customers_at_two_processes_at_once_have_one_key_each(db: Database, tmp_path: Path) -> None:
    """Both processes make a key for each of a hundred; one of each stays, and both seal with that one."""
    make = business("new", customers=4)
    sent = dict(make(number) for number in range(4 * CUSTOMERS))
    async with two_edges(db, tmp_path) as edges:
        async with held(db, "sealing.subject_key", "subject_key", statements=2):
            posting = [
                asyncio.create_task(one_by_one(edges[place % 2], [raw]))
                for place, raw in enumerate(sent.values())
            ]
        answers = [status for each in await asyncio.gather(*posting) for status in each]
        assert Counter(answers) == {200: len(sent)}
    assert await account_for(db, sent, list(sent)) == sent.keys()
    assert await keys_by_customer(db) == dict.fromkeys((f"cus_new_{n}" for n in range(CUSTOMERS)), 1)


async def one_by_one(edge: Process, raws: list[bytes]) -> list[int]:
    line = Line(edge.port)
    heard = [await line.post(raw, signature(raw, SECRETS["main"])) for raw in raws]
    await line.close()
    return [one.status if one else 0 for one in heard]


async def keys_by_customer(db: Database) -> dict[str, int]:
    """How many keys each customer has, destroyed ones included."""
    owner = await asyncpg.connect(db.owner)
    rows = await owner.fetch(
        "select customer, count(*) from sealing.subject_key where purpose = 'data' and customer <> '' group by 1"
    )
    await owner.close()
    return {row["customer"]: row["count"] for row in rows}
