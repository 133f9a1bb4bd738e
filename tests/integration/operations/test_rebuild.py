"""I9: a consumer is rebuilt from the log and is, row by row, what the live one is; and whatever is not, is named."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import orjson
import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from lab.stack import Stack
from millrace import postgres, topics
from millrace.cli import application
from millrace.consumer import Batches
from millrace.errors import Misconfigured
from operations.rebuild.compare import Comparison, Side, compare
from operations.rebuild.history import snapshot
from tests.integration.operations.rebuilding import (
    POLICIES,
    Place,
    broken,
    clocked,
    digest,
    place,
    played,
    subjects,
)
from tests.support.database import databases
from tests.support.kafka import making

pytestmark = [pytest.mark.timeout(420), pytest.mark.asyncio(loop_scope="module")]
NAMES = ("entitlement", "ledger", "dunning")


@asynccontextmanager
async def somewhere(stack: Stack, folder: Path) -> AsyncIterator[Place]:
    async with (
        databases(stack) as make,
        making(stack.kafka) as topic,
        place(make, topic, stack.kafka, folder / "keys") as here,
    ):
        yield here


@dataclass
class Live:
    """A quarter that all three have met, and each of them rebuilt."""

    place: Place
    shadows: dict[str, str]  # consumer → the DSN of its rebuild
    equal: dict[str, Comparison]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    async with somewhere(stack, tmp_path_factory.mktemp("live")) as here:
        async with played(here):
            pass
        found = Live(here, {}, {})
        try:
            for name in NAMES:
                told = await here.rebuilt(name, keep=True)
                found.shadows[name] = here.db.owner.replace(here.db.name, told.into)
                found.equal[name] = told.comparison
                assert (told.missing, told.found) == (0, {"Kafka": told.events})
                parked = await here.pool.fetch(f"select reason from {name}.parked_event")
                assert parked == []
            yield found
        finally:
            for name in found.shadows:
                await here.pool.execute(f"drop database {here.db.name}_{name}_rebuilt with (force)")


@pytest.mark.parametrize("name", NAMES)
async def test_a_consumer_is_rebuilt_row_by_row(name: str, live: Live) -> None:
    found = live.equal[name]
    assert (found.differences, found.differing) == ([], 0)
    rows = {table.name: table.rows for table in found.tables}
    assert rows[f"{name}.processed_events"] > 200
    assert rows[f"{name}.audit"] > 20
    assert rows["outbox.event"] >= 10


async def test_every_table_of_a_consumer_is_compared(live: Live) -> None:
    """But for those that say why not."""
    for name in NAMES:
        there = await live.place.pool.fetch(
            "select relname from pg_class where relnamespace = $1::text::regnamespace and relkind in ('r', 'p')"
            " and not relispartition",
            name,
        )
        compared = {table.name.removeprefix(f"{name}.") for table in live.equal[name].tables}
        assert {row["relname"] for row in there} - compared == {"consumer", "progress", "migration"}


# what was done to the live consumer: its table, and the column or None where the whole row is on one side only
TAMPERED = {
    "a feature was given by hand": (
        "entitlement", "update entitlement.access set features = '{}' where customer = $1", "access", "features"),
    "history was cut": (
        "entitlement", "delete from entitlement.access_history where customer = $1", "access_history", ""),
    "a customer was restricted by hand": (
        "entitlement", "insert into entitlement.restriction select account, 'in_forged', $1, null, true, 1, '', ''"
        " from entitlement.access where customer = $1", "restriction", ""),
    "the audit log was edited": (
        "entitlement", "update entitlement.audit set reason = 'because' where subject like '%' || $1", "audit", ""),
    "an audit entry was taken away": (
        "ledger", "delete from ledger.audit where (chain, seq) = (select chain, seq from ledger.audit"
        " where action like 'applied %' and $1 <> '' limit 1)", "audit", ""),
    "somebody took a cent": (
        "ledger", "update ledger.entry set amount = amount - 1 where customer = $1", "entry", "amount"),
    "lines were moved to another fact": (
        "ledger", "update ledger.entry set tx_id = (select max(tx_id) from ledger.fact where $1 <> '')"
        " where tx_id = (select min(tx_id) from ledger.entry)", "entry", ""),
    "a balance was corrected by hand": (
        "ledger", "update ledger.balance_delta set debit = debit + 1 where id ="
        " (select min(id) from ledger.balance_delta where $1 <> '')", "balance_delta", "debit"),
    "a fact was ascribed to another event": (
        "ledger", "update ledger.journal_tx set source_event = 'evt_forged' where fact_key ="
        " (select min(fact_key) from ledger.fact where $1 <> '')", "journal_tx", "source_event"),
    "grace was prolonged": (
        "dunning", "update dunning.timer set due_at = due_at + interval '1 day' where $1 <> ''", "timer", "due_at"),
    "a case was lost": (
        "dunning", "delete from dunning.\"case\" where invoice = (select min(invoice) from dunning.\"case\""
        " where $1 <> '')", "case", ""),
    "an event was said to be no news": (
        "dunning", "update dunning.processed_events set outcome = 'noop' where $1 <> '' and event_id ="
        " (select min(event_id) from dunning.processed_events where outcome = 'applied')",
        "processed_events", "outcome"),
    "what was published was changed": (
        "dunning", "update outbox.event set payload = payload || ' ' where $1 <> '' and topic = 'dunning.changed'",
        "outbox.event", "payload"),
    "what was published is gone": (
        "ledger", "delete from outbox.event where id = (select min(id) from outbox.event"
        " where topic = 'ledger.posted' and $1 <> '')", "outbox.event", ""),
    "a column that nobody declared": (
        "dunning", "alter table dunning.departed add column why text", "departed", "columns"),
    "a table that nobody declared": (
        "entitlement", "create table entitlement.wish (id int)", "wish", "columns"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "statement", "table", "column"), TAMPERED.values(), ids=TAMPERED)
async def test_what_was_tampered_with_is_named(
    name: str, statement: str, table: str, column: str, live: Live
) -> None:
    found = await _tampered(live, name, statement)
    assert {d.table.removeprefix(f"{name}.") for d in found.differences} == {table}
    assert column in {d.column for d in found.differences}
    assert all(d.key or d.column == "columns" for d in found.differences)


async def _tampered(live: Live, name: str, statement: str) -> Comparison:
    """The comparison in a transaction that is rolled back: past every guard, as a superuser could."""
    subject = live.place.subject(name)
    connection: postgres.Connection = await asyncpg.connect(
        live.place.db.owner, server_settings={"TimeZone": "UTC"}
    )
    around = connection.transaction()
    await around.start()
    try:
        await connection.execute("set local session_replication_role = replica")
        customer = await connection.fetchval(
            "select customer from ledger.entry where customer in (select customer from entitlement.access) limit 1"
        )
        await connection.execute(statement, *([customer] if "$1" in statement else []))
        async with snapshot(live.shadows[name]) as rebuilt:
            return await compare(
                Side(connection), Side(rebuilt), name, subject.compared, subject.by_the_clock, keep=100
            )
    finally:
        await around.rollback()
        await connection.close()


async def test_no_payload_is_ever_shown(live: Live) -> None:
    statement, name = TAMPERED["what was published was changed"][1], "dunning"
    for one in (await _tampered(live, name, statement)).differences:
        assert one.live and one.rebuilt
        assert "sha-256" in one.live and "sha-256" in one.rebuilt
        assert "cus_" not in one.live + one.rebuilt


DAYS = "select inhrelid::regclass::text as day from pg_inherits where inhparent = 'outbox.event'::regclass"


async def test_a_log_that_lost_its_beginning_is_completed_from_the_outbox_and_the_event_log(
    stack: Stack, tmp_path: Path
) -> None:
    """And without what opens the event log, the events that are in no log are named."""
    async with somewhere(stack, tmp_path) as here:
        async with played(here, 2):
            pass
        await here.forget(0.6)
        told = await here.rebuilt("entitlement")
        assert (told.comparison.differences, told.missing) == ([], 0)
        assert told.found["Kafka"] > 0 and told.found["the outbox"] > 0
        for row in await here.pool.fetch(DAYS):
            await here.pool.execute(f"drop table {row['day']}")
        told = await here.rebuilt("ledger", opened=True)
        assert (told.comparison.differences, told.missing) == ([], 0)
        assert told.found["the event log"] > 0
        told = await here.rebuilt(
            "dunning", opened=True
        )  # its own events are not in the event log; nor are traces
        assert told.missing and all(one.startswith("millrace/dunning ") for one in told.first_missing)
        assert "trace" not in {d.column for d in told.comparison.differences}
        told = await here.rebuilt("ledger")
        assert not told.equal and told.missing > 0
        assert told.first_missing[0].startswith("stripe/acct_1Rebuilt evt_")
        assert {d.live for d in told.comparison.differences if d.table == "ledger.fact"} == {"there"}


ELSEWHERE = """
update ledger.processed_events set kafka_offset = kafka_offset + 1
 where (source, event_id) = (select source, event_id from ledger.processed_events
                              where source <> '' and kafka_offset = 0 limit 1)
