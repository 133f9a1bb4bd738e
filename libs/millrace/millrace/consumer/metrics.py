"""What a consumer tells Prometheus. Labels are names of consumers, topics and outcomes, never an id."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from millrace.consumer.batches import Report
from millrace.consumer.record import Record

EVENTS = Counter(
    "millrace_consumer_events_total",
    "Events by what became of them: applied, noop, duplicate, parked; failed (of the parked: those that nothing in "
    "the stream releases); retried (a partition that had to wait).",
    ["consumer", "outcome"],
)
BATCH_SECONDS = Histogram(
    "millrace_consumer_batch_seconds",
    "One batch from decoded records to the database's commit.",
    ["consumer"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
BATCH_RECORDS = Histogram(
    "millrace_consumer_batch_records",
    "Records of a batch. Near 1 with a lag: batches take too long, and were made smaller.",
    ["consumer"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
LAG_RECORDS = Gauge(
    "millrace_consumer_lag_records",
    "Offsets between the first record that is not decided and the last stable offset; markers of transactions count.",
    ["consumer", "topic", "partition"],
)
LAG_SECONDS = Gauge(
    "millrace_consumer_lag_seconds",
    "Age of the oldest record that is not decided; 0 when there is none. Above 60 for 5 minutes: it is behind.",
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
SILENCE = Gauge(
    "millrace_consumer_silence_seconds",
    "Since Kafka was last heard, by the group or by a partition. The process ends before it grows without bound.",
    ["consumer"],
)
PAUSED = Gauge(
    "millrace_consumer_paused",
    "1 while an operator wants it to rest: `millrace consumers status` says who and why.",
    ["consumer"],
)
PARKED = Gauge(
    "millrace_consumer_parked",
    "Events that are parked now, by why: poison, failed, behind (an earlier one of its key), waiting (for a fact).",
    ["consumer", "status"],
)
OLDEST_PARKED = Gauge(
    "millrace_consumer_oldest_parked_timestamp_seconds",
    "When the oldest event was parked that waits for a person; 0 when there is none.",
    ["consumer"],
)
SEQUENCE_ANOMALIES = Counter(
    "millrace_consumer_sequence_anomalies_total",
    "Where a relay's numbers did not follow each other: gap (ask `millrace relay audit`), duplicate, inversion.",
    ["consumer", "kind"],
)
OFFSETS_RECOVERED = Counter(
    "millrace_consumer_offsets_recovered_total",
    "Partitions that went on from the database's offset because Kafka had none that the topic holds.",
    ["consumer"],
)
EFFECTIVE_SECONDS = Histogram(
    "millrace_event_effective_seconds",
    "From Stripe's webhook to the commit of its effect: of each batch and partition, the event that waited longest.",
    ["consumer"],
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)

OUTCOMES = ("applied", "noop", "duplicate", "parked")
STATUSES = ("poison", "failed", "behind", "waiting")


def observe(consumer: str, report: Report, records: int, seconds: float) -> None:
    """Count one batch."""
    BATCH_SECONDS.labels(consumer).observe(seconds)
    BATCH_RECORDS.labels(consumer).observe(records)
    count(consumer, report)


def count(consumer: str, report: Report) -> None:
    """Count what became of events, in a batch or in a redrive."""
    named = {name: getattr(report, name) for name in OUTCOMES}
    for outcome, events in {**named, "failed": report.poisoned, "retried": len(report.resting)}.items():
        if events:
            EVENTS.labels(consumer, outcome).inc(events)
    for kind, events in report.sequence.items():
        SEQUENCE_ANOMALIES.labels(consumer, kind).inc(events)


def effective(consumer: str, longest: Iterable[Record]) -> None:
    """How long events took to become true here; the exemplar leads to a trace."""
    now = time.time()
    for record in longest:
        if (event := record.event) and event.recorded:
            trace = event.trace.split("-")
            exemplar = {"trace_id": trace[1]} if len(trace) == 4 else None
            took = max(0.0, now - event.recorded.timestamp())
            EFFECTIVE_SECONDS.labels(consumer).observe(took, exemplar)


def parked(consumer: str, counts: Iterable[tuple[str, int, float]]) -> None:
    """(status, events, when the oldest of them was parked) of every status there is."""
    found = {status: (events, oldest) for status, events, oldest in counts}
    for status in STATUSES:
        PARKED.labels(consumer, status).set(found.get(status, (0, 0.0))[0])
    stuck = [found[status][1] for status in ("poison", "failed") if status in found]
    OLDEST_PARKED.labels(consumer).set(min(stuck, default=0.0))
