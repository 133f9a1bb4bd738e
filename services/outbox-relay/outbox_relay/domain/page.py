"""What a page of rows becomes: records of their partitions, each with its number there.

rows ──▶ records     as they are
     ├─▶ claims      too large for Kafka: the payload stays in PostgreSQL, the record says where
     ├─▶ parked      cannot go at all: kept aside, and everything behind them flows on
     └─▶ held        not yet: its topic may still appear, or the quarantine is full; nothing behind it goes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import orjson

from millrace.events import dataref
from millrace.events.dataref import Claim
from millrace.events.keys import key_hash
from outbox_relay.domain.cursor import Position, Sequences, Snapshot

OUTBOX_ID, PSEQ = "millrace-outbox-id", "millrace-pseq"  # the headers that the relay adds
OUTBOX = "millrace-outbox"  # <lane>@<generation>: whose numbers these are
REPLAY = "millrace-replay"  # an operator's word on a record that was published again, without a number
OURS = frozenset({OUTBOX, OUTBOX_ID, PSEQ, REPLAY})  # a writer's own headers of these names are left out


class Row(NamedTuple):
    """An outbox row."""

    id: int
    topic: str
    key: str
    headers: str  # a JSON object of strings, when its writer kept the rules
    payload: bytes | None  # unpacked; None when it is too large to be read, or does not unpack
    xid: int  # the transaction that wrote it
    size: int  # bytes of key, headers and unpacked payload
    hash: int  # of the key, fixed when the row was written

    @property
    def payload_bytes(self) -> int:
        return self.size - self.envelope_bytes

    @property
    def envelope_bytes(self) -> int:
        """Key and headers."""
        return len(self.key.encode()) + len(self.headers.encode())


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
    topic: str
    reason: str
    detail: str


DETAILS = {
    "unknown_topic": "its topic does not exist; create it",
    "grown_topic": "its topic has another number of partitions than before, or one that the shards do not divide",
    "too_large": "it is larger than one Kafka record may be",
    "bad_payload": "its packed payload does not unpack",
    "bad_headers": "its headers are not a JSON object of strings",
    "bad_hash": "its hash is not its key's, so it would go to a partition that is not its key's",
    "rejected": "the broker refused it when it was sent alone",
    "behind": "an earlier row of its key is parked",
}
TOPIC_REASONS = frozenset({"unknown_topic", "grown_topic"})  # what may mend itself in a moment
FULL = "quarantine_full"


@dataclass(frozen=True, slots=True)
class Rules:
    """What may go to Kafka, and how. Units: bytes, of a row uncompressed; `parked_max` rows in quarantine."""

    record_bytes: int = 1_000_000  # key, headers and payload of a record
    claim_bytes: int = 512 << 10  # a larger payload is left in PostgreSQL
    claim_bytes_max: int = 64 << 20
    block: frozenset[str] = frozenset()  # topics whose keys stand still behind a parked row
    parked_max: int = 10_000  # more than that is a bad deploy, not bad rows
    topic_seconds: float = 30.0  # how long a topic may be missing before its rows are parked


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a plan rests on, beside the rows.

    parked     rows of the quarantine that a page may bring again, or that the broker refused: id → reason
    dropped    rows that an operator dropped; a page steps over them without a word
    blocked    topic and key of whatever has an earlier row in quarantine
    given_up   topics that were missing for long enough
    claims     row → its claim
    """

    outbox: str  # <lane>@<generation>
    shards: int
    partitions: Mapping[str, int]
    pseq: Sequences
    parked: Mapping[int, str] = field(default_factory=dict)
    dropped: AbstractSet[int] = frozenset()
    blocked: AbstractSet[tuple[str, str]] = frozenset()
    given_up: AbstractSet[str] = frozenset()
    claims: Mapping[int, Claim] = field(default_factory=dict)
    room: int = 10_000  # rows that the quarantine still takes


class Parked(NamedTuple):
    """A row that is stepped over."""

    row: Row
    reason: str

    @property
    def detail(self) -> str:
        return DETAILS[self.reason]


@dataclass(slots=True)
class Plan:
    """Rows as records of their partitions, in order, and the sequence numbers as they stand after them."""

    batches: dict[tuple[str, int], list[Record]] = field(default_factory=dict)
    pseq: Sequences = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)  # rows of each topic
    parked: list[Parked] = field(default_factory=list)
    unclaimed: list[int] = field(default_factory=list)  # rows that need a claim first: claim, and plan again
    held: Refused | None = None  # the first row that has to wait; nothing behind it is in the plan


