"""Every topic, once: its name, what travels on it, and how long it stays.

Partition counts are fixed when a topic is made and never grow in place: that would move keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name and policy. Units: `retention_days`, for the ones that forget."""

    name: str
    content: str
    policy: Literal["delete", "compact"] = "delete"
    retention_days: int = 30
    partitions: int | None = None  # None: the deployment's default

    def config(self) -> dict[str, str]:
        """The broker's settings for this topic."""
        if self.policy == "compact":
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_days * DAY_MS)}


STRIPE_BILLING = "stripe.billing"
STRIPE_PAYMENTS = "stripe.payments"
STRIPE_CATALOG = "stripe.catalog"
STRIPE_OTHER = "stripe.other"
ENTITLEMENT_STATE = "entitlement.state"
ENTITLEMENT_CHANGED = "entitlement.changed"
LEDGER_POSTED = "ledger.posted"
DUNNING_CHANGED = "dunning.changed"
DUNNING_TIMERS = "dunning.timers"
REFRESH_REQUESTED = "millrace.refresh"
RELAY_CURSOR = "millrace.relay.cursor"
RELAY_HEARTBEAT = "millrace.relay.heartbeat"


def dead_letter(consumer: str) -> str:
    """The topic that carries a consumer's notices of parked events."""
    return f"{consumer}.dead-letter"


TOPICS: tuple[Topic, ...] = (
    Topic(STRIPE_BILLING, "customers, subscriptions, invoices, credit notes, checkout"),
    Topic(STRIPE_PAYMENTS, "charges, payment intents, refunds, disputes, payouts"),
    Topic(STRIPE_CATALOG, "products, prices, coupons, tax rates, features, meters"),
    Topic(STRIPE_OTHER, "every other type"),
    Topic(ENTITLEMENT_STATE, "full access state per customer", policy="compact"),
    Topic(ENTITLEMENT_CHANGED, "what changed, from which event, under which catalog version"),
    Topic(LEDGER_POSTED, "each journal transaction"),
    Topic(DUNNING_CHANGED, "case transitions and the access they ask for"),
    Topic(DUNNING_TIMERS, "timers that have fired"),
    Topic(REFRESH_REQUESTED, "objects whose state an event left in doubt"),
    Topic(RELAY_CURSOR, "how far the relay has published", policy="compact", partitions=1),
    Topic(RELAY_HEARTBEAT, "rows that measure the relay's whole way", retention_days=1),
    *(
        Topic(dead_letter(consumer), f"events that {consumer} parked", retention_days=90)
        for consumer in ("entitlement", "ledger", "dunning", "outbox-relay")
    ),
)
