"""Migrations go forward, once, whoever runs them; and a service's role may do only what they grant."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import asyncpg
import pytest

from lab.stack import Stack
from millrace import outbox, postgres
from millrace.errors import Misconfigured
from millrace.postgres import OWNER, Schema, Series
from tests.support.database import Database, MakeDatabase

_packages = itertools.count(1)
TURN = "create table turn (n int primary key);\ngrant select, insert on turn to $role;\n"
STONE = "create table $schema.stone (name text);\n"


class Files:
    """A package of migrations that a test writes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.series = folder, Series("mill", name)

    def write(self, **files: str) -> Files:
        for name, text in files.items():
            (self.folder / f"{name.removeprefix('_')}.sql").write_text(text)
        return self

    def schema(self, name: str = "mill") -> Schema:
        return Schema(name, (self.series,))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    name = f"mill_migrations_{next(_packages)}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    return Files(tmp_path / name, name)


async def scalar(dsn: str, statement: str, *arguments: object) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement, *arguments)
    finally:
        await connection.close()


async def test_migrations_are_applied_once_and_in_order(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN).schema()
    assert await postgres.migrate(db.owner, schema) == ["mill/mill/0001_turns.sql"]
    assert await postgres.migrate(db.owner, schema) == []
    files.write(_0002_stones=STONE)
    assert await postgres.migrate(db.owner, schema) == ["mill/mill/0002_stones.sql"]
    assert await scalar(db.owner, "select to_regclass('mill.stone') is not null")


async def test_one_of_many_migrators_applies_each_file(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN, _0002_stones=STONE).schema()
    applied = await asyncio.gather(*(postgres.migrate(db.owner, schema) for _ in range(6)))
    assert sorted(itertools.chain(*applied)) == ["mill/mill/0001_turns.sql", "mill/mill/0002_stones.sql"]


async def test_databases_of_one_server_are_migrated_side_by_side(
    database: MakeDatabase, files: Files, stack: Stack
) -> None:
    schema = files.write(_0001_turns=TURN).schema(f"side_by_side_{next(_packages)}")
    both = [await database(), await database()]
    await asyncio.gather(*(postgres.migrate(db.owner, schema) for db in both))
    for db in both:
        assert await postgres.migrate(db.owner, schema) == []
        await scalar(db.owner, f"drop owned by {schema.role}")
    await scalar(stack.postgres, f"drop role {schema.role}")


async def test_a_file_changed_after_it_was_applied_is_refused_and_nothing_happens(
    database: MakeDatabase, files: Files
) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN).schema()
    await postgres.migrate(db.owner, schema)
    files.write(_0001_turns=TURN + "-- an afterthought\n", _0002_stones=STONE)
    with pytest.raises(Misconfigured, match=r"0001_turns\.sql was changed after it was applied"):
        await postgres.migrate(db.owner, schema)
    assert await scalar(db.owner, "select to_regclass('mill.stone') is null")


async def test_a_database_ahead_of_the_code_is_refused(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN, _0002_stones=STONE).schema()
    await postgres.migrate(db.owner, schema)
    (files.folder / "0002_stones.sql").unlink()
    with pytest.raises(Misconfigured, match=r"mill is ahead of this version .*\('mill', 2\)"):
        await postgres.migrate(db.owner, schema)


async def test_a_migration_that_fails_leaves_nothing(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN, _0002_stones="select nonsense").schema()
    with pytest.raises(asyncpg.UndefinedColumnError):
        await postgres.migrate(db.owner, schema)
    assert await scalar(db.owner, "select to_regnamespace('mill') is null")


@pytest.mark.parametrize(
    "names", [["_0002_turns"], ["_0001_turns", "_0003_more"], ["_0001-turns"], ["_1_turns"]]
)
async def test_a_gap_or_a_misnamed_file_is_refused(
    database: MakeDatabase, files: Files, names: list[str]
) -> None:
    db = await database()
    with pytest.raises(Misconfigured, match=r"expected 000\d_intent\.sql"):
        await postgres.migrate(db.owner, files.write(**dict.fromkeys(names, TURN)).schema())


async def test_a_service_is_told_what_is_not_applied_yet(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN).schema()
    connection = await asyncpg.connect(db.owner)
    try:
        assert await postgres.pending(connection, schema) == ["0001_turns.sql"]
        await postgres.migrate(db.owner, schema)
        assert await postgres.pending(connection, schema) == []
        files.write(_0002_stones=STONE)
        assert await postgres.pending(connection, schema) == ["0002_stones.sql"]
    finally:
        await connection.close()


async def test_a_service_may_ask_with_its_own_role(database: MakeDatabase, files: Files) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN).schema()
    await postgres.migrate(db.owner, schema)
    connection = await asyncpg.connect(db.dsn(schema))
    try:
        assert await postgres.pending(connection, schema) == []
    finally:
        await connection.close()