def plan(rows: Iterable[Row], rules: Rules, known: Knowledge) -> Plan:
    """Distribute rows over partitions by key, giving each its number in its partition."""
    planning = _Planning(rules, known)
    for row in rows:
        planning.take(row)
        if planning.made.held:
            break
    planning.made.pseq = {**known.pseq, **planning.counters}
    return planning.made


class _Planning:
    """A plan being made."""

    def __init__(self, rules: Rules, known: Knowledge) -> None:
        self.rules, self.known, self.made = rules, known, Plan()
        self.counters: dict[str, list[int]] = {}
        self.blocked, self.room = set(known.blocked), known.room
        self.mark = (OUTBOX, known.outbox.encode())

    def take(self, row: Row) -> None:
        """Sort one row in."""
        if row.id in self.known.dropped:
            return
        if reason := self._waits(row):
            self._park(row, reason)
            return
        numbers = self.counters.get(row.topic) or self._counter(row.topic)
        if isinstance(numbers, str):
            self._miss(row, numbers)
        elif reason := self._unfit(row, headers := _headers(row.headers)):
            self._park(row, reason)
        else:
            assert headers is not None
            self._send(row, headers, numbers)

    def _waits(self, row: Row) -> str:
        """Why a row is out before anybody looks at it."""
        if reason := self.known.parked.get(row.id):
            return reason
        return "behind" if self.blocked and (row.topic, row.key) in self.blocked else ""

    def _miss(self, row: Row, reason: str) -> None:
        """Its topic is not as it should be. A broker that has just started knows no topic for a moment."""
        if row.topic in self.known.given_up:
            self._park(row, reason)
        else:
            self.made.held = Refused(row.id, row.topic, reason, DETAILS[reason])

    def _park(self, row: Row, reason: str) -> None:
        if row.id not in self.known.parked:
            if self.room <= 0:
                detail = f"{DETAILS[reason]}, and the quarantine is full; see millrace relay quarantine list"
                self.made.held = Refused(row.id, row.topic, FULL, detail)
                return
            self.room -= 1
        self.made.parked.append(Parked(row, reason))
        if row.topic in self.rules.block:
            self.blocked.add((row.topic, row.key))

    def _unfit(self, row: Row, headers: list[tuple[str, bytes]] | None) -> str:
        """Why a row itself cannot go; '' when it can."""
        if headers is None:
            return "bad_headers"
        if row.hash != key_hash(row.key):
            return "bad_hash"
        if too_long(row, self.rules):
            fits = row.envelope_bytes + CLAIM_BYTES <= self.rules.record_bytes
            return "" if fits and row.payload_bytes <= self.rules.claim_bytes_max else "too_large"
        return "bad_payload" if row.payload is None else ""

    def _send(self, row: Row, headers: list[tuple[str, bytes]], numbers: list[int]) -> None:
        value = row.payload or b""
        if too_long(row, self.rules):
            if not (claim := self.known.claims.get(row.id)):
                self.made.unclaimed.append(row.id)
                return
            headers.append((dataref.HEADER, claim.dataref.encode()))
            value = claim.value()
        place = row.hash % len(numbers)
        numbers[place] += 1
        self.made.published[row.topic] = self.made.published.get(row.topic, 0) + 1
        headers += (self.mark, (OUTBOX_ID, b"%d" % row.id), (PSEQ, b"%d" % numbers[place]))
        self.made.batches.setdefault((row.topic, place), []).append(Record(row.key.encode(), value, headers))

    def _counter(self, topic: str) -> list[int] | str:
        """The topic's counters, opened at its first row; a reason when it has none."""
        count = self.known.partitions.get(topic)
        if not count:
            return "unknown_topic"
        numbers = list(self.known.pseq.get(topic) or [0] * count)
        if len(numbers) != count or count % self.known.shards:
            return "grown_topic"
        self.counters[topic] = numbers
        return numbers


CLAIM_BYTES = 300  # at most, of what stands for a payload


def too_long(row: Row, rules: Rules) -> bool:
    """Whether the payload has to stay behind."""
    small = row.size <= rules.claim_bytes and row.size <= rules.record_bytes  # nearly every row
    return not small and (row.payload_bytes > rules.claim_bytes or row.size > rules.record_bytes)


def _headers(text: str) -> list[tuple[str, bytes]] | None:
    """Headers as Kafka will carry them; None when they are not an object of strings."""
    try:
        return [(name, value.encode()) for name, value in orjson.loads(text).items() if name not in OURS]
    except (AttributeError, orjson.JSONDecodeError):
        return None
