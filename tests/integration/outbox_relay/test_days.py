"""Check 15: a day leaves when its last row is published and audited, and nobody who writes notices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from typer.testing import CliRunner

from millrace import outbox, postgres
from operations.relay import partitions
from outbox_relay.commands import days
from outbox_relay.domain.cursor import Cursor, Position
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.store import days as store
from outbox_relay.store.reading import identified
from tests.support.database import Database, MakeDatabase

WRITER = postgres.Schema("mill_days", (outbox.WRITES,))
WRITE = """
insert into outbox.event (topic, key, headers, payload, created_at)
select 't', 'key ' || n, '{}', '', $1 from generate_series(1, $2) as n
"""
MIRROR = """
insert into outbox.cursor (lane, record, term) values ($1, $2::text::jsonb, 1)
    on conflict (lane) do update set record = excluded.record
"""
AUDIT = """
insert into outbox.audited (lane, cursor, offsets, row_count, records, missing, strange, doubled, gaps)
values ($1, $2::text::jsonb, '{}', 0, 0, $3, 0, 0, 0)
"""
ALL = Lane()


@dataclass
class Site:
    """An outbox with old days, and the operator who lets them go."""

    db: Database
    owner: postgres.Connection

    async def day(self, ago: int) -> date:
        """A day of the past, as if it had been made in time."""
        day = (await store.today(self.owner)) - timedelta(days=ago)
        await self.owner.execute("select outbox.make_day($1)", day)
        return day

    async def rows(self, day: date, count: int = 3) -> None:
        await self.owner.execute(WRITE, noon(day), count)

    async def cursor(self) -> Cursor:
        """One that covers whatever is committed."""
        here, now = await identified(self.owner)
        return Cursor(here, Position(now), {})

    async def publish(self, cursor: Cursor, *which: Lane) -> None:
        for lane in which or (ALL,):
            await self.owner.execute(MIRROR, str(lane), cursor.record().decode())

    async def audit(self, cursor: Cursor, *which: Lane, missing: int = 0) -> None:
        for lane in which or (ALL,):
            await self.owner.execute(AUDIT, str(lane), cursor.record().decode(), missing)

    async def goes_on(self) -> None:
        """A row is written and the outbox is read, and neither waits for a lock."""
        await self.owner.execute("set lock_timeout = '500ms'")
        await self.owner.execute(WRITE, noon(await store.today(self.owner)), 1)
        assert await self.owner.fetchval("select count(*) from outbox.event where xid >= '3'") > 0

    async def names(self) -> list[str]:
        return [day.name for day in await store.days(self.owner)]

    async def run(self, *words: str, code: int = 0, role: str = "postgres") -> Any:
        """A command as an operator types it, which must end with this code."""
        done = await asyncio.to_thread(
            CliRunner().invoke,
            partitions.app,
            [*words, "--json"],
            env={"MILLRACE_DATABASE": self.db.dsn(role)},
        )
        assert done.exit_code == code, f"{done.exit_code}: {done.output}{done.exception!r}"
        return orjson.loads(done.stdout)

    async def kept(self, code: int = 3) -> dict[str, str]:
        """Why the days that should be gone are not, after an attempt."""
        told = await self.run("drop", code=code)
        early = ("younger", "today", "in the future")
        return {day["name"]: day["kept"] for day in told["kept"] if not day["kept"].startswith(early)}


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def name(day: date) -> str:
    return f"outbox.event_{day:%Y%m%d}"


@pytest.fixture
async def site(database: MakeDatabase) -> AsyncIterator[Site]:
    db = await database(WRITER)
    owner: postgres.Connection = await asyncpg.connect(db.owner)
    yield Site(db, owner)
    await owner.close()


STATEMENTS = {key: text for key, text in vars(store).items() if key.isupper() and "\n--" in str(text)}


@pytest.mark.parametrize("statement", sorted(STATEMENTS.keys() - {"CLOSE", "DETACH", "FINALIZE", "DROP"}))
async def test_every_statement_is_understood(site: Site, statement: str) -> None:
    day = await site.day(9)
    await site.owner.prepare(STATEMENTS[statement].replace("{day}", name(day)))


async def test_a_day_leaves_once_its_last_row_is_published_and_audited(site: Site) -> None:
    day = await site.day(9)
    await site.rows(day, 1000)
    assert (await site.kept())[name(day)] == "not every lane has a cursor here"
    cursor = await site.cursor()
    await site.publish(cursor)
    assert (await site.kept())[name(day)] == "lane main was never audited"
    await site.audit(cursor)
    await site.rows(day, 1)
    assert (await site.kept())[name(day)] == "1 rows are not published"
    await site.publish(after := await site.cursor())
    assert (await site.kept())[name(day)] == "1 rows are not audited"
    await site.audit(after, missing=1)
    assert (await site.kept())[name(day)] == "1 rows are not audited"
    await site.audit(after)
    assert (await site.run("drop", "--dry-run"))["would_drop"] == [name(day)]
    assert name(day) in await site.names()
    assert (await site.run("drop"))["dropped"] == [name(day)]
    assert name(day) not in await site.names()
    assert (await site.run("drop"))["dropped"] == []
    told = await site.owner.fetch("select action, subject from sealing.audit")
    assert [tuple(row) for row in told] == [("dropped day", name(day))]


async def test_an_open_window_covers_what_it_sees_up_to_its_last_row(site: Site) -> None:
    day = await site.day(9)
    before = await site.cursor()
    await site.rows(day, 10)
    whole = await site.cursor()
    last = await site.owner.fetchval("select max(id) from outbox.event")
    for row, words in ((last - 1, "1 rows are not published"), (last, None)):
        half = replace(before, position=Position(before.position.seen, whole.position.seen, row))
        await site.publish(half)
        await site.audit(half)
        assert (await site.kept(code=3 if words else 0)).get(name(day)) == words


async def test_every_lane_must_have_audited_its_own_rows(site: Site) -> None:
    day, four = await site.day(9), lanes("main", 4)
    before = await site.cursor()
    await site.rows(day, 50)
    cursor = await site.cursor()
    await site.publish(replace(before, retired="main.0of4"), ALL)  # gave way to four; it counts for nothing
    await site.publish(cursor, *four[:3])
    assert (await site.kept())[name(day)] == "not every lane has a cursor here"
    await site.publish(cursor, four[3])
    await site.audit(cursor, ALL, *four[:2], four[3])
    assert (await site.kept())[name(day)] == "lane main.2of4 was never audited"
    await site.audit(before, four[2])
    hashes = [row[0] for row in await site.owner.fetch("select hash from outbox.event")]
    theirs = sum(map(four[2].owns, hashes))
    assert 0 < theirs < 50
    assert (await site.kept())[name(day)] == f"{theirs} rows are not audited"
    await site.audit(cursor, four[2])
    await site.publish(before, ALL)  # it has not given way after all
    assert (await site.kept())[name(day)] == "50 rows are not published"
    await site.publish(replace(before, retired="main.0of4"), ALL)
    assert await site.kept(code=0) == {}


@pytest.mark.parametrize("moved", ["system", "timeline", "database"])
async def test_an_audit_of_another_history_counts_for_nothing(site: Site, moved: str) -> None:
    """After a restore the same numbers are other transactions."""
    day = await site.day(9)
    await site.rows(day)
    cursor = await site.cursor()
    await site.publish(cursor)
    other = replace(cursor.identity, **{moved: getattr(cursor.identity, moved) + 1})
    await site.audit(replace(cursor, identity=other))
    assert (await site.kept())[name(day)] == "lane main was never audited"


async def test_today_and_young_days_stay_whatever_became_of_their_rows(site: Site) -> None:
    made = [await site.day(ago) for ago in (8, 7, 6, 1)]
    for day in made:
        await site.rows(day)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    why = {day["day"]: day["kept"] for day in (await site.run("plan"))["days"]}
    today = await store.today(site.owner)
    assert [why[str(day)] for day in made] == ["", "", "younger than 7 days", "younger than 7 days"]
    assert (why[str(today)], why[str(today + timedelta(days=1))]) == ("today", "in the future")
    assert (await site.run("drop", "--keep-days", "8"))["dropped"] == [name(made[0])]


async def test_days_that_are_missing_ahead_are_told_and_made(site: Site) -> None:
    assert (await site.run("plan"))["missing"] == []
    today = await store.today(site.owner)
    for ahead in (1, 2, 5):
        await site.owner.execute(f"drop table {name(today + timedelta(days=ahead))}")
    soon = [str(today + timedelta(days=ahead)) for ahead in (1, 2, 5)]
    assert (await site.run("plan", code=3))["missing"] == soon[:2]
    assert await site.run("make") == {"made": soon, "missing": []}
    assert await site.run("make") == {"made": [], "missing": []}


async def test_who_writes_and_who_reads_notice_nothing(site: Site) -> None:
    """Days go while rows come: none waits for a lock, none fails, none is lost."""
    gone = [await site.day(ago) for ago in (14, 13, 12, 11, 10)]
    for day in gone:
        await site.rows(day, 200)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    done, written = asyncio.Event(), 0

    async def write() -> None:
        nonlocal written
        writer = await asyncpg.connect(site.db.dsn(WRITER), server_settings={"lock_timeout": "500ms"})
        insert = await writer.prepare(
            "insert into outbox.event (topic, key, headers, payload) values ('t', 'k', '{}', '')"
        )
        while not done.is_set():
            await insert.fetch()
            written += 1
        await writer.close()

    async def read() -> None:
        reader = await asyncpg.connect(site.db.dsn(outbox.SCHEMA), server_settings={"lock_timeout": "500ms"})
        count = await reader.prepare("select count(*) from outbox.event where xid >= '3'")
        while not done.is_set():
            await count.fetchval()
        await reader.close()

    work = asyncio.gather(write(), write(), read())
    assert (await site.run("drop"))["dropped"] == [name(day) for day in gone]
    done.set()
    await work
    assert written == await site.owner.fetchval("select count(*) from outbox.event") > 0


async def test_a_row_that_is_still_being_written_into_an_old_day_holds_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction open for more than a week, or a clock put back: seen by nobody, and still not lost."""
    day = await site.day(9)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    late = await asyncpg.connect(site.db.owner)
    monkeypatch.setattr(store, "LOCK_WAIT", "300ms")
    open_one = late.transaction()
    await open_one.start()
    await late.execute(WRITE, noon(day), 1)
    assert (await site.kept())[name(day)] == "a transaction that wrote into this very day is still open"
    await open_one.commit()
    assert (await site.kept())[name(day)] == "1 rows are not published"
    await late.execute(WRITE, noon(day), 1)  # it was not left closed
    await late.close()


