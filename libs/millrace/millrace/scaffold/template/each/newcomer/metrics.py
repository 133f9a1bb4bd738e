"""What Prometheus is told beside the library's own metrics, each name once with its meaning."""

from __future__ import annotations

from prometheus_client import Counter

LETTERS_PLANNED = Counter(
    "newcomer_letters_planned_total",
    "Letters written down, those of transactions that rolled back included.",
)
