"""The consumer runtime: every event of a topic, exactly once, in the order of its key."""

from millrace.consumer.batches import TABLES, Batches, Report, Rest
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
from millrace.consumer.judge import Judged, judge, run
from millrace.consumer.loop import Consumer, DeadLetterLimit, SeatTaken
from millrace.consumer.record import Record, read

__all__ = [
    "TABLES",
    "Applied",
    "Apply",
    "Batches",
    "Consumer",
    "DeadLetterLimit",
    "Decision",
    "Each",
    "Fold",
    "Handler",
    "Judged",
    "Outcome",
    "Record",
    "Report",
    "Rest",
    "SeatTaken",
    "applied",
    "judge",
    "latest",
    "noop",
    "read",
    "run",
    "waiting",
]
