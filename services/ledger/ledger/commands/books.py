"""The books as operators and finance read them: one statement above each function that runs it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from ledger.domain.chart import CLEARING
from millrace.postgres import Connection


class Balance(NamedTuple):
    """One account in one currency. Units: minor; the balance is debits less credits."""

    account: int
    name: str
    currency: str
    debit_minor: int
    credit_minor: int
    balance_minor: int


TRIAL_BALANCE = """
-- Every account that anything was posted to, by currency, from the appended deltas.
select d.account, a.name, d.currency, sum(d.debit)::bigint as debit, sum(d.credit)::bigint as credit
  from ledger.balance_delta d join ledger.account a on a.code = d.account
 group by d.account, a.name, d.currency
 order by d.currency, d.account
"""


async def trial_balance(connection: Connection) -> list[Balance]:
    """The trial balance; each currency's balances sum to zero."""
    rows = await connection.fetch(TRIAL_BALANCE)
    return [
        Balance(r["account"], r["name"], r["currency"], r["debit"], r["credit"], r["debit"] - r["credit"])
        for r in rows
    ]


class OpenItem(NamedTuple):
    """A payment or refund that one side has told and the other has not."""

    item: str
    invoice: str | None
    amount_minor: int


class Clearing(NamedTuple):
    """A clearing account in one currency, and what keeps it from zero."""

    account: int
    name: str
    currency: str
    balance_minor: int
    open_items: tuple[OpenItem, ...]


OPEN_ITEMS = """
-- What has not met its other side, and the invoice it belongs to where that is known.
select e.account, e.currency, e.open_item, max(e.invoice) as invoice, sum(e.amount)::bigint as amount
  from ledger.entry e
 where e.account = any($1::smallint[]) and e.account in (1030, 1040, 1050)
 group by e.account, e.currency, e.open_item
having sum(e.amount) <> 0
 order by e.account, e.currency, e.open_item
"""


async def clearing(connection: Connection) -> list[Clearing]:
    """The clearing accounts that anything was posted to; all zero once everything has arrived."""
    items: dict[tuple[int, str], list[OpenItem]] = {}
    for row in await connection.fetch(OPEN_ITEMS, [int(account) for account in CLEARING]):
        item = OpenItem(row["open_item"], row["invoice"], row["amount"])
        items.setdefault((row["account"], row["currency"]), []).append(item)
    return [
        Clearing(
            b.account, b.name, b.currency, b.balance_minor, tuple(items.get((b.account, b.currency), ()))
        )
        for b in await trial_balance(connection)
        if b.account in CLEARING
    ]


RECEIVABLE = """
-- What each invoice still owes; negative where more was taken off than was claimed.
select invoice, currency, sum(amount)::bigint as amount
  from ledger.entry where account = 1100
 group by invoice, currency
having sum(amount) <> 0
 order by invoice
"""


async def receivable(connection: Connection) -> dict[str, tuple[str, int]]:
    """Invoice → (currency, amount owed in minor units), for those that owe anything."""
    return {row["invoice"]: (row["currency"], row["amount"]) for row in await connection.fetch(RECEIVABLE)}


class Unbalanced(NamedTuple):
    """A journal transaction that does not sum to zero in a currency."""

    tx_id: int
    currency: str
    off_minor: int


UNBALANCED = """
-- Recomputed from the lines, whatever the triggers did.
select tx_id, currency, sum(amount) as off
  from ledger.entry group by tx_id, currency having sum(amount) <> 0 order by tx_id, currency
"""


async def unbalanced(connection: Connection) -> list[Unbalanced]:
    """Journal transactions that do not balance: none, ever."""
    return [
        Unbalanced(row["tx_id"], row["currency"], int(row["off"]))
        for row in await connection.fetch(UNBALANCED)
    ]


class Drift(NamedTuple):
    """An account whose running balance disagrees with its lines."""

    account: int
    currency: str
    running_minor: int
    lines_minor: int


DRIFT = """
-- Balances kept beside balances recomputed.
select account, currency, coalesce(d.amount, 0)::bigint as running, coalesce(e.amount, 0)::bigint as lines
  from (select account, currency, sum(debit - credit) as amount from ledger.balance_delta group by 1, 2) d
  full join (select account, currency, sum(amount) as amount from ledger.entry group by 1, 2) e
       using (account, currency)
 where coalesce(d.amount, 0) <> coalesce(e.amount, 0)
 order by account, currency
"""


async def drift(connection: Connection) -> list[Drift]:
    """Accounts whose deltas do not add up to their lines: none, ever."""
    return [Drift(*row.values()) for row in await connection.fetch(DRIFT)]


class Waiting(NamedTuple):
    """An event that waits for another fact of its family."""

    event: str
    type: str
    family: str
    reason: str


WAITING = """
-- Oldest first.
select event_id, type, wait_key, reason from ledger.parked_event where status = 'waiting' order by id
"""


async def waiting(connection: Connection) -> list[Waiting]:
    """What cannot be posted yet, and what it waits for."""
    return [Waiting(*row.values()) for row in await connection.fetch(WAITING)]


FACTS = """
-- Every fact and what it says, in an order that arrival has no part in.
select fact_key, content_hash from ledger.fact order by fact_key collate "C"
"""


async def digest(connection: Connection) -> str:
    """SHA-256 over all that the ledger knows: equal histories give equal digests in any order of delivery."""
    whole = hashlib.sha256()
    for row in await connection.fetch(FACTS):
        whole.update(f"{row['fact_key']} {row['content_hash'].hex()}\n".encode())
    return whole.hexdigest()
