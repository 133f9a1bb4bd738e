"""Where the relay stands in the outbox, and what a page of rows becomes.

    seen C ────────────── window S ──────────────▶ now
    published             visible in S, not in C; by id, page after page; then C := S

A row is addressed by the transaction that wrote it, not by its number: numbers are drawn before the commit,
so a late commit would slip below any number already passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

FIRST_XID = 3  # Postgres never gives a transaction a lower one
OUTBOX_ID, PSEQ = "millrace-outbox-id", "millrace-pseq"  # the headers that the relay adds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions had ended at one moment: Postgres' own pg_snapshot."""

    xmin: int
    xmax: int
    xip: tuple[int, ...] = ()  # those in progress between xmin and xmax

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(x) for x in xip.split(",") if x))

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.xip))}"

    def sees(self, xid: int) -> bool:
        """What pg_visible_in_snapshot answers."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.xip)


NOTHING = Snapshot(FIRST_XID, FIRST_XID)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which history of which database a cursor speaks of; transaction numbers mean nothing elsewhere."""

    system: int  # pg_control_system(): one for each initdb
    timeline: int  # grows with every promotion of a standby
    database: int  # its oid; a database that was made again has another

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}/{self.database}"


@dataclass(frozen=True, slots=True)
class Position:
    """All rows visible in `seen` are published; of the open window, those up to `last_id`."""

    seen: Snapshot = NOTHING
    window: Snapshot | None = None
    last_id: int = 0

    @property
    def newest(self) -> Snapshot:
        """The latest moment that was looked at."""
        return self.window or self.seen

    def within(self, window: Snapshot, last_id: int) -> Position:
        """The window stays open: more of it follows."""
        return replace(self, window=window, last_id=last_id)

    def past(self, window: Snapshot) -> Position:
        """The window has been published whole."""
        return Position(seen=window)

    def owes(self, row_id: int, xid: int, now: Snapshot) -> bool:
        """Whether a row visible now is still unpublished here. The page to check the SQL against."""
        if self.seen.sees(xid) or not now.sees(xid):
            return False
        return not (self.window and self.window.sees(xid) and row_id <= self.last_id)


Sequences = Mapping[str, Sequence[int]]  # topic → the last number given in each partition


@dataclass(frozen=True, slots=True)
class Cursor:
    """What is published together with the rows that it covers."""

    identity: Identity
    position: Position
    pseq: Sequences
    generation: int = 0  # grows when a person lets the relay begin anew in another database

    def record(self) -> bytes:
        """As it stands in the cursor topic."""
        at, place = self.identity, self.position
        return orjson.dumps({
            "generation": self.generation,
            "system": str(at.system), "timeline": at.timeline, "database": at.database,
            "seen": str(place.seen), "window": str(place.window) if place.window else None,
            "last_id": place.last_id, "pseq": self.pseq,
        })  # fmt: skip

    @classmethod
    def parse(cls, record: bytes) -> Cursor:
        it = orjson.loads(record)
        window = Snapshot.parse(it["window"]) if it["window"] else None
        return cls(
            identity=Identity(int(it["system"]), it["timeline"], it["database"]),
            position=Position(Snapshot.parse(it["seen"]), window, it["last_id"]),
            pseq={topic: tuple(numbers) for topic, numbers in it["pseq"].items()},
            generation=it["generation"],
        )


def moved(cursor: Cursor, found: Identity, now: Snapshot) -> str:
    """Why the cursor does not belong to the database that was found; '' when it does."""
    was = cursor.identity
    if was.system != found.system:
        return f"another PostgreSQL cluster (system identifier {found.system}, not {was.system})"
    if was.database != found.database:
        return f"another database of the cluster (oid {found.database}, not {was.database})"
    if was.timeline != found.timeline:
        return f"another timeline ({found.timeline}, not {was.timeline}): a promoted standby or a backup"
    newest = cursor.position.newest.xmax
    if now.xmax < newest:
        return f"an earlier state of the database (next transaction {now.xmax}, {newest} was seen before)"
    return ""


@dataclass(frozen=True, slots=True)
class Halt:
    """Going on is a person's decision; the words say what to type."""

    words: str


def begin(left: Cursor | None, found: Identity, now: Snapshot, adopt: str) -> Cursor | Halt:
    """Where to begin, given the cursor that was left and the database that was found.

    `adopt` is what a person typed for one start: 'continue:' or 'republish:' and the identity that was found.
    """
    if left is None:
        return Cursor(found, Position(), {})
    if not (why := moved(left, found, now)):
        return left
    if adopt == f"continue:{found}" and now.xmax >= left.position.newest.xmax:
        return replace(left, identity=found, generation=left.generation + 1)
    if adopt == f"republish:{found}":
        return Cursor(found, Position(), left.pseq, left.generation + 1)
    return Halt(MOVED.format(why=why, found=found))


MOVED = (
    "the cursor belongs to another history: this is {why}. If no committed row was lost (a promoted "
    "synchronous standby), start once with RELAY_ADOPT=continue:{found}. Otherwise start once with "
    "RELAY_ADOPT=republish:{found}: every row of this database is published again, and consumers drop "
    "what they know"
)


class Row(NamedTuple):
    """An outbox row."""

    id: int
    topic: str
    key: str
    headers: Any  # a JSON object of strings, when its writer kept the rules
    payload: bytes
    size: int  # bytes of key, headers and payload


@dataclass(frozen=True, slots=True)
class Page:
    """Rows to publish, and where one stands when they are. Without rows the position is news all the same."""

    rows: Sequence[Row]
    position: Position
    window: Snapshot
    since: datetime | None = None  # when its first row was written

    @property
    def more(self) -> bool:
        """The same window has more rows."""
        return self.position.window is not None

    def before(self, row_id: int, position: Position) -> Page:
        """The rows before this one, read at `position`; without any, that is where one still stands."""
        rows = [row for row in self.rows if row.id < row_id]
        return replace(
            self, rows=rows, position=position.within(self.window, rows[-1].id) if rows else position
        )


class Record(NamedTuple):
    """A Kafka record, as bytes."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be published as it is, and why; the reason quotes nothing of it."""

    row_id: int
    reason: str  # unknown_topic | grown_topic | too_large | bad_headers
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
        headers = [(name, value.encode()) for name, value in row.headers.items()]
    except AttributeError:
        return None
    headers.append((OUTBOX_ID, b"%d" % row.id))
    return Record(row.key.encode(), row.payload, headers)


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
    "bad_headers": "its headers are not a JSON object of strings",
}


def _refusal(row: Row, record: Record | None, numbers: list[int] | str, bytes_max: int) -> Refused | None:
    if isinstance(numbers, str):
        reason = numbers
    elif record is None:
        reason = "bad_headers"
    elif row.size > bytes_max:
        reason = "too_large"
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
