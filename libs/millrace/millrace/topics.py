"""Every topic, once: its name, what travels on it, and how long it stays.

Partition counts are fixed when a topic is made and never grow in place: that would move keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's name and policy. Units: `retention_days`, for the ones that forget.

    Everything on it passed through the outbox of `writer`, and the relay alone writes into Kafka.
    """

    name: str
    content: str
    writer: str  # the role whose events they are; nobody else may say them
    policy: Literal["delete", "compact"] = "delete"
    retention_days: int = 30
    partitions: int | None = None  # None: the deployment's default
    private: bool = False  # the relay's own: it may look otherwise tomorrow

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
    Topic(STRIPE_BILLING, "customers, subscriptions, invoices, credit notes, checkout", "ingest"),
    Topic(STRIPE_PAYMENTS, "charges, payment intents, refunds, disputes, payouts", "ingest"),
    Topic(STRIPE_CATALOG, "products, prices, coupons, tax rates, features, meters", "ingest"),
    Topic(STRIPE_OTHER, "every other type", "ingest"),
    Topic(ENTITLEMENT_STATE, "full access state per customer", "entitlement", policy="compact"),
    Topic(ENTITLEMENT_CHANGED, "what changed, from which event, under which catalog version", "entitlement"),
    Topic(LEDGER_POSTED, "each journal transaction", "ledger"),
    Topic(DUNNING_CHANGED, "case transitions and the access they ask for", "dunning"),
    Topic(DUNNING_TIMERS, "timers that have fired", "dunning"),
    Topic(REFRESH_REQUESTED, "objects whose state an event left in doubt", "entitlement"),
    Topic(
        RELAY_CURSOR,
        "how far the relay has published",
        "outbox-relay",
        policy="compact",
        partitions=1,
        private=True,
    ),
    Topic(
        RELAY_HEARTBEAT,
        "rows that measure the relay's whole way",
        "outbox-relay",
        retention_days=1,
        private=True,
    ),
    *(
        Topic(dead_letter(consumer), f"events that {consumer} parked", consumer, retention_days=90)
        for consumer in ("entitlement", "ledger", "dunning", "outbox-relay")
    ),
)
