"""Every SQL statement that the ledger's consumer runs: each once a batch, whatever its size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from ledger import metrics
from ledger.domain.chart import Account
from ledger.domain.journal import TAGS, Book, Line, Posting, Tags
from millrace.consumer import TABLES, Applied
from millrace.errors import Retryable
from millrace.money import Money
from millrace.postgres import Pool, Schema, Series, Transaction

SCHEMA = Schema("ledger", (*TABLES, Series("ledger", "ledger.migrations")))

LOCK_FAMILIES = """
-- One writer a family until the transaction ends. An invoice and its payments are read from different
-- partitions, so they meet here; in a fixed order, so that nobody waits in a circle.
select pg_advisory_xact_lock(family)
  from (select distinct hashtextextended('ledger/' || name, 0) as family
          from unnest($1::text[]) as name order by 1) as locks
"""

LOAD_BOOKS = """
-- The facts of these families with their lines, the tags last; a fact without lines is one row.
-- `offset 0` holds each step to its index, whatever the planner believes about tables that grew since.
select f.family, f.fact_key, f.kind, f.content_hash, h.effective_at, h.reverses, e.account, e.currency,
       e.amount, e.customer, e.invoice, e.line, e.sub_item, e.open_item, e.service_from, e.service_to
  from unnest($1::text[]) as wanted (family)
 cross join lateral (select * from ledger.fact where fact.family = wanted.family offset 0) f
 cross join lateral (select effective_at, reverses from ledger.journal_tx
                      where tx_id = f.tx_id and recorded_at = f.recorded_at offset 0) h
  left join lateral (select * from ledger.entry
                      where entry.tx_id = f.tx_id and entry.recorded_at = f.recorded_at offset 0) e on true
 order by f.tx_id, e.line_no
"""


async def load(tx: Transaction, families: Sequence[str]) -> dict[str, Book]:
    """The books of these families, locked."""
    await tx.execute(LOCK_FAMILIES, families)
    rows = await tx.fetch(LOAD_BOOKS, families)
    books: dict[str, dict[str, Posting]] = {}
    for fact, lines in groupby(rows, lambda row: row["fact_key"]):
        told = _posting(list(lines))
        books.setdefault(told[0], {})[fact] = told[1]
    return {family: Book(facts) for family, facts in books.items()}


def _posting(rows: list[Any]) -> tuple[str, Posting]:
    head = rows[0]
    lines = tuple(
        Line(Account(row["account"]), Money(row["amount"], row["currency"]), Tags(*tuple(row)[9:]))
        for row in rows
        if row["account"] is not None
    )
    return head["family"], Posting(
        head["fact_key"], head["kind"], head["effective_at"], lines, head["reverses"], head["content_hash"]
    )


INSERT_FACTS = """
-- Each fact once. One that is there already was written by somebody else meanwhile.
insert into ledger.fact (fact_key, family, kind, content_hash)
select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
on conflict do nothing
returning fact_key, tx_id, recorded_at
"""

INSERT_HEADERS = """
-- One header a fact.
insert into ledger.journal_tx (tx_id, recorded_at, fact_key, kind, source_event, effective_at, reverses,
                               content_hash)
select * from unnest($1::bigint[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
                     $7::text[], $8::bytea[])
"""

INSERT_ENTRIES = """
-- Every line of every transaction of the batch in one statement: the trigger balances what it sees at once.
insert into ledger.entry (tx_id, recorded_at, line_no, effective_at, account, currency, amount,
                          customer, invoice, line, sub_item, open_item, service_from, service_to)
select * from unnest($1::bigint[], $2::timestamptz[], $3::int[], $4::timestamptz[], $5::smallint[],
                     $6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                     $13::timestamptz[], $14::timestamptz[])
"""


async def save(tx: Transaction, changes: Sequence[Applied[Book]]) -> None:
    """Write what each event added.

    Writes: fact, journal_tx, entry; the entry trigger adds to balance_delta.
    Raises: Retryable when another writer posted one of the facts first.
    """
    told = [(change, one) for change in changes for one in change.state.added]
    facts = [(one.fact, change.key, one.kind, one.content_hash) for change, one in told]
    placed = {
        row["fact_key"]: (row["tx_id"], row["recorded_at"])
        for row in await tx.fetch(INSERT_FACTS, *_columns(facts))
    }
    if len(placed) != len(told):
        raise Retryable("another writer posted one of these facts", after=0.05)
    await tx.execute(
        INSERT_HEADERS,
        *_columns([(*placed[one.fact], *_header(one, change.event.id)) for change, one in told]),
    )
    if entries := [(*placed[one.fact], *entry) for _, one in told for entry in _entries(one)]:
        await tx.execute(INSERT_ENTRIES, *_columns(entries))
    for _, one in told:
        metrics.POSTINGS.labels(one.kind).inc()


def _header(one: Posting, cause: str) -> tuple[Any, ...]:
    return one.fact, one.kind, cause, one.effective_at, one.reverses, one.content_hash


def _entries(one: Posting) -> Iterable[tuple[Any, ...]]:
    for number, line in enumerate(one.lines, 1):
        money = line.money
        yield (
            number,
            one.effective_at,
            int(line.account),
            money.currency,
            money.amount_minor,
            *TAGS(line.tags),
        )


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]


OPEN_MONTHS = """
-- The partitions of this month and the next ones, with their guards; nothing where they are there.
select ledger.open_month((date_trunc('month', now() at time zone 'UTC') + ahead * interval '1 month')::date)
  from generate_series(0, $1::int) as ahead
"""


async def open_months(pool: Pool, ahead: int) -> None:
    """Have a place ready for what will be recorded in this month and the next `ahead` ones."""
    await pool.execute(OPEN_MONTHS, ahead)
