"""What the database refuses, to the service's role and to the owner of the tables alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from ledger import commands
from ledger.commands import refusals
from ledger.domain.chart import CHART
from millrace.postgres import OWNER, Connection
from tests.integration.ledger.conftest import Ledger

Rows = list[tuple[int, str, int]]  # account, currency, amount

BALANCED: Rows = [(1100, "usd", 100), (4000, "usd", -100)]
WRONG: list[tuple[str, Rows, str]] = [
    ("one cent off", [(1100, "usd", 100), (4000, "usd", -99)], "off by 1 usd"),
    ("dollars netted with euros", [(1100, "usd", 100), (4000, "eur", -100)], "off by -100 eur"),
    (
        "an account that does not exist",
        [(1100, "usd", 100), (1234, "usd", -100)],
        "account 1234 does not exist",
    ),
    ("half a transaction", [(1100, "usd", 100)], "off by 100 usd"),
    ("a line of nothing", [*BALANCED, (1100, "usd", 0)], "says_something"),
    ("a currency that is none", [(1100, "USD", 100), (4000, "USD", -100)], "currency_is_a_code"),
]
COLUMNS = ("tx_id", "recorded_at", "line_no", "effective_at", "account", "currency", "amount")
REFUSALS = (asyncpg.PostgresError,)


async def header(
    connection: Connection, recorded_at: datetime | None = None, key: str = "forged"
) -> tuple[int, datetime]:
    """A fact and its header, waiting for lines. Written in the caller's transaction."""
    row = await connection.fetchrow(
        """
        with f as (insert into ledger.fact (fact_key, family, kind, content_hash, recorded_at)
                   values ($2, 'forged', 'forged', 'x', coalesce($1, now())) returning tx_id, recorded_at)
        insert into ledger.journal_tx (tx_id, recorded_at, fact_key, kind, source_event, effective_at, content_hash)
        select tx_id, recorded_at, $2, 'forged', 'forged', now(), 'x' from f returning tx_id, recorded_at
        """,
        recorded_at,
        key,
    )
    assert row
    return row["tx_id"], row["recorded_at"]


async def lines(connection: Connection, table: str, head: tuple[int, datetime], rows: Rows) -> None:
    """The lines, in one statement."""
    await connection.execute(
        f"insert into ledger.{table} ({', '.join(COLUMNS)}) select $1, $2, row_number() over (), $2, * "
        "from unnest($3::smallint[], $4::text[], $5::bigint[])",
        *head,
        *(list(column) for column in zip(*rows, strict=True)),
    )


async def copied(connection: Connection, table: str, head: tuple[int, datetime], rows: Rows) -> None:
    """The lines, by COPY."""
    records = [(*head, number, head[1], *row) for number, row in enumerate(rows, 1)]
    await connection.copy_records_to_table(table, schema_name="ledger", records=records, columns=COLUMNS)


@pytest.fixture
async def tables_owner(ledger: Ledger) -> AsyncIterator[Connection]:
    """Who owns the journal: no privilege holds this one back, only the triggers do."""
    await ledger.owner.execute(f"set role {OWNER}")
    yield ledger.owner


async def test_every_attempt_that_verify_shows_is_refused_to_the_role(ledger: Ledger) -> None:
    attempts = await commands.refused(ledger.role)
    assert len(attempts) == len(refusals.ATTEMPTS) == 12
    assert [a.attempt for a in attempts if not a.refused] == []
    assert await ledger.role.fetchval("select count(*) from ledger.fact") == 0
    said = {a.attempt: a.message for a in attempts}
    assert said["an entry one cent off"].endswith("is off by 1 usd")
    assert said["INSERT into a partition directly"] == "permission denied for table entry_default"
    assert said["DISABLE TRIGGER"] == "must be owner of table entry"


async def test_verify_would_notice_if_one_were_possible(ledger: Ledger) -> None:
    await ledger.owner.execute("alter table ledger.entry disable trigger entry_balances")
    attempts = {a.attempt: a.refused for a in await commands.refused(ledger.role)}
    assert not attempts["an entry one cent off"]
    assert not attempts["dollars netted with euros"]
    assert await commands.unbalanced(ledger.role) == []


async def test_a_balanced_transaction_is_accepted(ledger: Ledger) -> None:
    async with ledger.role.transaction():
        await lines(ledger.role, "entry", await header(ledger.role), BALANCED)
    assert [b[3:] for b in await commands.trial_balance(ledger.role)] == [(100, 0, 100), (0, 100, -100)]


async def test_lines_that_do_not_hold_are_refused_in_the_parent_and_by_copy(ledger: Ledger) -> None:
    for _, rows, said in WRONG:
        for write in (lines, copied):
            with pytest.raises(REFUSALS, match=said):
                async with ledger.role.transaction():
                    await write(ledger.role, "entry", await header(ledger.role), rows)


