"""What sealing tells Prometheus. Labels name consumers and purposes, never whose data it is."""

from __future__ import annotations

from prometheus_client import Counter

OPENED = Counter(
    "millrace_sealing_opened_total",
    "Sealed values that were opened, by who opened them and what for. More than its work explains: ask why.",
    ["consumer", "purpose"],
)
UNOPENABLE = Counter(
    "millrace_sealing_unopenable_total",
    "Values with a key that did not open: changed, moved, or no token of ours. Not those of the erased.",
    ["consumer"],
)
KEYS_MADE = Counter("millrace_sealing_keys_made_total", "Data keys made: new subjects, and renewals.")
ERASED = Counter(
    "millrace_sealing_erased_total",
    "Times a key was asked for whose subject is erased; what comes for it is sealed and can never be opened.",
)
