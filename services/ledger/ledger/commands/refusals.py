"""What the database must refuse to the service's role, tried for real and rolled back."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

from millrace.postgres import Connection, Transaction


class Attempt(NamedTuple):
    """A change that must not be possible, and what the database said to it."""

    attempt: str
    refused: bool
    message: str


FORGERY = """
-- A transaction like any other, up to its lines: what follows must be refused for the lines alone.
with forged as (
    insert into ledger.fact (fact_key, family, kind, content_hash)
    values ('forged', 'forged', 'forged', 'x') returning tx_id, recorded_at)
insert into ledger.journal_tx (tx_id, recorded_at, fact_key, kind, source_event, effective_at, content_hash)
select tx_id, recorded_at, 'forged', 'forged', 'forged', now(), 'x' from forged
"""

FORGED_LINES = """
insert into {table} (tx_id, recorded_at, line_no, effective_at, account, currency, amount)
select f.tx_id, f.recorded_at, line.no, now(), line.account, line.currency, line.amount
  from ledger.fact f, (values {lines}) as line (no, account, currency, amount)
 where f.fact_key = 'forged'
"""

BALANCED = "(1, 1100, 'usd', 100), (2, 4000, 'usd', -100)"
ONE_CENT_OFF = "(1, 1100, 'usd', 100), (2, 4000, 'usd', -99)"
NETTED = "(1, 1100, 'usd', 100), (2, 4000, 'eur', -100)"
NO_ACCOUNT = "(1, 1100, 'usd', 100), (2, 1234, 'usd', -100)"

ATTEMPTS = {
    "UPDATE an entry": "update ledger.entry set amount = amount + 1",
    "DELETE an entry": "delete from ledger.entry",
    "TRUNCATE the entries": "truncate ledger.entry",
    "UPDATE a header": "update ledger.journal_tx set effective_at = now()",
    "DELETE a fact": "delete from ledger.fact",
    "TRUNCATE a partition": "truncate ledger.entry_default",
    "INSERT into a partition directly": FORGED_LINES.format(table="ledger.entry_default", lines=BALANCED),
    "an entry one cent off": FORGED_LINES.format(table="ledger.entry", lines=ONE_CENT_OFF),
    "dollars netted with euros": FORGED_LINES.format(table="ledger.entry", lines=NETTED),
    "an account that does not exist": FORGED_LINES.format(table="ledger.entry", lines=NO_ACCOUNT),
    "a balance written by hand": "insert into ledger.balance_delta (account, currency, debit, credit, entries) "
    "values (1100, 'usd', 1, 0, 1)",
    "DISABLE TRIGGER": "alter table ledger.entry disable trigger all",
}


async def refused(connection: Connection) -> list[Attempt]:
    """Try what the database must refuse to the service's role.

    Writes: nothing; everything is rolled back, also what should have been refused and was not.
    """
    around = connection.transaction()
    await around.start()
    try:
        await connection.execute(FORGERY)
        return [await _attempt(connection, name, statement) for name, statement in ATTEMPTS.items()]
    finally:
        await around.rollback()


async def _attempt(connection: Transaction, name: str, statement: str) -> Attempt:
    alone = connection.transaction()
    await alone.start()
    try:
        done = await connection.execute(statement)
    except asyncpg.PostgresError as refusal:
        return Attempt(name, True, str(refusal).partition("\n")[0])
    finally:
        await alone.rollback()
    return Attempt(name, False, f"it was done: {done}")
