"""What a consumer tells Prometheus. Labels are names of consumers and outcomes, never an id."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from millrace.consumer.batches import Report

EVENTS = Counter(
    "millrace_consumer_events_total",
    "Events by what became of them: applied, noop, duplicate, parked, retried (a batch that had to wait).",
    ["consumer", "outcome"],
)
BATCH_SECONDS = Histogram(
    "millrace_consumer_batch_seconds",
    "One batch from decoded records to the database's commit.",
    ["consumer"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
LAG_SECONDS = Gauge(
    "millrace_consumer_lag_seconds",
    "Age of the newest record applied when it was applied. Above 60 for 5 minutes: the consumer is behind.",
    ["consumer"],
)
REBALANCES = Counter(
    "millrace_consumer_rebalances_total",
    "How often the group gave this member its seat. More than a few an hour: look for a second member of its name.",
    ["consumer"],
)
LOOP_TURNED = Gauge(
    "millrace_consumer_loop_turned_timestamp_seconds",
    "When the loop last turned. Standing still: the consumer is stuck.",
    ["consumer"],
)


def observe(consumer: str, report: Report, seconds: float) -> None:
    """Count one batch."""
    BATCH_SECONDS.labels(consumer).observe(seconds)
    for outcome in ("applied", "noop", "duplicate", "parked"):
        if count := getattr(report, outcome):
            EVENTS.labels(consumer, outcome).inc(count)
