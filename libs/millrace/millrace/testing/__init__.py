"""Tests of a consumer in milliseconds, without Kafka and, where you like, without PostgreSQL.

    Bus            Kafka as a consumer sees it: topics, partitions, offsets, headers as the relay writes them
    Harness        runs a consumer over a bus: delivers again, crashes, redrives, and shows what came of it
    permutations   every order of some events, and which of them ends differently
    stripe_event   an event as Stripe's webhook brings it · event_of: one of ours
    scratch        a PostgreSQL database of the test's own, migrated

The rules of order, parking, trying again and applying once are the library's own, not copies: in memory only the
tables are replaced.
"""

from millrace.testing.builders import event_of, stripe_event
from millrace.testing.bus import Bus
from millrace.testing.database import scratch
from millrace.testing.harness import Harness
from millrace.testing.orders import permutations
from millrace.testing.witness import Crashed

__all__ = ["Bus", "Crashed", "Harness", "event_of", "permutations", "scratch", "stripe_event"]
