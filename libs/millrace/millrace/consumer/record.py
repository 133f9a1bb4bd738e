"""One Kafka record as a consumer meets it: an event, or the reason why it is none."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millrace.errors import Poison
from millrace.events import Event, decode


@dataclass(frozen=True, slots=True)
class Record:
    """A record with its coordinates. Exactly one of `event` and `problem` is there.

    `parked` is the row of a record that was parked before and is judged again.
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

    @property
    def order_key(self) -> str:
        """What orders records: the Kafka key, readable where it is text; '' where there is none."""
        if self.key is None:
            return ""
        try:
            text = self.key.decode()
        except UnicodeDecodeError:
            text = "\0"
        return (
            "base64:" + base64.b64encode(self.key).decode() if "\0" in text else text
        )  # no text holds a NUL

    @property
    def place(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def read(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    headers: Iterable[tuple[str, bytes]],
    value: bytes | None,
    parked: int | None = None,
) -> Record:
    """Decode a record. Never raises: what cannot be read says why."""
    named = {name: raw for name, raw in headers if raw is not None}
    try:
        event, problem = decode(key, named, value), ""
    except Poison as poison:
        event, problem = None, str(poison)
    return Record(topic, partition, offset, key, named, value, event, problem, parked)
