"""What the services know, in the oracle's terms; and what the oracle's word means for a service of ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from dunning import commands as dunning
from entitlement.domain.access import in_force
from millrace.postgres import Connection
from millrace_lab.storm import oracle
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import DOUBT, OPEN, Answers, Key, one_of

ASPECTS = frozenset(
    {
        "status",
        "items",
        "cancel_at",
        "pausing",
        "receivable",
        "balance",
        "settled",
        "refunded",
    }  # the oracle's own
    | {"stage", "restricted"}  # what its outcomes mean for dunning's case and entitlement's restriction
    | {"access", "parked"}  # whether a customer may work, and what could not be applied
)
UNPAID = ("open", "grace", "restricted", "exhausted")
STAGES: dict[str | None, Any] = {
    # how an invoice that failed stands → the stages that its case may be in
    None: None,  # a first payment that fails is not dunned
    "paid": "recovered",
    "credited": one_of("closed", "recovered"),
    "voided": "closed",
    "gone": "closed",
    "uncollectible": "written_off",
    "gave_up": one_of(*UNPAID),  # Stripe gave up sooner than our policy
    "open": one_of(*UNPAID),
}
GIVES_ACCESS = frozenset({"trialing", "active", "past_due"})  # unless dunning restricts it
FEATURE = "boards"  # of the demo's catalog: every plan gives it, and a restriction takes it
MAY_BE_RESTRICTED = frozenset({"uncollectible", "gave_up", "open"})


def expected(arrivals: Sequence[Arrival]) -> Answers:
    """What the services must know after these deliveries, whatever their order."""
    values: dict[Key, Any] = {**oracle.of(arrivals)}
    for (aspect, invoice), outcome in list(values.items()):
        if aspect == "outcome":
            values["stage", invoice] = STAGES[outcome]
            values["restricted", invoice] = one_of(True, None) if outcome in MAY_BE_RESTRICTED else None
    return values | _access(arrivals, values)


def _access(arrivals: Sequence[Arrival], values: Answers) -> dict[Key, Any]:
    """Whether each customer may work at the moment of the last delivery; OPEN where dunning may restrict it."""
    owners = {id_: body["customer"] for id_, body in oracle.newest(arrivals, "subscription").items()}
    giving = {owners[id_] for id_ in owners if _gives(values, id_, arrivals[-1].at)}
    failed = {
        body["customer"]
        for id_, body in oracle.newest(arrivals, "invoice").items()
        if values.get(("outcome", id_)) in MAY_BE_RESTRICTED
    }
    return {
        ("access", who): (OPEN if who in failed else True) if who in giving else None
        for who in owners.values()
    }


def _gives(values: Answers, subscription: str, now: int) -> bool:
    ends = values["cancel_at", subscription]
    return values["status", subscription] in GIVES_ACCESS and (ends is None or ends > now)


async def answers(connection: Connection, now: int) -> dict[Key, Any]:
    """What entitlement, the ledger and dunning say at a moment."""
    found: dict[Key, Any] = {}
    for row in await connection.fetch(SUBSCRIPTIONS):
        found |= read(dict(row))
    for row in await connection.fetch(MONEY):
        found[row["aspect"], row["object"]] = row["amount"]
    for row in await connection.fetch(SETTLED):
        found["settled", row["open_item"]] = (row["amount"], row["currency"])
    found |= {("restricted", row["invoice"]): True for row in await connection.fetch(RESTRICTED)}
    found |= {
        ("stage", case["invoice"]): case["stage"] for case in await dunning.cases(connection, open_only=False)
    }
    for row in await connection.fetch(ACCESS, FEATURE):
        verdict = in_force(row["verdict"], datetime.fromtimestamp(now, UTC))
        given = verdict["verdict"] != "denied" or None
        found["access", row["customer"]] = DOUBT if row["doubtful"] else given
    found |= {("parked", row["event_id"]): row["why"] for row in await connection.fetch(PARKED)}
    return found


SUBSCRIPTIONS = """
-- Every subscription with its items.
select s.subscription, s.status, extract(epoch from s.cancels_at)::bigint as cancel_at, s.pause_collection, s.doubt,
       array_agg(i.price order by i.price) filter (where i.item is not null) as prices,
       array_agg(i.quantity order by i.price) filter (where i.item is not null) as quantities
  from entitlement.subscription s left join entitlement.item i using (account, subscription)
 group by s.account, s.subscription
"""


def read(row: dict[str, Any]) -> dict[Key, Any]:
    """One subscription as entitlement has it; nothing of it is an answer while it is in doubt."""
    items = tuple(sorted(zip(row["prices"] or (), row["quantities"] or (), strict=True), key=str))
    said = {
        "status": row["status"],
        "items": items,
        "cancel_at": row["cancel_at"],
        "pausing": row["pause_collection"],
    }
    return {(aspect, row["subscription"]): DOUBT if row["doubt"] else value for aspect, value in said.items()}


MONEY = """
-- What each invoice owes and took from the customer's balance, and what each refund gave back.
select 'receivable' as aspect, invoice as object, sum(amount)::bigint as amount
  from ledger.entry where account = 1100 group by invoice
union all
select 'balance', invoice, sum(amount)::bigint from ledger.entry where account = 2200 group by invoice
union all
select 'refunded', open_item, sum(amount)::bigint
  from ledger.entry where account = 4900 and open_item is not null group by open_item
"""

SETTLED = """
-- What each payment and each refund did to the Stripe balance, net of fees.
select open_item, currency, sum(amount)::bigint as amount
  from ledger.entry where account = 1010
 group by open_item, currency having sum(amount) <> 0
"""

RESTRICTED = """
-- The invoices for which access is restricted.
select invoice from entitlement.restriction where restricted
"""

ACCESS = """
-- What each customer may do with a feature, and whether any of their subscriptions is in doubt.
select customer, features -> $1 as verdict,
       exists (select from entitlement.subscription s where s.customer = a.customer and s.doubt <> '') as doubtful
  from entitlement.access a
"""

PARKED = """
-- What could not be applied, whoever could not apply it; what waits for another fact is no fault.
select event_id, 'entitlement: ' || reason as why from entitlement.parked_event where status in ('poison', 'failed')
union all
select event_id, 'ledger: ' || reason from ledger.parked_event where status in ('poison', 'failed')
union all
select event_id, 'dunning: ' || reason from dunning.parked_event where status in ('poison', 'failed')
"""
