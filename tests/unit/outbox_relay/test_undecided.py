"""What follows from a log in which a transaction has its end in some partitions and not in others.

A partition is written as its batches, oldest first: the producer's epoch, the numbers, and + committed, - aborted,
? open. A cursor is its epoch and the last number it claims in each partition; the first one with a + is in force.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.undecided import (
    Author,
    Batch,
    End,
    Mark,
    Puzzle,
    Settlement,
    Traces,
    distinct,
    named,
    settle,
)

ENDS = {"+": End.COMMITTED, "-": End.ABORTED, "?": End.OPEN}

STORIES = """
cursors, newest first | partition 0           | partition 1       | begins  copies      | why
5:1/1+                | 5:1+                  | 5:1+              | 1/1                 | nothing happened
                      |                       |                   | none                | nothing was ever published
5:4/4? 5:1/1+         | 5:1+ 5:2-4?           | 5:1+ 5:2-4?       | 1/1                 | nobody saw any of it
5:4/4- 5:1/1+         | 5:1+ 5:2-4-           | 5:1+              | 1/1                 | it never came to its end
5:4/4? 5:1/1+         | 5:1+ 5:2-4+           | 5:1+ 5:2-4+       | 4/4*                | only the cursor is open
5:4/4? 5:1/1+         | 5:1+ 5:2-4+           | 5:1+ 5:2-4?       | 4/4* 1:2-4          | one partition was seen
5:4/4- 5:1/1+         | 5:1+ 5:2-4+           | 5:1+ 5:2-4-       | 4/4* 1:2-4          | the same, after an abort
5:4/4+                | 5:1+ 5:2-4?           | 5:1+ 5:2-4+       | 4/4 0:2-4           | the cursor was seen
5:4/4+                | 5:1+ 5:2-4-           | 5:1+ 5:2-4+       | 4/4 0:2-4           | that too, after an abort
5:4/4+                | 5:1+ 5:2-4? 5:5-7?    | 5:1+ 5:2-4+       | 4/4 0:2-4           | of the next nobody saw any
5:4/4+                | 5:1+ 5:2-4- 6:2-4-    | 5:1+ 5:2-4+       | 4/4 0:2-4@6         | the newest copy is as good
5:4/4+                | 5:1+ 5:2-4- 6:2-3-    | 5:1+ 5:2-4+       | 4/4 0:2-3@6,4-4@5   | its copier died over it
6:4/4- 5:4/4- 5:1/1+  | 5:1+ 5:2-4- 6:2-4-    | 5:1+ 5:2-4+       | 4/4* 0:2-4@6        | who settled was aborted
6:4/4? 5:4/4- 5:1/1+  | 5:1+ 5:2-4- 6:2-4+    | 5:1+ 5:2-4+       | 4/4*                | the cursor lacks it again
6:4/4+                | 5:1+ 5:2-4- 6:2-4?    | 5:1+ 5:2-4+       | 4/4 0:2-4@6         | the copies lack it again
6:4/4? 5:3/5- 4:1/1+  | 4:1+ 5:2-3- 6:2-4+    | 4:1+ 5:2-5- 6:2-4? | 4/4* 1:2-4@6       | of two tries, the second
4:4/4- 4:2/4- 4:1/1+  | 4:1+ 4:2+ 4:3-4-      | 4:1+ 4:2-4-       | 4/4* 0:3-4 1:2-4    | two in a row, both whole
4:4/5- 4:2/4- 4:1/1+  | 4:1+ 4:2+ 4:3-4-      | 4:1+ 4:2-4-       | 2/4* 1:2-4          | the second was not sent whole
5:4/3?                | 5:1-4+                | 5:1-3?            | 4/3* 1:1-3          | the very first page
5:1/1? 5:1/1+         | 5:1+                  | 5:1+              | 1/1                 | a cursor alone
3:10/1+               | 1:8-13- 2:1-10+       | 1:1+              | 10/1                | an old attempt is nobody's
7:10/1+               | 5:1-10+ 5:4-9-        | 7:1+              | 10/1                | numbers of an earlier life
5:4/4? 5:1/1+         | 5:1+ 5:2-4+           | 5:1+              | puzzle              | the rest is not there any more
6:4/4? 5:4/3- 4:1/1+  | 4:1+ 5:2-4- 6:2-4+    | 4:1+ 5:2-3-       | puzzle              | another one's rest is not it
5:1/1+                | 5:1+ 5:2-4+           | 5:1+              | puzzle              | no cursor covers what is seen
5:4/4+                | 5:1+ 5:2? 5:4?        | 5:1-4+            | puzzle              | a hole in what is left
"""


def stories() -> list[tuple[str, ...]]:
    rows = [line.split("|") for line in STORIES.strip().splitlines()[1:]]
    return [tuple(cell.strip() for cell in row) for row in rows]


def cursor(numbers: Sequence[int]) -> Cursor:
    return Cursor(Identity(7, 1, 5), Position(Snapshot(100, 100)), {"billing": tuple(numbers)})


def marks(text: str) -> tuple[Mark | None, list[Mark]]:
    """The one in force, and the others."""
    kept, loose = None, []
    for epoch, first, second, end in re.findall(r"(\d+):(\d+)/(\d+)([+?-])", text):
        mark = Mark(cursor([int(first), int(second)]), Author(1, int(epoch)))
        if end == "+":
            kept = mark
        else:
            loose.append(mark)
    return kept, loose


def batches(text: str) -> list[Batch]:
    found = re.findall(r"(\d+):(\d+)(?:-(\d+))?([+?-])", text)
    return [
        Batch(Author(1, int(epoch)), 10 * at, int(first), int(last or first), ENDS[end])
        for at, (epoch, first, last, end) in enumerate(found)
    ]


def told(verdict: Settlement | Puzzle) -> str:
    """As the table says it."""
    if isinstance(verdict, Puzzle):
        return "puzzle"
    begins = "/".join(map(str, verdict.cursor.pseq["billing"])) if verdict.cursor else "none"
    copies = [f"{number}:{_ranges(found)}" for (_, number), found in sorted(verdict.copies.items())]
    return " ".join([begins + "*" * verdict.moved, *copies])


def _ranges(copies: Mapping[int, Batch]) -> str:
    by_batch: dict[Batch, list[int]] = {}
    for number in sorted(copies):
        by_batch.setdefault(copies[number], []).append(number)
    return ",".join(f"{n[0]}-{n[-1]}@{batch.author.epoch}" for batch, n in by_batch.items())


@pytest.mark.parametrize("story", stories(), ids=lambda story: story[-1])
def test_what_follows(story: tuple[str, ...]) -> None:
    cursors, one, two, expected, _ = story
    kept, loose = marks(cursors)
    tails = {("billing", 0): batches(one), ("billing", 1): batches(two)}
    said = told(settle(Traces(kept, loose, tails)))
    if "@" not in expected:
        said = re.sub(r"@\d+", "", said)
    assert said == " ".join(expected.split())


def test_a_verdict_carried_out_leaves_nothing_to_do() -> None:
    """And a verdict half carried out, by an abort of everything open, is the same verdict again."""
    for cursors, one, two, *_ in stories():
        kept, loose = marks(cursors)
        before = {("billing", 0): batches(one), ("billing", 1): batches(two)}
        aborted = {
            part: [Batch(b.author, b.offset, b.first, b.last, _closed(b.end)) for b in tail]
            for part, tail in before.items()
        }
        assert told(settle(Traces(kept, loose, before))) == told(settle(Traces(kept, loose, aborted)))


def _closed(end: End) -> End:
    return End.ABORTED if end is End.OPEN else end


def test_another_producer_id_is_another_producer() -> None:
    mine, other = Author(1, 5), Author(2, 6)
    assert mine.before(Author(1, 6))
    assert not mine.before(other)
    assert not other.before(mine)


def test_of_equal_cursors_the_first_counts() -> None:
    """The others were written by whoever tried to settle it."""
    same = [Mark(cursor([15, 25]), Author(1, epoch)) for epoch in (7, 6, 5)]
    assert distinct(same) == [same[-1]]


def test_partitions_are_named_for_people() -> None:
    assert named([("b", 1), ("a", 10), ("a", 2)]) == "a-2, a-10, b-1"
