"""Proof by sums: what PostgreSQL holds for a partition, and what Kafka shows of it, compared without moving either.

A row lost or doubled changes the number of rows; a loss and a doubling together change a sum of the ids; a payload
of another length changes the sum of the bytes, and two that were exchanged the sum of their products with the ids.
Only a partition whose sums differ is looked at row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from millrace.errors import Poison
from millrace.events import dataref
from millrace.events.dataref import Claim
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import OUTBOX, OUTBOX_ID, PSEQ, REPLAY

LOW = (1 << 31) - 1  # ids are squared below this bit, so that PostgreSQL's bigint never overflows

Place = tuple[str, int]  # topic, partition


class Met(NamedTuple):
    """A record, as far as an audit looks at it. Without an id it is none of a relay's."""

    offset: int
    row: int | None
    pseq: int | None
    database: str
    generation: int
    bytes: int
    replay: bool = False


def met(offset: int, headers: Iterable[tuple[str, bytes]], value: bytes | None) -> Met:
    """Read a record's headers. Units: `bytes` of the payload, also where the record carries a claim to it instead."""
    said = dict(headers)
    author, _, generation = said.get(OUTBOX, b"main@0").decode("utf-8", "replace").rpartition("@")
    if not author or not generation.isdigit():
        return Met(offset, None, None, "", 0, 0)
    return Met(
        offset, _number(said.get(OUTBOX_ID)), _number(said.get(PSEQ)),
        Lane.parse(author).database, int(generation), _payload_bytes(said, value), REPLAY in said,
    )  # fmt: skip


def _payload_bytes(headers: Mapping[str, bytes], value: bytes | None) -> int:
    if dataref.claimed(headers):
        with suppress(Poison):  # a claim that says nothing differs from its row, and is named
            return Claim.parse(headers[dataref.HEADER], value).size
    return len(value or b"")


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class Sums:
    """Of a set of rows: how many, and the sums of id, id², bytes and id·bytes; the powers of an id's low 31 bits."""

    rows: int = 0
    ids: int = 0
    squares: int = 0
    bytes: int = 0
    products: int = 0

    def plus(self, row: int, size: int) -> Sums:
        low = row & LOW
        return Sums(
            self.rows + 1,
            self.ids + row,
            self.squares + low * low,
            self.bytes + size,
            self.products + low * size,
        )

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.rows + other.rows, self.ids + other.ids, self.squares + other.squares,
            self.bytes + other.bytes, self.products + other.products,
        )  # fmt: skip


@dataclass(slots=True)
class Trail:
    """One partition, record after record, from where the last run ended to what the cursor covers.

    The cursor says which number the partition's last record has. What follows belongs to the next run.
    """

    database: str
    last: int | None  # the last number of the run before; None: begin with whatever comes first
    until: int
    start: int | None = None  # offset where the next run begins
    keep: bool = False  # every record, not only the sums
    sums: Sums = Sums()
    torn_before: bool = False  # the log ends before what the last run saw of it: it was made anew
    absent: int = 0  # numbers that were passed over
    back: int = 0  # records whose number was passed already
    over: bool = False
    replays: set[int] = field(default_factory=set)
    strangers: list[int] = field(default_factory=list)  # offsets of records that are no relay's
    kept: list[Met] = field(default_factory=list)

    def add(self, record: Met) -> None:
        if record.replay:
            self.replays.add(record.row or 0)
        elif record.row is None or record.pseq is None:
            self.strangers.append(record.offset)
        elif record.database == self.database:
            self._count(record.row, record.pseq, record)

    def _count(self, row: int, pseq: int, record: Met) -> None:
        if pseq > self.until:
            self.over = True
            return
        last = pseq - 1 if self.last is None else self.last
        self.absent += max(0, pseq - last - 1)
        self.back += pseq <= last
        self.last = max(last, pseq)
        self.sums = self.sums.plus(row, record.bytes)
        if self.keep:
            self.kept.append(record)

    @property
    def reached(self) -> bool:
        """The cursor's last record was met: nothing more is owed."""
        return self.over or self.last == self.until

    @property
    def torn(self) -> int:
        """Numbers that no record carries, the last ones included."""
        return self.absent + max(0, self.until - (self.until if self.last is None else self.last))

    def agrees(self, wanted: Sums) -> bool:
        return self.sums == wanted and not (self.torn or self.back or self.strangers or self.torn_before)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with one partition; ids of rows, and for strangers offsets of records."""

    topic: str
    partition: int
    missing: Sequence[int] = ()
    strange: Sequence[int] = ()
    doubled: Sequence[int] = ()
    changed: Sequence[int] = ()
    strangers: Sequence[int] = ()  # offsets
    gaps: int = 0
    inverted: int = 0

    def __bool__(self) -> bool:
        found = (
            self.missing,
            self.strange,
            self.doubled,
            self.changed,
            self.strangers,
            self.gaps,
            self.inverted,
        )
        return any(found)


@dataclass(frozen=True, slots=True)
class Compared:
    """Row by row: what only one side has. Whether that is wrong, other facts decide."""

    missing: frozenset[int]
    extra: Mapping[int, int]  # id → the newest generation that published it
    doubled: Mapping[int, int]  # id → records beyond the first of its generation
    changed: frozenset[int]


def compared(wanted: Mapping[int, int], found: Iterable[Met]) -> Compared:
    """Hold rows, as id → bytes, against records. A generation may publish a row again; once in each."""
    times: Counter[tuple[int, int]] = Counter()
    extra: dict[int, int] = {}
    changed = set()
    for record in found:
        assert record.row is not None
        times[record.row, record.generation] += 1
        if record.row not in wanted:
            extra[record.row] = max(record.generation, extra.get(record.row, 0))
        elif wanted[record.row] != record.bytes:
            changed.add(record.row)
    doubled: Counter[int] = Counter()
    for (row, _), count in times.items():
        doubled[row] += count - 1
    seen = {row for row, _ in times}
    return Compared(frozenset(wanted.keys() - seen), extra, +doubled, frozenset(changed))


@dataclass(frozen=True, slots=True)
class Facts:
    """What else is known of the rows that only one side has.

    excused   rows without a record, rightly: newer news of their key compacted it away, or its time was over
    rightful  records that belong to another window, or that a later generation published again
    again     records of rows that had theirs before this window
    """

    excused: Collection[int] = ()
    rightful: Collection[int] = ()
    again: Collection[int] = ()
    compacted: bool = False  # the topic keeps only the newest record of a key
    repeats: bool = False  # published at least once: a record may come again under its number


def judged(place: Place, trail: Trail, them: Compared, facts: Facts) -> Difference:
    """What of the differences is wrong.

    A number that a missing row took with it is that row's loss, not a gap beside it; a row that was published
    again by an operator is missing no more.
    """
    doubled = Counter(them.doubled) + Counter(facts.again)
    swapped = max(0, trail.back - doubled.total())
    gaps = 0 if facts.compacted else max(0, trail.torn - swapped - len(them.missing))
    return Difference(
        *place,
        missing=sorted(them.missing - set(facts.excused) - trail.replays),
        strange=sorted(them.extra.keys() - set(facts.rightful) - set(facts.again)),
        doubled=sorted(doubled if not facts.repeats else facts.again),
        changed=sorted(them.changed),
        strangers=trail.strangers,
        gaps=gaps + trail.torn_before,
        inverted=swapped,
    )
