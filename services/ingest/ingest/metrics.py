"""What ingest tells Prometheus. Never an id as a label; an unknown endpoint is counted as `unknown`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "millrace_ingest_requests_total",
    "Webhook requests by endpoint and outcome: stored, duplicate, refused, unavailable, gone (hung up).",
    ["endpoint", "outcome"],
)
REFUSED = Counter(
    "millrace_ingest_refused_total",
    "Requests turned away, by reason. Lasting signature_wrong after a rotation: a secret is missing.",
    ["endpoint", "reason"],
)
REQUEST_SECONDS = Histogram(
    "millrace_ingest_request_seconds",
    "From the request's head to the answer. Stripe waits some seconds; the objective is one.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_SIZE = Histogram(
    "millrace_ingest_commit_batch_size",
    "Events that shared one commit. Grows with load: that is what the group commit is for.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
COMMIT_SECONDS = Histogram(
    "millrace_ingest_commit_seconds",
    "One commit of event and outbox rows.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5),
)
QUEUE_DEPTH = Gauge(
    "millrace_ingest_queue_depth",
    "Events waiting for the commit that runs. At the queue's size, requests are answered 503.",
)
EVENT_AGE_SECONDS = Histogram(
    "millrace_ingest_event_age_seconds",
    "From the event's `created` to its arrival. Minutes mean that Stripe is retrying.",
    buckets=(1, 2, 5, 10, 30, 60, 300, 1800, 7200, 86400, 259200),
)
CARDS_CUT = Counter(
    "millrace_ingest_card_numbers_cut_total",
    "Card numbers found in an event and cut out of it. Any at all: docs/runbook/card-number.md.",
    ["endpoint"],
)
