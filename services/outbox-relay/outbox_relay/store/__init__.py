"""Every statement of the relay.

reading      pages of committed rows                     lease      who may publish
progress     what waits                                  sessions   the connections
cursor       a lane's cursor, for people, or to count    upkeep     heartbeats, days ahead
steering     what to know before a cursor is moved       quarantine rows that were stepped over
claims       payloads that stay here                     audits     what was to be published, and what runs found
replays      rows to be published again                  standing   who leads, and what waits for a person
"""

from outbox_relay.store.cursor import Cursors
from outbox_relay.store.lease import LEASE_LOCK, Candidate, Lease, lease
from outbox_relay.store.progress import committed, kept, snapshot, unpublished, waiting
from outbox_relay.store.quarantine import shelf
from outbox_relay.store.reading import Outbox, identified, obstacles, outbox
from outbox_relay.store.steering import adopt_rows, first_owed, found, leaders, told
from outbox_relay.store.upkeep import upkeep

__all__ = [
    "LEASE_LOCK", "Candidate", "Cursors", "Lease", "Outbox", "adopt_rows", "committed", "first_owed",
    "found", "identified", "kept", "leaders", "lease", "obstacles", "outbox", "shelf", "snapshot", "told",
    "unpublished", "upkeep", "waiting",
]  # fmt: skip
