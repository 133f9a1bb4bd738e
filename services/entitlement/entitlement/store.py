"""Entitlement's SQL: the states of a batch in, the states after it out, a statement or two a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from entitlement.domain import newer, plain
from entitlement.domain.access import Restriction
from entitlement.domain.customer import Access, Customer
from entitlement.domain.subscription import Item, Snapshot
from millrace import postgres
from millrace.consumer import TABLES, Applied, latest
from millrace.errors import Retryable
from millrace.events import STRIPE, stripe
from millrace.postgres import Connection, Transaction

Row: TypeAlias = "asyncpg.Record | Mapping[str, Any]"

SCHEMA = postgres.Schema("entitlement", (*TABLES, postgres.Series("entitlement", "entitlement.migrations")))

LOAD_ACCESS = """
-- The customers of this batch, locked in a fixed order. A customer's row stands for all that is known of it.
select account, customer, revision, version, catalog, features, as_of, cause
  from entitlement.access
 where (account, customer) in (select * from unnest($1::text[], $2::text[]))
 order by account, customer
   for update
"""

LOAD_SUBSCRIPTIONS = """
-- Their subscriptions, with the snapshots that still matter.
select account, customer, subscription, recent
  from entitlement.subscription
 where (account, customer) in (select * from unnest($1::text[], $2::text[]))
"""

LOAD_RESTRICTIONS = """
-- Dunning's newest word on each of their invoices.
select account, customer, invoice, subscription, restricted, version, reason, event
  from entitlement.restriction
 where (account, customer) in (select * from unnest($1::text[], $2::text[]))
"""


async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Customer]:
    """The customers of these keys, as they are stored; locked until the transaction ends."""
    wanted = _columns([key.split("/", 1) for key in sorted(keys)], 2)
    rows = await tx.fetch(LOAD_ACCESS, *wanted)
    if not rows:
        return {}
    subscriptions: dict[str, dict[str, tuple[Snapshot, ...]]] = {_key(row): {} for row in rows}
    restrictions: dict[str, dict[str, Restriction]] = {_key(row): {} for row in rows}
    for row in await tx.fetch(LOAD_SUBSCRIPTIONS, *wanted):
        subscriptions[_key(row)][row["subscription"]] = plain.read(row["recent"])
    for row in await tx.fetch(LOAD_RESTRICTIONS, *wanted):
        restrictions[_key(row)][row["invoice"]] = _restriction(row)
    return {
        _key(row): Customer(
            row["account"],
            row["customer"],
            row["revision"],
            subscriptions[_key(row)],
            restrictions[_key(row)],
            _access(row),
        )
        for row in rows
    }


UPDATE_ACCESS = """
-- Customers known before, each only from the revision it was read at.
update entitlement.access a
   set revision = a.revision + 1, version = n.version, catalog = n.catalog, features = n.features,
       as_of = n.as_of, cause = n.cause
  from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::jsonb[], $7::timestamptz[],
              $8::text[]) as n (account, customer, revision, version, catalog, features, as_of, cause)
 where (a.account, a.customer, a.revision) = (n.account, n.customer, n.revision)
"""

INSERT_ACCESS = """
-- Customers heard of for the first time; another writer may have been quicker.
insert into entitlement.access (account, customer, revision, version, catalog, features, as_of, cause)
select account, customer, revision + 1, version, catalog, features, as_of, cause
  from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::jsonb[], $7::timestamptz[],
              $8::text[]) as n (account, customer, revision, version, catalog, features, as_of, cause)
on conflict do nothing
"""

INSERT_HISTORY = """
-- Every access that was effective in this batch, if only for one event.
insert into entitlement.access_history (account, customer, version, valid_from, catalog, features, cause)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::jsonb[],
                     $7::text[])
"""


async def save(tx: Transaction, changes: Sequence[Applied[Customer]]) -> None:
    """Keep what a batch made of its customers.

    Writes:  access, access_history, subscription, item, restriction; one or two statements each.
    Raises:  Retryable when another writer changed one of them since it was loaded.
    """
    last = [change.state for change in latest(changes).values()]
    known = [c for c in last if c.revision]
    await _expect(len(known), await tx.execute(UPDATE_ACCESS, *_access_columns(known)))
    fresh = [c for c in last if not c.revision]
    await _expect(len(fresh), await tx.execute(INSERT_ACCESS, *_access_columns(fresh)))
    await tx.execute(INSERT_HISTORY, *_history_columns(changes))
    await _save_subscriptions(tx, _touched(changes))
    await _save_restrictions(tx, changes)


async def _expect(rows: int, status: str) -> None:
    if int(status.rpartition(" ")[2]) != rows:
        raise Retryable("another writer changed this customer since it was loaded", after=0)


UPSERT_SUBSCRIPTIONS = """
-- The subscriptions that this batch changed, as they stand now.
insert into entitlement.subscription (account, customer, subscription, status, cancels_at, trial_end,
                                      ended_at, pause_collection, created, event, doubt, recent)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                     $7::timestamptz[], $8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::jsonb[])
on conflict (account, subscription) do update
   set status = excluded.status, cancels_at = excluded.cancels_at, trial_end = excluded.trial_end,
       ended_at = excluded.ended_at, pause_collection = excluded.pause_collection, created = excluded.created,
       event = excluded.event, doubt = excluded.doubt, recent = excluded.recent
"""

DELETE_ITEMS = """
-- Items of changed subscriptions make room for the new ones.
delete from entitlement.item
 where (account, subscription) in (select * from unnest($1::text[], $2::text[]))
