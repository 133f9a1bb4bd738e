"""What the ledger shows of itself."""

from __future__ import annotations

from prometheus_client import Counter

POSTINGS = Counter(
    "millrace_ledger_postings_total",
    "Journal transactions written, by what they tell. Counted before the commit: a retry counts again.",
    ["kind"],
)
FACT_CONFLICTS = Counter(
    "millrace_ledger_fact_conflicts_total",
    "Facts told a second time with other content, and parked. Any increase is a page for somebody.",
)
