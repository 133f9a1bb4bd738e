"""What the relay shows of itself. A lane is an outbox, or a shard of one: main, billing, main.0of2."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

OLDEST_UNPUBLISHED_AGE = Gauge(
    "millrace_outbox_oldest_unpublished_age_seconds",
    "Age of the oldest committed outbox row that was read and is not in Kafka yet; 0 when none is. "
    "Above 30 s: runbook/outbox-age.md.",
    ["lane"],
)
OLDEST_TRANSACTION_AGE = Gauge(
    "millrace_outbox_oldest_xact_age_seconds",
    "For how long the same writing transaction has been the oldest open one of the cluster. "
    "It delays nobody but itself; above 5 minutes it keeps vacuum from its work.",
    ["lane"],
)
DAYS_AHEAD = Gauge(
    "millrace_outbox_days_ahead",
    "Days from tomorrow for which the outbox has partitions. At 0 writers fail at midnight UTC: "
    "runbook/outbox-partitions.md.",
    ["lane"],
)
PUBLISHED = Counter("millrace_outbox_published_total", "Outbox rows committed to Kafka.", ["lane", "topic"])
HELD = Gauge(
    "millrace_outbox_held",
    "1 while the relay stands before a row that it can neither publish nor step over.",
    ["lane", "reason"],
)
CYCLE_SECONDS = Histogram(
    "millrace_relay_cycle_seconds",
    "A page's way, part by part: read from PostgreSQL, plan its records, send until all are acknowledged, commit. "
    "A page is read while the one before it is sent or committed.",
    ["lane", "part"],
    buckets=SECONDS,
)
TRANSACTION_SECONDS = Histogram(
    "millrace_relay_transaction_seconds",
    "One Kafka transaction, from begin to the end of commit.",
    ["lane"],
    buckets=SECONDS,
)
END_TO_END_SECONDS = Histogram(
    "millrace_relay_end_to_end_seconds",
    "From before the insert of a heartbeat row to its sight by a `read_committed` reader, by one clock.",
    ["lane"],
    buckets=SECONDS,
)
LAST_END_TO_END_SECONDS = Gauge(
    "millrace_relay_last_end_to_end_seconds",
    "The same for the last heartbeat row, or the age of one that is not back yet.",
    ["lane"],
)
FENCES = Counter(
    "millrace_relay_fences_total",
    "Producers taken into use; each fences its predecessor. More than one a start: something failed.",
    ["lane"],
)
UNDECIDED = Counter(
    "millrace_relay_undecided_total",
    "Transactions that an earlier producer left without their end in some partition. aborted: no reader had seen any "
    "of it; completed: a part was seen, the rest was published; halted: runbook/outbox-halted.md.",
    ["lane", "verdict"],
)
LEADER = Gauge(
    "millrace_relay_leader", "1 while this process holds the lock of the lane; one process must.", ["lane"]
)
HALTED = Gauge(
    "millrace_relay_halted",
    "1 when the lane waits for a person; the log says what to type. Above 0: runbook/outbox-halted.md.",
    ["lane"],
)
HEARTBEAT_AGE = Gauge(
    "millrace_relay_heartbeat_age_seconds",
    "Since a transaction was last committed to Kafka; an idle relay commits its cursor. Above 30 s: stalled.",
    ["lane"],
)
QUARANTINED = Gauge(
    "millrace_outbox_quarantined",
    "Outbox rows that could not be published and wait for a person. Above 0: runbook/outbox-quarantine.md.",
    ["lane", "topic", "reason"],
)
PARKED = Counter(
    "millrace_outbox_parked_total", "Outbox rows that were put into quarantine.", ["lane", "reason"]
)

AUDIT_AGE = Gauge(
    "millrace_relay_audit_age_seconds",
    "Since a lane was last audited; it should be every hour. Above 3 hours: runbook/outbox-audit.md.",
    ["lane"],
)
AUDIT_MISMATCHES = Gauge(
    "millrace_relay_audit_mismatches",
    "Rows, records and numbers that differed in the last audit. Above 0: runbook/outbox-audit.md.",
    ["lane"],
)


def audited(lane: str, age_seconds: float, mismatches: int) -> None:
    """Show how a lane's last audit went."""
    AUDIT_AGE.labels(lane).set(age_seconds)
    AUDIT_MISMATCHES.labels(lane).set(mismatches)


def quarantined(lane: str, rows: Mapping[tuple[str, str], int]) -> None:
    """Show what is in a lane's quarantine, by topic and reason, and nothing that was."""
    QUARANTINED.remove_by_labels({"lane": lane})
    for (topic, reason), count in rows.items():
        QUARANTINED.labels(lane, topic, reason).set(count)


def stands_by(lane: str) -> None:
    """What only a leader can tell is 0 elsewhere, and does not grow with the time since it led."""
    for gauge in (HEARTBEAT_AGE, OLDEST_UNPUBLISHED_AGE, LAST_END_TO_END_SECONDS):
        gauge.labels(lane).set_function(lambda: 0.0)
    for gauge in (OLDEST_TRANSACTION_AGE, LEADER, AUDIT_AGE, AUDIT_MISMATCHES):
        gauge.labels(lane).set(0)
