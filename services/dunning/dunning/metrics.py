"""What dunning tells Prometheus, each name once with its meaning."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

TIMERS_FIRED = Counter(
    "millrace_dunning_timers_fired_total",
    "Timers whose event was written to the outbox.",
)
TIMER_LATENESS = Gauge(
    "millrace_dunning_timer_lateness_seconds",
    "Lateness of the most overdue timer in the last claim; 0 when none was due. Above 300 s: nobody claims.",
)
