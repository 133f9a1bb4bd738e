"""What the relay shows of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

OLDEST_UNPUBLISHED_AGE = Gauge(
    "millrace_outbox_oldest_unpublished_age_seconds",
    "Age of the oldest committed outbox row that was read and is not in Kafka yet; 0 when none is. "
    "Above 30 s: runbook/outbox-age.md.",
)
OLDEST_TRANSACTION_AGE = Gauge(
    "millrace_outbox_oldest_xact_age_seconds",
    "For how long the same writing transaction has been the oldest open one of the cluster. "
    "It delays nobody but itself; above 5 minutes it keeps vacuum from its work.",
)
PUBLISHED = Counter("millrace_outbox_published_total", "Outbox rows committed to Kafka.", ["topic"])
HELD = Gauge(
    "millrace_outbox_held",
    "1 while the relay stands before a row that it can neither publish nor step over.",
    ["reason"],
)
PAGE_SECONDS = Histogram("millrace_relay_page_seconds", "Reading one page from PostgreSQL.", buckets=SECONDS)
TRANSACTION_SECONDS = Histogram(
    "millrace_relay_transaction_seconds",
    "One Kafka transaction, from begin to the end of commit.",
    buckets=SECONDS,
)
FENCES = Counter(
    "millrace_relay_fences_total",
    "Producers taken into use; each fences its predecessor. More than one a start: something failed.",
)
LEADER = Gauge(
    "millrace_relay_leader", "1 while this process holds the lock of its outbox; one process must."
)
HEARTBEAT_AGE = Gauge(
    "millrace_relay_heartbeat_age_seconds",
    "Since a transaction was last committed to Kafka; an idle relay commits its cursor. Above 30 s: stalled.",
)
