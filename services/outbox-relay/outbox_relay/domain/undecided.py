"""What an earlier producer left in the log, and what makes it whole.

A transaction that ended in some partitions and not in others is an accident of a broker: its markers were not all
written. What counts then is what readers have seen:

    nothing of it      as if it never was; its rows are read from the outbox and published again
    a part of it       the rest is published again, from the log, together with its cursor

An abort destroys neither: what readers have seen stays, and so do the records that they have not. So everything
open is aborted first, by whoever comes, as often as they come, and the rest is one ordinary transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, dropwhile
from typing import NamedTuple

from outbox_relay.domain.cursor import Cursor

Partition = tuple[str, int]  # topic, number


class Author(NamedTuple):
    """One incarnation of a producer: Kafka gives a higher epoch to whoever takes over."""

    producer_id: int
    epoch: int

    def before(self, other: Author) -> bool:
        return self.producer_id == other.producer_id and self.epoch < other.epoch


class End(StrEnum):
    """How a batch's transaction ended, in its own partition."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of ours in a partition, with consecutive numbers. Units: `offset` is the first record's."""

    author: Author
    offset: int
    first: int
    last: int
    end: End

    @property
    def numbers(self) -> range:
        return range(self.first, self.last + 1)


@dataclass(frozen=True, slots=True)
class Mark:
    """A cursor in its topic."""

    cursor: Cursor
    author: Author

    def number(self, part: Partition) -> int:
        """The last one that it claims in the partition."""
        topic, place = part
        return (*self.cursor.pseq.get(topic, ()), *[0] * (place + 1))[place]


@dataclass(frozen=True, slots=True)
class Traces:
    """Of one lane: the last cursor that readers see, later ones newest first, and the ends of its partitions."""

    kept: Mark | None
    loose: Sequence[Mark]
    tails: Mapping[Partition, Sequence[Batch]]  # oldest first

    def claimed(self, part: Partition) -> int:
        """The last number in the partition that the cursor in force claims."""
        return self.kept.number(part) if self.kept else 0


Copies = Mapping[Partition, Mapping[int, Batch]]  # numbers to publish again, and the batch that has each


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where to begin, and what has to be published first, with that cursor. Without copies the log may be whole."""

    cursor: Cursor | None
    copies: Copies
    moved: bool  # the cursor is not the one in force

    @property
    def whole(self) -> bool:
        return not self.copies and not self.moved


@dataclass(frozen=True, slots=True)
class Puzzle:
    """No one transaction explains what readers see; the words say in which partition."""

    words: str


def settle(traces: Traces) -> Settlement | Puzzle:
    """What follows from the traces."""
    seen = [mark for mark in distinct(traces.loose) if _is_seen(mark, traces)]
    of_one = [
        mark for mark in seen if mark.author == seen[0].author
    ]  # one producer may have left two in a row
    target = next((mark for mark in of_one if _is_whole(mark, traces)), None if seen else traces.kept)
    if seen and target is None:
        return Puzzle("readers see a part of a transaction, and the log has not the rest of it any more")
    if beyond := [part for part in traces.tails if target and _beyond(target, traces, part)]:
        return Puzzle(f"readers see records in {named(beyond)} that no cursor in the log accounts for")
    copies = {part: found for part in traces.tails if (found := _unseen_of(target, traces, part))}
    if broken := [part for part, found in copies.items() if max(found) - min(found) + 1 != len(found)]:
        return Puzzle(f"records between others are missing in {named(broken)}")
    return Settlement(target.cursor if target else None, copies, moved=bool(seen))


def distinct(loose: Sequence[Mark]) -> list[Mark]:
    """Newest first; of equal cursors the first that was written. The others are of attempts to settle it."""
    return [
        mark for at, mark in enumerate(loose)
        if all(older.cursor != mark.cursor for older in loose[at + 1 :])
    ]  # fmt: skip


def _is_seen(mark: Mark, traces: Traces) -> bool:
    return any(_seen(mark, traces, part) for part in traces.tails)


def _is_whole(mark: Mark, traces: Traces) -> bool:
    """Everything that the cursor claims is in the log, seen or not."""
    return all(
        _seen(mark, traces, part) | _unseen(mark, traces, part).keys() == set(_wanted(mark, traces, part))
        for part in traces.tails
    )


def _wanted(mark: Mark, traces: Traces, part: Partition) -> range:
    """What it claims beyond the cursor in force."""
    return range(traces.claimed(part) + 1, mark.number(part) + 1)


def _seen(mark: Mark, traces: Traces, part: Partition) -> set[int]:
    batches = since(traces.tails[part], mark.author)
    return _numbers(b for b in batches if b.end is End.COMMITTED) & set(_wanted(mark, traces, part))


def _unseen(mark: Mark, traces: Traces, part: Partition) -> dict[int, Batch]:
    return _newest(since(trailing(traces.tails[part]), mark.author), _wanted(mark, traces, part))


def _unseen_of(target: Mark | None, traces: Traces, part: Partition) -> dict[int, Batch]:
    """Also what the cursor in force claims and nobody sees: its transaction ended elsewhere and not here."""
    kept, tail = traces.kept, trailing(traces.tails[part])
    damage = _newest(since(tail, kept.author), range(1, kept.number(part) + 1)) if kept else {}
    return damage | (_unseen(target, traces, part) if target else {})


def _beyond(target: Mark, traces: Traces, part: Partition) -> bool:
    """Readers see more in the partition than the cursor claims."""
    batches = since(traces.tails[part], target.author)
    return any(b.end is End.COMMITTED and b.last > target.number(part) for b in batches)


def trailing(batches: Sequence[Batch]) -> list[Batch]:
    """Those behind everything that readers see."""
    seen = [at for at, batch in enumerate(batches) if batch.end is End.COMMITTED]
    return list(batches[seen[-1] + 1 :] if seen else batches)


def since(batches: Iterable[Batch], author: Author) -> list[Batch]:
    """From the author's first batch on: its own, and those of whoever came later to settle."""
    return list(dropwhile(lambda batch: batch.author != author, batches))


def _numbers(batches: Iterable[Batch]) -> set[int]:
    return set(chain.from_iterable(batch.numbers for batch in batches))


def _newest(batches: Iterable[Batch], wanted: range) -> dict[int, Batch]:
    """The newest batch that has each of the numbers."""
    return {number: batch for batch in batches for number in batch.numbers if number in wanted}


def named(parts: Iterable[Partition]) -> str:
    """Partitions, for a person."""
    return ", ".join(f"{topic}-{number}" for topic, number in sorted(parts))
