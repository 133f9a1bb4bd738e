"""Kafka as a consumer sees it, in memory: topics, partitions, offsets, and records as the relay writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import orjson

from millrace import topics
from millrace.consumer.record import EPOCH, Partition, Record, read
from millrace.events import STRIPE, Event, headers
from millrace.events.keys import murmur2
from millrace.events.ours import PAYLOADS

TOPIC_OF = {payload.TYPE: payload.TOPIC for payload in PAYLOADS}
RELAY = "main@0"  # whose numbers the records carry
Positions = Mapping[Partition, int]  # the first offset that is not decided yet


class Bus:
    """A log of records in the order in which they were sent.

    A topic is there as soon as something is sent to it. A key's partition is the one that Kafka's own clients choose.
    """

    def __init__(self, partitions: int = 3) -> None:
        self.partitions = partitions
        self.records: list[Record] = []
        self._ends: Counter[Partition] = Counter()

    def send(self, *events: Event, topic: str = "") -> None:
        """Publish events as the relay does: ours to their own topics, Stripe's to `stripe.billing` unless told.

        Raises: ValueError for another author's event without a topic.
        """
        for event in events:
            named = {name: text.encode() for name, text in headers(event).items()}
            body = orjson.dumps(event.data, default=dict)
            self.put(topic or _topic(event), key=event.key.encode(), headers=named, value=body, at=event.time)

    def put(
        self,
        topic: str,
        *,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Mapping[str, bytes] | None = None,
        partition: int | None = None,
        at: datetime = EPOCH,
    ) -> Record:
        """Append a record as it is, be it one that nobody can read; the relay's own headers are added."""
        if partition is None:
            partition = (murmur2(key) & 0x7FFFFFFF) % self.partitions if key is not None else 0
        offset = self._ends[topic, partition]
        self._ends[topic, partition] += 1
        numbered = {
            "millrace-outbox": RELAY.encode(),
            "millrace-outbox-id": b"%d" % (len(self.records) + 1),
            "millrace-pseq": b"%d" % (offset + 1),
        }
        record = read(
            topic, partition, offset, key, [*(headers or {}).items(), *numbered.items()], value, at=at
        )
        self.records.append(record)
        return record

    def after(self, positions: Positions) -> list[Record]:
        """What stands at or behind these positions, in the order in which it was sent."""
        return [r for r in self.records if r.offset >= positions.get((r.topic, r.partition), 0)]


def _topic(event: Event) -> str:
    """Where an event travels when nobody says."""
    if event.type.startswith(STRIPE):
        return topics.STRIPE_BILLING
    if event.type not in TOPIC_OF:
        raise ValueError(f"{event.type} is neither Stripe's nor ours: send it with topic=…")
    return TOPIC_OF[event.type]
