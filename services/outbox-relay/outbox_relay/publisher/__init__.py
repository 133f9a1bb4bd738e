"""Publishing: a page and its cursor become visible together, once, or not at all.

contract     what every publisher promises          client      aiokafka, bent; batches packed ahead
txn          transactions, through aiokafka         confluent   the same through librdkafka
idempotent   at least once, without transactions    mirrored    its cursor, for people, in PostgreSQL
undecided    what an earlier producer left open     cursors     the cursor topic
"""

from __future__ import annotations

from typing import Literal

from millrace import topics
from outbox_relay.domain.lane import Lane
from outbox_relay.publisher.confluent import ConfluentPublisher
from outbox_relay.publisher.contract import (
    Batches,
    CursorStore,
    Publisher,
    Rejected,
    Superseded,
    Unacknowledged,
    nothing,
)
from outbox_relay.publisher.cursors import Halted, last_cursor
from outbox_relay.publisher.idempotent import IdempotentPublisher
from outbox_relay.publisher.mirrored import Mirrored
from outbox_relay.publisher.txn import TxnPublisher, acknowledged

__all__ = [
    "Batches", "ConfluentPublisher", "CursorStore", "Halted", "IdempotentPublisher", "Mirrored", "Publisher",
    "Rejected", "Superseded", "TxnPublisher", "Unacknowledged", "acknowledged", "last_cursor", "make", "nothing",
]  # fmt: skip

Client = Literal["aiokafka", "confluent"]
Mode = Literal["transactional", "idempotent"]


def make(
    kafka: str,
    lane: Lane,
    cursors: CursorStore,
    *,
    client: Client = "aiokafka",
    mode: Mode = "transactional",
    cursor_prefix: str = topics.RELAY_CURSOR,
    deadline_seconds: float,
    transaction_seconds: float,
    batch_bytes: int,
) -> Publisher:
    """The publisher of a lane; the mode `idempotent` has no other client than aiokafka.

    Units: `batch_bytes` bounds a batch before it is compressed.
    """
    if mode == "idempotent":
        return IdempotentPublisher(
            kafka, lane, cursors,
            cursor_prefix=cursor_prefix, deadline_seconds=deadline_seconds, batch_bytes=batch_bytes,
        )  # fmt: skip
    transactional = ConfluentPublisher if client == "confluent" else TxnPublisher
    made = transactional(
        kafka, lane, cursor_prefix=cursor_prefix, deadline_seconds=deadline_seconds,
        transaction_seconds=transaction_seconds, batch_bytes=batch_bytes,
    )  # fmt: skip
    return Mirrored(made, cursors)