"""


async def test_what_was_redriven_discarded_or_cannot_be_read_ends_as_it_ended(
    stack: Stack, tmp_path: Path
) -> None:
    async with somewhere(stack, tmp_path) as here:
        async with played(here, 4) as chunk:
            await chunk()
            customer = _busiest([row["key"] for row in here.arrived])
            await chunk({name: broken(one.fold, customer) for name, one in subjects().items()})
            await here.send(topics.STRIPE_BILLING, b"acct_1Rebuilt/cus_unread", [("ce_id", b"evt_x")], b"{}")
            await chunk()
            applied = 0
            for name, one in subjects().items():
                parked = f"{name}.parked_event"
                failed = f"select source, event_id from {parked} where status = 'failed' order by id limit 1"
                await here.execute(
                    f"update {name}.processed_events set outcome = 'discarded', seq = default"
                    f" where (source, event_id) = ({failed})",
                    f"delete from {parked} where (source, event_id) = ({failed})",
                )
                applied += (await Batches(here.pool, one.fold).redrive()).applied
            assert applied >= 3
        await here.execute(ELSEWHERE)
        for name in NAMES:
            told = await here.rebuilt(name)
            assert (told.comparison.differences, told.missing, told.discarded) == ([], 0, 1)
            assert told.found.get("the outbox", 0) == (name == "ledger")  # another record stands at its place
            rows = {table.name: table.rows for table in told.comparison.tables}
            assert rows[f"{name}.parked_event"] == 1  # what cannot be read


def _busiest(keys: Sequence[str]) -> str:
    """The customer whom most of the next events are about."""
    return Counter(keys[: len(keys) // 3]).most_common(1)[0][0].rpartition("/")[2]


async def test_a_rule_that_reads_the_clock_is_caught(stack: Stack, tmp_path: Path) -> None:
    async with somewhere(stack, tmp_path) as here:
        fold = clocked(here.subject("ledger").fold)
        async with played(here, 1, customers=4) as chunk:
            await chunk({"ledger": fold})
        told = await here.rebuilt("ledger", fold=fold)
        assert not told.equal
        assert {(d.table, d.column) for d in told.comparison.differences} == {
            ("ledger.processed_events", "reason"),
            ("ledger.audit", ""),
        }


async def test_events_that_are_delivered_again_from_offset_zero_change_no_table(live: Live) -> None:
    """Every record of every topic once more, in one stream after another, over the live consumers."""
    here = live.place
    for name, one in subjects().items():
        before = await digest(here.pool, name)
        report = await Batches(here.pool, one.fold).apply(here.met[name])
        assert (report.duplicate, report.applied) == (len(here.met[name]), 0)
        assert await digest(here.pool, name) == before


async def test_the_command_rebuilds_and_tells(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As JSON for scripts, as tables for people; what it cannot do is one sentence."""
    here = live.place
    monkeypatch.chdir(tmp_path)  # where no demo has left its settings
    environment = {"MILLRACE_DATABASE": here.db.owner, "MILLRACE_KAFKA": here.kafka}

    def run(*args: str, **more: str) -> Result:
        return CliRunner().invoke(application(), ["replay", *args], env=environment | more)

    # the topics of the command are the company's own, where nothing of this test is: all comes out of the outbox
    done = await asyncio.to_thread(run, "ledger", "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    told = orjson.loads(done.stdout)
    assert (told["equal"], told["missing"], told["differences"]) == (True, 0, [])
    assert told["found"] == {"the outbox": told["events"]}
    assert told["rules"] == "the chart of this release"
    found = await asyncio.to_thread(run, "dunning", MILLRACE_POLICIES=str(POLICIES))
    assert found.exit_code == 0 and "✓" in found.stdout and "policies of sha-256" in found.stdout
    for args, code, said in (
        (["nobody"], 2, "is none of entitlement, ledger, dunning"),
        (["ledger", "--from", "2026-11-01"], 2, "begins at the beginning"),
    ):
        done = await asyncio.to_thread(run, *args)
        assert done.exit_code == code and said in " ".join(done.output.replace("│", " ").split())
    for args, said in (
        (["entitlement"], "MILLRACE_CATALOG: is empty"),
        (["ledger", "--into", here.db.name], "is there already"),
        (["ledger", "--into", here.db.owner], "holds ledger already"),
        (["ledger", "--into", "No Name"], "a name is lower-case"),
    ):
        problem = (await asyncio.to_thread(run, *args)).exception
        assert isinstance(problem, Misconfigured) and said in str(problem)
    left = await here.pool.fetch("select datname from pg_database where datname like 'millrace_%_rebuilt'")
    assert left == []
