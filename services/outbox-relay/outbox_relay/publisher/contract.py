"""What every publisher promises, and how it says that it could not keep it.

Unacknowledged      the page may be published or not: discard, fence anew, read the cursor
└── Rejected        the broker takes everything but these records; the page is not published
Superseded          a later term writes this lane's cursor
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Record

Batches = Sequence[tuple[str, int, Any]]  # topic, partition, and what the client sends there at once

# What a broker says of records, not of the way to it. Source: org.apache.kafka.common.protocol.Errors.
REJECTIONS = {
    10: "MESSAGE_TOO_LARGE",
    18: "RECORD_LIST_TOO_LARGE",
    87: "INVALID_RECORD",  # such as one without a key, in a compacted topic
}


IN_DOUBT = "this producer is in doubt, or there is none: fence first"


def nothing() -> None:
    """What whoever does not want to know does about it."""


class Publisher(Protocol):
    """The one producer of a lane.

    fence()       takes over from every earlier one and settles what it left open; the cursor it left.
                  Raises: Halted when Kafka cannot tell what became of it
    partitions()  of the topics that exist, the number of partitions
    encode()      records as batches. CPU only, may run in another thread; after `partitions` named the topics
    publish()     batches and cursor, all or nothing. Raises: anything; whatever it is, discard and fence anew.
                  Rejected when the broker refuses the records themselves. `halfway` is called when every batch
                  is in the log and only the end is left
    discard()     never flushes, never aborts, never takes long
    """

    lane: Lane

    async def fence(self) -> Cursor | None: ...

    async def partitions(self, topics: Iterable[str]) -> dict[str, int]: ...

    def encode(self, batches: Mapping[tuple[str, int], Sequence[Record]]) -> Batches: ...

    async def publish(
        self, batches: Batches, cursor: Cursor, halfway: Callable[[], None] = nothing
    ) -> None: ...

    async def discard(self) -> None: ...


class CursorStore(Protocol):
    """A lane's cursor in PostgreSQL. It counts while the relay publishes in the mode `idempotent`.

    take()    begins the next term; the cursor that was left, if it counts
    save()    this cursor counts. False when a later term has begun, and nothing was written
    mirror()  for people to see; what Kafka has counts. False as above
    close()   lets its session go
    """

    async def take(self) -> Cursor | None: ...

    async def save(self, cursor: Cursor) -> bool: ...

    async def mirror(self, cursor: Cursor) -> bool: ...

    async def close(self) -> None: ...


class Unacknowledged(Exception):
    """Not everything was acknowledged; nothing may count as published."""


class Rejected(Unacknowledged):
    """The broker refuses records of this topic as they are. `error` is Kafka's own name for why."""

    def __init__(self, topic: str, error: str) -> None:
        super().__init__(f"{topic} refuses a batch: {error}")
        self.topic, self.error = topic, error


class Superseded(Exception):
    """A later term has begun: another relay publishes this lane."""


def refusal(problems: Iterable[tuple[str, int]]) -> Rejected | None:
    """The first of the problems (topic, Kafka's error code) that is about the records themselves."""
    named = ((topic, REJECTIONS[code]) for topic, code in problems if code in REJECTIONS)
    return next((Rejected(topic, error) for topic, error in named), None)


def blamed(rejected: Rejected, cursor_topic: str) -> Unacknowledged:
    """No row is to blame when the cursor itself is refused."""
    if rejected.topic != cursor_topic:
        return rejected
    return Unacknowledged(CURSOR_REFUSED.format(topic=cursor_topic, error=rejected.error))


CURSOR_REFUSED = (
    "the cursor is refused ({error}). Give its topic the usual limit: "
    "`kafka-configs.sh --alter --topic {topic} --delete-config max.message.bytes`"
)
