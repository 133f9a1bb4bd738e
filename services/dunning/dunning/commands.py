"""Dunning for the operators' commands: what stands open, why, and whether the timers keep up."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import orjson

from dunning import store
from dunning.store import SCHEMA
from millrace.postgres import Connection
from millrace.topics import DUNNING_TIMERS, STRIPE_BILLING, STRIPE_PAYMENTS

TOPICS = (STRIPE_BILLING, STRIPE_PAYMENTS, DUNNING_TIMERS)  # what this consumer reads

__all__ = ["SCHEMA", "TOPICS", "case", "cases", "digest", "overdue_timers"]


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
