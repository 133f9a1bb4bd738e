"""What a page of rows becomes: records of their partitions, each with its number there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from outbox_relay.domain.cursor import Position, Sequences, Snapshot

OUTBOX_ID, PSEQ = "millrace-outbox-id", "millrace-pseq"  # the headers that the relay adds


class Row(NamedTuple):
    """An outbox row."""

    id: int
    topic: str
    key: str
    headers: str  # a JSON object of strings, when its writer kept the rules
    payload: bytes | None  # unpacked; None when it is too large to be read, or does not unpack
    xid: int  # the transaction that wrote it
    size: int  # bytes of key, headers and unpacked payload


@dataclass(frozen=True, slots=True)
class Page:
    """Rows to publish, and where one stands when they are. Without rows the position is news all the same."""

    rows: Sequence[Row]
    position: Position
    window: Snapshot
    since: datetime | None = None  # when its first row was written

    @property
    def goes_on(self) -> bool:
        """The same window has more rows behind these."""
        return bool(self.rows) and self.position.window is not None

    def before(self, row_id: int, position: Position) -> Page:
        """The rows before this one, read at `position`; without any, that is where one still stands."""
        rows = [row for row in self.rows if row.id < row_id]
        return replace(self, rows=rows, position=reached(position, self.window, rows) if rows else position)


def reached(position: Position, window: Snapshot, rows: Sequence[Row], *, all_: bool = False) -> Position:
    """Where one stands when these rows are published; `all_` says that they were the window's last."""
    newest = max((row.xid for row in rows), default=0)
    if all_:
        return position.past(window, newest)
    return position.within(window, rows[-1].id, newest)


class Record(NamedTuple):
    """A Kafka record, as bytes."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be published as it is, and why; the reason quotes nothing of it."""

    row_id: int
    reason: str  # unknown_topic | grown_topic | too_large | bad_payload | bad_headers
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows as records of their partitions, in order, and the sequence numbers as they stand after them."""

    batches: Mapping[tuple[str, int], Sequence[Record]]
    pseq: Sequences
    published: Mapping[str, int]  # rows of each topic
    refused: Refused | None = None  # the first row that cannot go; nothing behind it is in the plan


def plan(rows: Iterable[Row], partitions: Mapping[str, int], pseq: Sequences, bytes_max: int) -> Plan:
    """Distribute rows over partitions by key, giving each its number in its partition.

    Units: `bytes_max` bounds a row's key, headers and payload, uncompressed.
    """
    batches: dict[tuple[str, int], list[Record]] = {}
    counters: dict[str, list[int]] = {}
    published: dict[str, int] = {}
    refused = None
    for row in rows:
        record = _record(row)
        numbers = counters.get(row.topic) or _counter(row, partitions, pseq, counters)
        refused = _refusal(row, record, numbers, bytes_max)
        if refused or record is None or isinstance(numbers, str):
            break
        place = partition(row.key, len(numbers))
        numbers[place] += 1
        published[row.topic] = published.get(row.topic, 0) + 1
        record.headers.append((PSEQ, b"%d" % numbers[place]))
        batches.setdefault((row.topic, place), []).append(record)
    return Plan(batches, {**pseq, **counters}, published, refused)


def _record(row: Row) -> Record | None:
    """The row as Kafka will carry it; None when its headers are not an object of strings."""
    try:
        headers = [(name, value.encode()) for name, value in orjson.loads(row.headers).items()]
    except (AttributeError, orjson.JSONDecodeError):
        return None
    headers.append((OUTBOX_ID, b"%d" % row.id))
    return Record(row.key.encode(), row.payload or b"", headers)


def _counter(
    row: Row, partitions: Mapping[str, int], pseq: Sequences, counters: dict[str, list[int]]
) -> list[int] | str:
    """The topic's counters, opened at its first row; a reason when it has none."""
    count = partitions.get(row.topic)
    if not count:
        return "unknown_topic"
    numbers = list(pseq.get(row.topic) or [0] * count)
    if len(numbers) != count:
        return "grown_topic"
    counters[row.topic] = numbers
    return numbers


DETAILS = {
    "unknown_topic": "its topic does not exist; create it",
    "grown_topic": "its topic has another number of partitions than before, which moves keys",
    "too_large": "it is larger than one Kafka record may be",
    "bad_payload": "its packed payload does not unpack",
    "bad_headers": "its headers are not a JSON object of strings",
}


def _refusal(row: Row, record: Record | None, numbers: list[int] | str, bytes_max: int) -> Refused | None:
    if isinstance(numbers, str):
        reason = numbers
    elif record is None:
        reason = "bad_headers"
    elif row.size > bytes_max:
        reason = "too_large"
    elif row.payload is None:
        reason = "bad_payload"
    else:
        return None
    return Refused(row.id, reason, DETAILS[reason])


@lru_cache(1 << 16)
def partition(key: str, count: int) -> int:
    """The partition that every Kafka client with Java's default partitioner would choose."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """Source: org.apache.kafka.common.utils.Utils.murmur2; the seed and mixing constants are its own."""
    mix, mask, length = 0x5BD1E995, 0xFFFFFFFF, len(data)
    h = 0x9747B28C ^ length
    for place in range(0, length & ~3, 4):
        k = int.from_bytes(data[place : place + 4], "little") * mix & mask
        k = (k ^ k >> 24) * mix & mask
        h = (h * mix & mask) ^ k
    if tail := data[length & ~3 :]:
        h = (h ^ int.from_bytes(tail, "little")) * mix & mask
    h = (h ^ h >> 13) * mix & mask
    return h ^ h >> 15