async def test_what_is_counted_once_no_row_can_come_decides(site: Site) -> None:
    """A row that was committed behind the plan's back."""
    day = await site.day(9)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    [judged] = [one for one in (await days.plan(site.owner)).days if not one.kept]
    await site.rows(day, 1)

    async def witness(tx: postgres.Transaction) -> None: ...

    assert await days.drop(site.owner, judged.day, witness) == "1 rows are not published"
    await site.rows(day, 1)  # it was not left closed


async def test_a_day_that_is_closed_takes_no_row_and_says_why(site: Site) -> None:
    day = await site.day(9)
    await site.owner.execute(store.CLOSE.format(day=name(day), wait="1s"))
    with pytest.raises(
        asyncpg.CheckViolationError, match=f"the outbox has closed event_{day:%Y%m%d}"
    ) as refused:
        await site.rows(day)
    assert "clock" in str(refused.value.hint)


@contextmanager
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(store, "LEAVE_WAIT", "700ms")
        yield


async def test_a_day_waits_for_a_transaction_that_reads_the_outbox_and_goes_on_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else waits: not who writes, not who makes days. The rest is for the next run."""
    day = await site.day(9)
    await site.rows(day)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    reader = await asyncpg.connect(site.db.owner, server_settings={"application_name": "a long report"})
    report = reader.transaction(isolation="repeatable_read")
    await report.start()
    assert await reader.fetchval("select count(*) from outbox.event") == 3
    with hurried(monkeypatch):
        for _ in range(2):  # to detach, and to finish detaching
            attempt = asyncio.create_task(site.kept())
            while not attempt.done():
                await site.goes_on()
            why = (await attempt)[name(day)]
            assert "waits for an open transaction" in why and "a long report" in why
    assert len(await outbox.make_days(site.owner, 8)) == 1
    await report.rollback()
    await reader.close()
    assert await site.kept(code=0) == {}
    assert name(day) not in await site.names()


async def test_a_crash_between_detaching_and_dropping_is_gone_on_from(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = await site.day(9)
    await site.rows(day)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    [judged] = [one for one in (await days.plan(site.owner)).days if not one.kept]

    async def witness(tx: postgres.Transaction) -> None: ...

    victim: postgres.Connection = await asyncpg.connect(site.db.owner)
    with (
        monkeypatch.context() as patch,
        pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)),
    ):
        patch.setattr(store, "DROP", "select pg_terminate_backend(pg_backend_pid()), '{day}'")
        await days.drop(victim, judged.day, witness)
    victim.terminate()
    [left] = [one for one in await store.days(site.owner) if one.day == day]
    assert (left.attached, left.closed) == (False, True)
    assert (await site.run("drop"))["dropped"] == [name(day)]
    assert name(day) not in await site.names()


async def test_a_day_that_somebody_else_took_out_is_not_dropped(site: Site) -> None:
    day = await site.day(9)
    await site.rows(day)
    await site.owner.execute(f"alter table outbox.event detach partition {name(day)}")
    assert "by somebody else" in {d["name"]: d["kept"] for d in (await site.run("drop"))["kept"]}[name(day)]


CLAIM = """
insert into outbox.claim (outbox_id, topic, payload, sha256, claimed_at)
values ($1, 't', '', '', now() - $2 * interval '1 day')
"""


async def test_large_payloads_go_when_their_records_and_their_rows_have_gone(site: Site) -> None:
    await site.rows(await store.today(site.owner), 1)
    row = await site.owner.fetchval("select id from outbox.event")
    for outbox_id, ago in ((row, 100), (row + 1, 100), (row + 2, 89)):
        await site.owner.execute(CLAIM, outbox_id, ago)
    assert (await site.run("drop"))["claims"] == 1
    left = await site.owner.fetch("select outbox_id from outbox.claim order by 1")
    assert [claim[0] for claim in left] == [row, row + 2]
    assert (await site.run("drop", "--claims-days", "80"))["claims"] == 1
    assert await site.owner.fetchval("select subject from sealing.audit") == "1"


async def test_who_may_make_days_may_not_drop_them(site: Site) -> None:
    day = await site.day(9)
    relay = await asyncpg.connect(site.db.dsn(outbox.SCHEMA))
    try:
        assert (await days.make(relay, 8))[1] == []
        [judged] = [one for one in (await days.plan(relay)).days if one.day.day == day]

        async def witness(tx: postgres.Transaction) -> None: ...

        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await days.drop(relay, judged.day, witness)
    finally:
        await relay.close()
    assert name(day) in await site.names()


async def test_a_login_that_is_a_member_of_the_owner_may_do_all_of_it(site: Site) -> None:
    """What the daily job is given: no superuser, and no right to make roles."""
    day, keeper = await site.day(9), f"keeper_{os.getpid()}"
    await site.rows(day)
    cursor = await site.cursor()
    await site.publish(cursor)
    await site.audit(cursor)
    await site.owner.execute(CLAIM, 10**9, 100)
    await site.owner.execute(
        f"create role {keeper} login; grant {postgres.OWNER}, pg_read_all_stats to {keeper}"
    )
    try:
        assert (await site.run("make", role=keeper))["missing"] == []
        told = await site.run("drop", role=keeper)
        assert (told["dropped"], told["claims"]) == ([name(day)], 1)
    finally:
        await site.owner.execute(f"drop role {keeper}")
    assert await site.owner.fetchval("select count(*) from sealing.audit") == 2
