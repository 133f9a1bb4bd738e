"""What entitlement measures, each name once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from entitlement.domain.customer import Customer
from millrace.consumer import Applied
from millrace.postgres import Transaction

CATALOG_VERSION = Gauge(
    "millrace_entitlement_catalog_info", "The catalog version in force, as a label.", ["version"]
)
ACCESS_CHANGES = Counter(
    "millrace_entitlement_access_changes_total",
    "Changes of a customer's access that were committed or retried.",
)
ANSWERS = Counter(
    "millrace_entitlement_answers_total", "Access questions answered, by verdict or refusal.", ["answer"]
)
ANSWER_SECONDS = Histogram(
    "millrace_entitlement_answer_seconds",
    "Time to answer an access question.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0),
)

Save = Callable[[Transaction, Sequence[Applied[Customer]]], Awaitable[None]]


def counted(save: Save) -> Save:
    """The same save, with the changes of access counted."""

    async def counting(tx: Transaction, changes: Sequence[Applied[Customer]]) -> None:
        await save(tx, changes)
        ACCESS_CHANGES.inc(sum(_moved(change) for change in changes))

    return counting


def _moved(change: Any) -> bool:
    access = change.state.access
    return access is not None and access.cause == change.event.id
