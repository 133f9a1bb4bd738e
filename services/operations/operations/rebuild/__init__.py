"""A consumer built anew from the log, beside the live one, and held against it row by row.

history   what the live consumer met, in the order in which it settled it: one snapshot of the live database
log       where each of those events still is: Kafka, the consumer's own parked rows, the outbox, the event log
shadow    a database of its own, which no relay reads
compare   both databases table by table, in the order of their keys
"""

from operations.rebuild.command import replay
from operations.rebuild.compare import Difference
from operations.rebuild.run import Rebuilt, Subject, rebuild

__all__ = ["Difference", "Rebuilt", "Subject", "rebuild", "replay"]