GRANTED = """
select table_schema || '.' || table_name, string_agg(lower(privilege_type), ' ' order by privilege_type)
  from information_schema.role_table_grants where grantee = $1 group by 1
 union all
select attrelid::regclass || ' (' || string_agg(attname, ' ' order by attnum) || ')', lower(privilege_type)
  from pg_attribute, aclexplode(attacl) where grantee = $1::regrole group by attrelid, privilege_type
 union all
select oid::regclass::text, lower(privilege_type)
  from pg_class, aclexplode(relacl) where relkind = 'S' and grantee = $1::regrole
 union all
select oid::regprocedure::text, lower(privilege_type)
  from pg_proc, aclexplode(proacl) where grantee = $1::regrole
 order by 1
"""


async def test_a_role_has_what_its_migrations_grant_and_owns_nothing(
    database: MakeDatabase, files: Files
) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN, _0002_stones=STONE).schema()
    schema = Schema("mill", (outbox.WRITES, *schema.series))
    await postgres.migrate(db.owner, schema)
    connection = await asyncpg.connect(db.owner)
    try:
        granted = [tuple(row) for row in await connection.fetch(GRANTED, schema.role)]
        owners = await connection.fetch("select distinct tableowner from pg_tables where schemaname = 'mill'")
    finally:
        await connection.close()
    assert granted == [
        ("mill.migration", "select"),
        ("mill.turn", "insert select"),
        ("outbox.claimed(uuid)", "execute"),
        ("outbox.event (topic key hash headers payload unpacked)", "insert"),
        ("outbox.event_id", "usage"),
        ("outbox.make_days(integer)", "execute"),
    ]
    assert [row[0] for row in owners] == [OWNER]


REFUSED = [
    "create table mill.own (n int)",
    "create schema own",
    "update mill.turn set n = 2",
    "delete from mill.turn",
    "truncate mill.turn",
    "drop table mill.turn",
    "alter table mill.turn add column m int",
    "select * from mill.stone",
    "insert into mill.migration values ('mill', 3, 'x', 'x')",
    "select * from outbox.event",
    f"set role {OWNER}",
    "create role friend",
]


@pytest.mark.parametrize("statement", REFUSED)
async def test_a_role_is_refused_everything_else(
    database: MakeDatabase, files: Files, statement: str
) -> None:
    db, schema = await database(), files.write(_0001_turns=TURN, _0002_stones=STONE).schema()
    await postgres.migrate(db.owner, schema)
    assert await scalar(db.dsn(schema), "insert into mill.turn values (1) returning n") == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await scalar(db.dsn(schema), statement)


async def pool_of(db: Database) -> postgres.Pool:
    return await postgres.pool(db.owner, size=2, timeout_seconds=5.0)


async def test_a_transaction_commits_at_its_end_or_not_at_all(database: MakeDatabase) -> None:
    db = await database()
    pool = await pool_of(db)
    try:
        async with postgres.transaction(pool) as tx:
            await tx.execute("create table kept (n int)")
        with pytest.raises(ZeroDivisionError):
            async with postgres.transaction(pool) as tx:
                await tx.execute("insert into kept values (1)")
                raise ZeroDivisionError
        async with postgres.transaction(pool) as tx:
            assert await tx.fetchval("select count(*) from kept") == 0
    finally:
        await pool.close()


async def test_json_keeps_its_digits_and_has_no_nan(database: MakeDatabase) -> None:
    db = await database()
    pool = await pool_of(db)
    try:
        async with postgres.transaction(pool) as tx:
            assert await tx.fetchval("select $1::jsonb", {"n": 9007199254740993}) == {"n": 9007199254740993}
            assert await tx.fetchval("select $1::jsonb", {"n": float("nan")}) == {"n": None}
    finally:
        await pool.close()


async def test_no_statement_waits_for_ever(database: MakeDatabase) -> None:
    pool = await postgres.pool((await database()).owner, size=1, timeout_seconds=0.2)
    try:
        with pytest.raises(TimeoutError):
            async with postgres.transaction(pool) as tx:
                await tx.execute("select pg_sleep(30)")
    finally:
        await pool.close()


async def test_nobody_waits_for_a_connection_for_ever(database: MakeDatabase) -> None:
    db = await database()
    async with await postgres.pool(db.owner, size=1, timeout_seconds=0.2) as pool:
        async with pool.acquire(), asyncio.timeout(10):  # the test's own end is no TimeoutError in here
            with pytest.raises(TimeoutError):
                await pool.fetchval("select 1")
        assert await pool.fetchval("select 1") == 1
