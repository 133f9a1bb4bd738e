"""Dunning for the operators' commands: what stands open, why, and whether the timers keep up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from dunning import policies, store
from dunning.domain import Policies
from dunning.fold import fold
from dunning.store import SCHEMA, State
from millrace.consumer import Fold
from millrace.consumer.compared import Compared
from millrace.postgres import Connection
from millrace.topics import DUNNING_TIMERS, STRIPE_BILLING, STRIPE_PAYMENTS

TOPICS = (STRIPE_BILLING, STRIPE_PAYMENTS, DUNNING_TIMERS)  # what this consumer reads

BY_THE_CLOCK = (DUNNING_TIMERS,)  # topics that its timers write to: the time's doing, and no event's

COMPARED: Mapping[str, Compared] = {
    "timer": Compared(
        apart={"fired_at": "the clock's doing; what followed from it came back as an event"},
        traces=("trace",),
    ),
}

__all__ = [
    "BY_THE_CLOCK",
    "COMPARED",
    "SCHEMA",
    "TOPICS",
    "case",
    "cases",
    "digest",
    "overdue_timers",
    "rebuilt",
]


def rebuilt(file: Path) -> tuple[Fold[State, Policies], str]:
    """The fold as it runs in the service, and the version of the rules that it judges by. Raises Misconfigured."""
    rules = policies.read(file)
    return fold(lambda: rules), f"policies of sha-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


async def cases(connection: Connection, open_only: bool = True) -> list[dict[str, Any]]:
    """The cases, oldest failure first: account, customer, subscription, invoice, stage, access, attempts,
    decline_code, failed_at, grace_until, reason, last_event.
    """
    return await store.cases(connection, open_only)


async def case(connection: Connection, invoice: str) -> dict[str, Any] | None:
    """Everything known of one invoice, with its `timers` and the `history` that the audit log proves."""
    return await store.case(connection, invoice)


async def overdue_timers(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """Timers that should have fired by now; older than a poll interval means that nobody claims them."""
    return await store.overdue(connection, now)


async def digest(connection: Connection) -> str:
    """SHA-256 over what equal histories must agree on, whatever order they arrived in."""
    return hashlib.sha256(orjson.dumps(await store.state(connection))).hexdigest()
