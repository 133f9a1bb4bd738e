"""What operators ask of the relay and tell it. Everything here may be called by `operations`, and nothing else may.

watch     where it stands, what waits, who leads        replay      rows published again
audit     whether what arrived is what was written      quarantine  what was stepped over, and decisions
days      the outbox's partitions                       steering    a lane put somewhere else
"""

from millrace import outbox
from outbox_relay.commands.audit import Audit, audit, published
from outbox_relay.commands.replay import Asked, Chosen, Replayed, chosen, replay
from outbox_relay.commands.watch import drained, lag, position, stand, standing, unpublished
from outbox_relay.domain.audit import Difference
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.domain.standing import Standing, age

__all__ = [
    "SCHEMA", "Asked", "Audit", "Chosen", "Cursor", "Difference", "Lane", "Replayed", "Standing", "age", "audit",
    "chosen", "drained", "lag", "lanes", "position", "published", "replay", "stand", "standing", "unpublished",
]  # fmt: skip

SCHEMA = outbox.SCHEMA