"""

INSERT_ITEMS = """
-- The items of changed subscriptions, as they stand now.
insert into entitlement.item (account, subscription, item, price, lookup_key, product, quantity,
                              period_start, period_end)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
                     $8::timestamptz[], $9::timestamptz[])
"""


async def _save_subscriptions(tx: Transaction, touched: Mapping[tuple[str, str], Customer]) -> None:
    if not touched:
        return
    subscriptions, items = [], []
    for (account, id_), customer in touched.items():
        recent = customer.subscriptions[id_]
        stands = newer.standing(recent)
        subscriptions.append((account, customer.id, id_, *_subscription_row(stands, recent)))
        items += [_item_row(account, id_, item) for item in stands.head.after.items]
    await tx.execute(UPSERT_SUBSCRIPTIONS, *_columns(subscriptions, 12))
    await tx.execute(DELETE_ITEMS, *_columns(list(touched), 2))
    await tx.execute(INSERT_ITEMS, *_columns(items, 9))


UPSERT_RESTRICTIONS = """
-- Dunning's newest words; an older one never replaces a newer.
insert into entitlement.restriction (account, customer, invoice, subscription, restricted, version, reason,
                                     event)
select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::int[], $7::text[],
                     $8::text[])
on conflict (account, invoice) do update
   set customer = excluded.customer, subscription = excluded.subscription, restricted = excluded.restricted,
       version = excluded.version, reason = excluded.reason, event = excluded.event
 where restriction.version < excluded.version
"""


async def _save_restrictions(tx: Transaction, changes: Sequence[Applied[Customer]]) -> None:
    words: dict[tuple[str, str], tuple[Any, ...]] = {}
    for change in changes:
        if not change.event.type.startswith(STRIPE):
            customer, word = change.state, change.state.restrictions[change.event.subject]
            words[customer.account, word.invoice] = (
                customer.account, customer.id, word.invoice, word.subscription, word.restricted,
                word.version, word.reason, word.event,
            )  # fmt: skip
    if words:
        await tx.execute(UPSERT_RESTRICTIONS, *_columns(list(words.values()), 8))


ACCESS_NOW = """
-- The access of a customer; of every account that knows it, when none is named.
select account, version, catalog, features, as_of, as_of as valid_from
  from entitlement.access
 where customer = $1 and ($2::text is null or account = $2)
 order by account
"""

ACCESS_THEN = """
-- The access that was known to be true at a time: in each account the last one from before it.
select distinct on (account) account, version, catalog, features, valid_from as as_of, valid_from
  from entitlement.access_history
 where customer = $1 and ($2::text is null or account = $2) and valid_from <= $3
 order by account, version desc
"""

FRESHEST = """
-- The time of the newest event that has been heard, of whomever.
select as_of from entitlement.access order by as_of desc limit 1
"""


async def access_of(
    connection: Connection, customer: str, account: str | None, at: datetime | None
) -> list[dict[str, Any]]:
    """One row an account: account, version, catalog, features, as_of."""
    if at is None:
        rows = await connection.fetch(ACCESS_NOW, customer, account)
    else:
        rows = await connection.fetch(ACCESS_THEN, customer, account, at)
    return [dict(row) for row in rows]


async def freshest(connection: Connection) -> datetime | None:
    """How far this service has heard; None before the first event."""
    found: datetime | None = await connection.fetchval(FRESHEST)
    return found


def _key(row: Row) -> str:
    return f"{row['account']}/{row['customer']}"


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows turned into one array a column, as unnest wants them."""
    return [[row[n] for row in rows] for n in range(width)]


def _at(seconds: int | None) -> datetime | None:
    return None if seconds is None else stripe.at(seconds)


def _touched(changes: Sequence[Applied[Customer]]) -> dict[tuple[str, str], Customer]:
    """The subscriptions that changed, each with its customer as it is at the end of the batch."""
    last = latest(changes)
    return {
        (change.state.account, change.event.subject): last[change.key].state
        for change in changes
        if change.event.type.startswith(STRIPE)
    }


def _access(row: Row) -> Access:
    return Access(row["version"], row["catalog"], row["features"], row["as_of"], row["cause"])


def _restriction(row: Row) -> Restriction:
    named = ("invoice", "subscription", "restricted", "version", "reason", "event")
    return Restriction(*(row[name] for name in named))


def _access_columns(customers: Sequence[Customer]) -> list[list[Any]]:
    rows = [
        (c.account, c.id, c.revision, a.version, a.catalog, dict(a.features), a.as_of, a.cause)
        for c in customers
        if (a := c.access)
    ]
    return _columns(rows, 8)


def _history_columns(changes: Sequence[Applied[Customer]]) -> list[list[Any]]:
    """The versions that came to be in this batch, each once."""
    rows = {
        (change.key, a.version): (c.account, c.id, a.version, a.as_of, a.catalog, dict(a.features), a.cause)
        for change in changes
        if (a := (c := change.state).access) and a.cause == change.event.id
    }
    return _columns(list(rows.values()), 7)


def _subscription_row(stands: newer.Standing, recent: Sequence[Snapshot]) -> tuple[Any, ...]:
    head, shape = stands.head, stands.head.after
    return (
        shape.status, _at(shape.cancels_at), _at(shape.trial_end), _at(shape.ended_at),
        shape.pause_collection, _at(head.created), head.event, stands.doubt, plain.written(recent),
    )  # fmt: skip


def _item_row(account: str, subscription: str, item: Item) -> tuple[Any, ...]:
    period = (_at(item.period_start), _at(item.period_end))
    return (
        account, subscription, item.id, item.price, item.lookup_key, item.product, item.quantity, *period,
    )  # fmt: skip
