"""Where a person puts the relay: after a restore, after a fail-over, and when the number of shards changes.

A cursor that a person puts in force has a higher generation than the one before it, and every record says under
which it was published: after a restore the numbers of lost rows may be given to other ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import NamedTuple

from outbox_relay.domain.cursor import Cursor, Identity, Position, Sequences, Snapshot, moved, promoted
from outbox_relay.domain.lane import Lane


class To(StrEnum):
    """From where a lane goes on in the database that was found."""

    REPUBLISH = "republish"  # its first row
    CONTINUE = "continue"  # where it stood: a promoted standby that had every commit
    AT_END = "at-end"  # behind everything that is committed now


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was asked for would lose or double rows; the words say what to type instead."""

    words: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the database says of itself, all of one moment."""

    identity: Identity
    now: Snapshot
    rows: int = 0  # an estimate, of the whole outbox
    newest: int = 0  # the newest transaction with a row that `now` sees
    foreign: int = 0  # rows whose transaction is in the future: they were restored from another cluster
    decided: int = 0  # the newest decision about a quarantined row


class Told(NamedTuple):
    """A row as both the database and Kafka tell of it."""

    id: int
    key: str
    name: str | None  # the event's own id


def forgotten(published: Iterable[Told], rows: Iterable[Told], oldest: int) -> list[int]:
    """Ids under which something else was published than the database has, or nothing is there any more.

    What is older than the oldest row has been dropped with its day, and tells nothing.
    """
    known = {row.id: row for row in rows}
    return sorted({told.id for told in published if told.id >= oldest and known.get(told.id) != told})


def rebased(
    left: Cursor | None, found: Found, to: To, lane: Lane, forgotten: Sequence[int] = ()
) -> Cursor | Refusal:
    """The cursor to put in force. Its numbering goes on, so that every partition stays dense.

    `forgotten`: rows that were published last and are not in the database. Commits were lost.
    """
    if left and left.retired:
        return Refusal(RETIRED.format(lane=lane, heirs=left.retired))
    if to is To.CONTINUE:
        return _continued(left, found, lane, forgotten)
    place = Position().past(found.now, found.newest) if to is To.AT_END else Position()
    if left is None:
        return Cursor(found.identity, place, {}, generation=1)
    return replace(
        left, identity=found.identity, position=place,
        generation=left.generation + 1, redriven=min(left.redriven, found.decided),
    )  # fmt: skip


def _continued(left: Cursor | None, found: Found, lane: Lane, forgotten: Sequence[int]) -> Cursor | Refusal:
    if left is None:
        return Refusal(
            f"lane {lane} has no cursor to continue from: start the relay, it begins at the first row"
        )
    if not (why := moved(left, found.identity, found.now)):
        return Refusal(f"the cursor of lane {lane} belongs to this database already: start the relay")
    if not promoted(left, found.identity, found.now):
        return Refusal(NOT_PROMOTED.format(why=why, lane=lane))
    if forgotten:
        some = ", ".join(map(str, forgotten[:5])) + (" …" if len(forgotten) > 5 else "")
        return Refusal(FORGOTTEN.format(count=len(forgotten), some=some, lane=lane))
    return replace(left, identity=found.identity, generation=left.generation + 1)


def put(given: Cursor, left: Cursor | None, found: Found, lane: Lane) -> Cursor | Refusal:
    """A cursor that a person brings. Numbers that readers have seen are not given twice, whatever it says."""
    if given.retired:
        return Refusal('the cursor is of a lane that had retired: set "retired" to "" to put it in force')
    if why := moved(given, found.identity, found.now):
        return Refusal(NOT_OURS.format(why=why, lane=lane))
    generation = max(given.generation, left.generation if left else 0) + 1
    pseq = numbered([given.pseq, left.pseq if left else {}])
    return replace(given, generation=generation, pseq=pseq)


def common(window: Snapshot, places: Collection[Position]) -> Position:
    """One place for all lanes, once each has published everything that `window` sees.

    It claims as much as the lane that has published the newest transaction may claim, and no more: all of them
    read one database, in which a number below a committed one is never given out again.
    """
    return Position(window.until(max(place.proven for place in places)))


def numbered(each: Iterable[Sequences]) -> dict[str, tuple[int, ...]]:
    """The numbering of all partitions. Each had one author, so the larger number is the newer one."""
    merged: dict[str, tuple[int, ...]] = {}
    for sequences in each:
        for topic, numbers in sequences.items():
            both = zip_longest(merged.get(topic, ()), numbers, fillvalue=0)
            merged[topic] = tuple(max(pair) for pair in both)
    return merged


def heirs(left: Mapping[Lane, Cursor], window: Snapshot, new: Collection[Lane]) -> dict[Lane, Cursor]:
    """The cursors of the new lanes and, retired, of the old ones; they are in force together or not at all."""
    cursors = list(left.values())
    first = cursors[0]
    heir = Cursor(
        first.identity,
        common(window, [cursor.position for cursor in cursors]),
        numbered(cursor.pseq for cursor in cursors),
        max(cursor.generation for cursor in cursors),
        min(cursor.redriven for cursor in cursors),
    )
    retired = {lane: replace(cursor, retired=heirs_words(len(new))) for lane, cursor in left.items()}
    return {**retired, **dict.fromkeys(new, heir)}


def heirs_words(shards: int) -> str:
    """Who took over, as a retired cursor says it."""
    return f"{shards} shard{'s' * (shards > 1)}"


def indivisible(shards: int, partitions: Mapping[str, int]) -> list[str]:
    """Topics of which one partition would be written by several lanes."""
    return sorted(topic for topic, count in partitions.items() if count % shards)


RETIRED = (
    "lane {lane} has given its rows to {heirs}: a cursor here would publish them twice. Rebase the lanes that took "
    "over; `millrace relay status` names them"
)
NOT_PROMOTED = (
    "this is {why}: where the cursor stood means nothing here. Use `millrace relay rebase --lane {lane} "
    "--republish`"
)
FORGOTTEN = (
    "{count} of the rows that were published last are not in this database ({some}): commits were lost, and going on "
    "would lose rows that were given their numbers again. Use `millrace relay rebase --lane {lane} --republish`"
)
NOT_OURS = (
    "the cursor is of another history: this is {why}. To begin anew in this one use `millrace relay rebase --lane "
    "{lane}`"
)
