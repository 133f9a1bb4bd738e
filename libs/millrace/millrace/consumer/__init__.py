"""The consumer runtime: every event of a topic, exactly once, in the order of its key."""

from millrace.consumer.decision import (
    Applied,
    Apply,
    Decision,
    Each,
    Fold,
    Handler,
    Outcome,
    applied,
    latest,
    noop,
    waiting,
)

__all__ = [
    "Applied",
    "Apply",
    "Decision",
    "Each",
    "Fold",
    "Handler",
    "Outcome",
    "applied",
    "latest",
    "noop",
    "waiting",
]
