"""Every SQL statement. Sets in, sets out: a batch of any size costs the same few round trips."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.consumer import TABLES, Applied, latest
from millrace.postgres import Schema, Series, Transaction

from newcomer import metrics
from newcomer.domain import Customer

SCHEMA = Schema(
    "newcomer",
    (*TABLES, Series("newcomer", "newcomer.migrations")),
)

LOAD_CUSTOMERS = """
-- The customers of this batch, locked in a fixed order.
select key, invoices_paid, last_invoice, last_paid_at
  from newcomer.customer
 where key = any($1::text[])
 order by key
   for update
"""


async def load_customers(tx: Transaction, keys: Sequence[str]) -> dict[str, Customer]:
    rows = await tx.fetch(LOAD_CUSTOMERS, keys)
    return {r["key"]: Customer(r["invoices_paid"], r["last_invoice"], r["last_paid_at"]) for r in rows}


SAVE_CUSTOMERS = """
-- The customers as they are now.
insert into newcomer.customer (key, invoices_paid, last_invoice, last_paid_at)
select * from unnest($1::text[], $2::int[], $3::text[], $4::timestamptz[])
    on conflict (key) do update
   set invoices_paid = excluded.invoices_paid,
       last_invoice = excluded.last_invoice,
       last_paid_at = excluded.last_paid_at
"""


async def save_customers(tx: Transaction, changes: Sequence[Applied[Customer]]) -> None:
    rows = [
        (key, c.state.invoices_paid, c.state.last_invoice, c.state.last_paid_at)
        for key, c in sorted(latest(changes).items())
    ]
    await tx.execute(SAVE_CUSTOMERS, *map(list, zip(*rows, strict=True)))
    metrics.ROWS_SAVED.inc(len(rows))
