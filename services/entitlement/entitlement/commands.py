"""What the operators' commands may ask of entitlement. Reads only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from entitlement import store
from entitlement.catalog import InForce
from entitlement.domain.customer import Customer
from entitlement.domain.plans import Catalog
from entitlement.fold import fold
from entitlement.store import SCHEMA
from millrace.clock import Clock
from millrace.consumer import Fold
from millrace.consumer.compared import WRITTEN, Compared
from millrace.postgres import Connection
from millrace.topics import DUNNING_CHANGED, STRIPE_BILLING

TOPICS = (STRIPE_BILLING, DUNNING_CHANGED)  # what this consumer reads

COMPARED: Mapping[str, Compared] = {
    "access": Compared(apart={"revision": "grows by one a batch, wherever batches were cut"}),
    "access_history": Compared(apart={"recorded_at": WRITTEN}),
}


def rebuilt(catalog: Path, clock: Clock) -> tuple[Fold[Customer, Catalog], str]:
    """The fold as it runs in the service, and the version of the rules that it judges by. Raises Misconfigured."""
    in_force = InForce(catalog, clock).running
    return fold(lambda: in_force), f"catalog {in_force.version}"


SUBSCRIPTIONS = """
-- Every subscription with its items' prices and quantities.
select s.subscription, s.status,
       coalesce(jsonb_object_agg(i.price, i.quantity) filter (where i.item is not null), '{}') as items
  from entitlement.subscription s
  left join entitlement.item i on (i.account, i.subscription) = (s.account, s.subscription)
 group by s.account, s.subscription, s.status
 order by s.subscription
"""

OF_CUSTOMER = """
-- A customer's subscriptions, for people.
select account, subscription, status, cancels_at, trial_end, ended_at, pause_collection, event, doubt
  from entitlement.subscription
 where customer = $1 and ($2::text is null or account = $2)
 order by account, subscription
"""

RESTRICTIONS = """
-- What dunning asks for.
select account, invoice, subscription, restricted, reason, event
  from entitlement.restriction
 where customer = $1 and ($2::text is null or account = $2)
 order by account, invoice
"""

CUSTOMERS = """
-- Customers that entitlement knows, in a fixed order.
select customer from entitlement.access order by customer limit $1
"""

COUNTS = """
-- What there is, for the status page.
select (select count(*) from entitlement.access) as customers,
       (select count(*) from entitlement.subscription) as subscriptions,
       (select count(*) from entitlement.subscription where doubt <> '') as in_doubt,
       (select count(*) from entitlement.restriction where restricted) as restricted
"""

STATE = """
-- All business state in a canonical order; versions, times of hearing and dunning's event ids left out.
select 'subscription' as kind, account, subscription as id,
       jsonb_build_array(customer, status, cancels_at, trial_end, ended_at, pause_collection, created, event,
                         doubt, recent) as state
  from entitlement.subscription
 union all
select 'item', account, subscription || '/' || item,
       jsonb_build_array(price, lookup_key, product, quantity, period_start, period_end)
  from entitlement.item
 union all
select 'restriction', account, invoice, jsonb_build_array(customer, subscription, restricted)
  from entitlement.restriction
 union all
select 'access', account, customer, jsonb_build_array(catalog, features)
  from entitlement.access
 order by 1, 2, 3
"""


async def access(connection: Connection, customer: str, account: str | None = None) -> list[dict[str, Any]]:
    """What a customer may do and why; one report an account: access, subscriptions, restrictions."""
    rows = await store.access_of(connection, customer, account, None)
    subscriptions = [dict(row) for row in await connection.fetch(OF_CUSTOMER, customer, account)]
    restrictions = [dict(row) for row in await connection.fetch(RESTRICTIONS, customer, account)]
    return [
        {
            "customer": customer,
            "account": row["account"],
            "catalog": row["catalog"],
            "as_of": row["as_of"],
            "features": _plain(row["features"]),
            "subscriptions": [s for s in subscriptions if s["account"] == row["account"]],
            "restrictions": [r for r in restrictions if r["account"] == row["account"]],
        }
        for row in rows
    ]


async def customers(connection: Connection, limit: int) -> list[str]:
    """The ids of some customers."""
    return [row["customer"] for row in await connection.fetch(CUSTOMERS, limit)]


async def subscriptions(connection: Connection) -> dict[str, tuple[str, dict[str, int | None]]]:
    """subscription id -> (status, {price id: quantity})."""
    rows = await connection.fetch(SUBSCRIPTIONS)
    return {row["subscription"]: (row["status"], dict(_loaded(row["items"]))) for row in rows}


async def counts(connection: Connection) -> dict[str, int]:
    """How many customers, subscriptions, doubts and restrictions there are."""
    row = await connection.fetchrow(COUNTS)
    return dict(row) if row else {}


async def digest(connection: Connection) -> str:
    """SHA-256 over all business state. Equal histories give equal digests, whatever order they came in."""
    summary = hashlib.sha256()
    for row in await connection.fetch(STATE):
        state = _loaded(row["state"])
        if row["kind"] == "access":
            state = [state[0], _plain(state[1], evidence=False)]
        summary.update(
            orjson.dumps([row["kind"], row["account"], row["id"], state], option=orjson.OPT_SORT_KEYS)
        )
    return summary.hexdigest()


def _loaded(found: Any) -> Any:
    """JSON as values, also on a connection that was not taught our JSON."""
    return orjson.loads(found) if isinstance(found, str) else found


def _plain(features: Any, *, evidence: bool = True) -> dict[str, dict[str, Any]]:
    """Verdicts for people or for comparison."""
    return {name: _verdict(verdict, evidence) for name, verdict in sorted(_loaded(features).items())}


def _verdict(verdict: dict[str, Any], evidence: bool) -> dict[str, Any]:
    shown = {name: value for name, value in verdict.items() if evidence or name != "evidence"}
    if "then" in shown:
        shown["then"] = _verdict(shown["then"], evidence)
    return shown


__all__ = [
    "COMPARED",
    "SCHEMA",
    "TOPICS",
    "access",
    "counts",
    "customers",
    "digest",
    "rebuilt",
    "subscriptions",
]