async def partitions(connection: Connection, parent: str) -> list[str]:
    rows = await connection.fetch(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass order by 1",
        f"ledger.{parent}",
    )
    return [row["name"].removeprefix("ledger.") for row in rows]


async def test_lines_that_do_not_hold_are_refused_to_the_owner_in_every_partition(
    ledger: Ledger, tables_owner: Connection
) -> None:
    await tables_owner.execute("select ledger.open_month('2031-05-17')")
    names = await partitions(tables_owner, "entry")
    assert "entry_default" in names and "entry_203105" in names and len(names) == 5
    for name in names:
        recorded = _within(name)
        for write in (lines, copied):
            for case, rows, said in WRONG[:4]:
                with pytest.raises(REFUSALS, match=said):
                    async with tables_owner.transaction():
                        await write(tables_owner, name, await header(tables_owner, recorded, case), rows)


def _within(partition: str) -> datetime:
    """An instant that the partition holds; the default one has what no month was opened for."""
    month = partition.removeprefix("entry_")
    return (
        datetime(1999, 1, 1, tzinfo=UTC)
        if month == "default"
        else datetime(int(month[:4]), int(month[4:]), 2, tzinfo=UTC)
    )


async def test_lines_need_a_header_of_their_own_transaction(ledger: Ledger) -> None:
    tx_id, recorded_at = await header(ledger.role)
    heads = {
        "none": (tx_id + 1, recorded_at),
        "one of an earlier transaction": (tx_id, recorded_at),
        "one of another month": (tx_id, datetime(1999, 1, 1, tzinfo=UTC)),
    }
    for head in heads.values():
        with pytest.raises(asyncpg.ForeignKeyViolationError, match="has no header"):
            await lines(ledger.role, "entry", head, BALANCED)


CHANGES = ("update ledger.{} set {} = {}", "delete from ledger.{}", "truncate ledger.{}")
COLUMN = {
    "account": "code",
    "fact": "kind",
    "journal_tx": "tx_id",
    "entry": "tx_id",
    "balance_delta": "account",
}


async def test_nothing_is_changed_or_taken_away_even_by_the_owner(
    ledger: Ledger, tables_owner: Connection
) -> None:
    tried = 0
    for parent, column in COLUMN.items():
        for name in (parent, *await partitions(tables_owner, parent)):
            for change in CHANGES:
                with pytest.raises(asyncpg.RestrictViolationError, match="the journal only grows"):
                    await tables_owner.execute(change.format(name, column, column))
                tried += 1
    assert tried == 3 * (5 + 4 + 4)  # two of the five have four partitions each


async def test_the_role_reaches_the_parents_only(ledger: Ledger) -> None:
    rows = await ledger.owner.fetch(
        """
        select c.relname as name, array_agg(p.name order by p.name) as rights
          from pg_class c join pg_namespace n on n.oid = c.relnamespace,
               unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as p (name)
         where n.nspname = 'ledger' and c.relkind in ('r', 'p')
           and has_table_privilege('millrace_ledger', c.oid, p.name)
         group by c.relname order by c.relname
        """
    )
    assert {row["name"]: row["rights"] for row in rows} == {
        "account": ["SELECT"],
        "audit": ["INSERT", "SELECT"],
        "balance_delta": ["SELECT"],
        "consumer": ["INSERT", "SELECT"],
        "entry": ["INSERT", "SELECT"],
        "fact": ["INSERT", "SELECT"],
        "journal_tx": ["INSERT", "SELECT"],
        "migration": ["SELECT"],
        "parked_event": ["DELETE", "INSERT", "SELECT"],
        "processed_events": ["INSERT", "SELECT"],
        "progress": ["INSERT", "SELECT", "UPDATE"],
    }


async def test_the_role_opens_months_and_opening_twice_does_nothing(ledger: Ledger) -> None:
    before = await partitions(ledger.role, "entry")
    for _ in range(2):
        await ledger.role.execute("select ledger.open_month('2030-02-11')")
    assert set(await partitions(ledger.role, "entry")) - set(before) == {"entry_203002"}
    assert "journal_tx_203002" in await partitions(ledger.role, "journal_tx")


async def test_a_month_ends_where_the_next_begins_whatever_the_zone(ledger: Ledger) -> None:
    await ledger.role.execute("set time zone 'Pacific/Auckland'")
    await ledger.role.execute("select ledger.open_month('2030-02-28')")
    async with ledger.role.transaction():
        last = datetime(2030, 2, 28, 23, 59, 59, tzinfo=UTC)
        await lines(ledger.role, "entry", await header(ledger.role, last), BALANCED)
    assert (
        await ledger.role.fetchval("select tableoid::regclass::text from ledger.entry limit 1")
        == "ledger.entry_203002"
    )


async def test_the_chart_in_the_database_is_the_chart_in_the_rules(ledger: Ledger) -> None:
    rows = await ledger.role.fetch("select code, name, kind from ledger.account order by code")
    assert [tuple(row) for row in rows] == [(int(row.account), row.name, row.kind) for row in CHART]
