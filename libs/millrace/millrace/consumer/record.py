"""One Kafka record as a consumer meets it: an event, or the reason why it is none."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from millrace.errors import Poison
from millrace.events import Event, decode

EPOCH = datetime.fromtimestamp(0, UTC)  # the time of what has none
RELAY, NUMBER = "millrace-outbox", "millrace-pseq"  # whose numbers, and the number: dense in each partition
DIGITS_MAX = 18  # of a number that a bigint holds

Partition = tuple[str, int]  # topic and number


@dataclass(slots=True, eq=False)  # one a record: to freeze it would cost as much as to decode it
class Record:
    """A record with its coordinates. Exactly one of `event` and `problem` is there. Nobody changes it.

    `parked` is the row of a record that was parked before and is judged again; `at` the record's timestamp.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None = field(repr=False)
    headers: Mapping[str, bytes] = field(repr=False)
    value: bytes | None = field(repr=False)
    event: Event | None
    problem: str = ""
    parked: int | None = None
    at: datetime = EPOCH

    @property
    def order_key(self) -> str:
        """What orders records: the Kafka key, readable where it is text; '' where there is none."""
        if self.event is not None:
            return self.event.key
        if not self.key:
            return ""
        try:
            text = self.key.decode()
        except UnicodeDecodeError:
            text = "\0"
        return "base64:" + base64.b64encode(self.key).decode() if "\0" in text else text

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def name(self) -> tuple[str, str]:
        """What it is applied once by: the event's source and id; what cannot be read is known by its place."""
        return (self.event.source, self.event.id) if self.event is not None else ("", self.place)

    @property
    def sequence(self) -> tuple[str, int] | None:
        """(relay, number) of a record that a relay published in order; one published again by hand has none."""
        relay, number = self.headers.get(RELAY), self.headers.get(NUMBER, b"")
        if not relay or not number.isdigit() or len(number) > DIGITS_MAX:
            return None
        return relay.decode(errors="replace").replace("\0", ""), int(number)


def read(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    headers: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
    value: bytes | None,
    parked: int | None = None,
    at: datetime = EPOCH,
) -> Record:
    """Decode a record. Never raises: what cannot be read says why."""
    named = dict(headers)
    if None in named.values():
        named = {name: raw for name, raw in named.items() if raw is not None}
    try:
        event, problem = decode(key, named, value), ""
    except Poison as poison:
        event, problem = None, str(poison)
    return Record(topic, partition, offset, key, named, value, event, problem, parked, at)


def by_partition(records: Iterable[Record]) -> dict[Partition, list[Record]]:
    """The records of each partition, in order."""
    found: dict[Partition, list[Record]] = {}
    for record in records:
        found.setdefault((record.topic, record.partition), []).append(record)
    return found
