"""What Prometheus is told beside the library's own metrics, each name once with its meaning."""

from __future__ import annotations

from prometheus_client import Counter

ROWS_SAVED = Counter(
    "newcomer_rows_saved_total",
    "Customers written, those of transactions that rolled back included.",
)
