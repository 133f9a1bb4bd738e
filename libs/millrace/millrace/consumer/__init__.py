"""The consumer runtime: every event of a topic, exactly once, in the order of its key."""

from millrace.consumer.batches import TABLES, Batches, DeadLetterLimit, Report, Rest
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
from millrace.consumer.loop import Consumer
from millrace.consumer.offsets import OffsetsLost
from millrace.consumer.progress import Progress
from millrace.consumer.record import Record, read
from millrace.consumer.seat import SeatTaken
from millrace.consumer.store import Asked
from millrace.consumer.watch import Deaf

__all__ = [
    "TABLES",
    "Applied",
    "Apply",
    "Asked",
    "Batches",
    "Consumer",
    "DeadLetterLimit",
    "Deaf",
    "Decision",
    "Each",
    "Fold",
    "Handler",
    "Judged",
    "OffsetsLost",
    "Outcome",
    "Progress",
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
