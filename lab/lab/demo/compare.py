"""What came out, held against what the company's account knows to be true, and folded into one digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from dunning import commands as dunning
from entitlement import commands as entitlement
from ingest import commands as ingest
from lab.northwind.truth import DunningTruth, Truth
from ledger import commands as ledger
from millrace.postgres import Connection
from millrace.sealing import Keys
from operations.verify import Check

STRIPE_BALANCE = 1010
STAGES = {  # how an invoice that once failed ended → the stages its case may be in
    "paid": {"recovered"},
    "voided": {"closed"},
    "credited": {"closed", "recovered"},
    "uncollectible": {"written_off", "exhausted", "grace"},  # grace: Stripe gave up sooner than our policy
    "open": {"open", "grace", "restricted", "exhausted", "closed"},
}


async def compare(connection: Connection, truth: Truth) -> list[Check]:
    """Subscriptions, receivables, Stripe's balance and dunning against the account's own figures."""
    subscriptions = await entitlement.subscriptions(connection)
    receivable = {k: tuple(v) for k, v in (await ledger.receivable(connection)).items() if v[1]}
    balance = {
        line.currency: line.balance_minor
        for line in await ledger.trial_balance(connection)
        if line.account == STRIPE_BALANCE and line.balance_minor
    }
    stages = {case["invoice"]: case["stage"] for case in await dunning.cases(connection, open_only=False)}
    return [
        _equal("subscriptions are as at Stripe", _subscriptions(truth), subscriptions),
        _equal("receivables are Stripe's, to the cent", _receivables(truth), receivable),
        _equal("Stripe's balance is Stripe's, to the cent", _nonzero(truth.stripe_balance), balance),
        _dunned(truth.dunning, stages),
    ]


async def digest(connection: Connection, keys: Keys) -> str:
    """One hash over all business state, wall-clock columns apart. What was received is opened for it."""
    parts = [await of.digest(connection) for of in (entitlement, ledger, dunning)]
    return hashlib.sha256(" ".join([await ingest.digest(connection, keys), *parts]).encode()).hexdigest()


def _subscriptions(truth: Truth) -> dict[str, Any]:
    return {id: (sub.status, dict(sub.items)) for id, sub in truth.subscriptions.items()}


def _receivables(truth: Truth) -> dict[str, Any]:
    return {id: (r.currency, r.amount_remaining) for id, r in truth.receivables.items() if r.amount_remaining}


def _nonzero(amounts: Mapping[str, int]) -> dict[str, int]:
    return {currency: amount for currency, amount in amounts.items() if amount}


def _equal(name: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> Check:
    differ = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    if not differ:
        return Check(name, True, f"{len(expected):,} agree")
    shown = "; ".join(f"{key}: Stripe {expected.get(key)}, here {found.get(key)}" for key in differ[:3])
    return Check(name, False, f"{len(differ)} differ: {shown}")


def _dunned(truth: Mapping[str, DunningTruth], stages: Mapping[str, str]) -> Check:
    wrong = sorted(
        f"{invoice}: {told.outcome} at Stripe, {stages.get(invoice, 'no case')} here"
        for invoice, told in truth.items()
        if not _fits(told, stages.get(invoice))
    )
    strangers = sorted(stages.keys() - truth.keys())
    detail = (
        f"{len(stages):,} cases agree" if not wrong and not strangers else "; ".join([*wrong, *strangers][:3])
    )
    return Check("dunning cases are as at Stripe", not wrong and not strangers, detail)


def _fits(told: DunningTruth, stage: str | None) -> bool:
    """A first payment that fails is not dunned; every other invoice has a case that ended as the invoice did."""
    if told.billing_reason == "subscription_create":
        return stage is None
    return stage in STAGES[told.outcome]
