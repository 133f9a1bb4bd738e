"""The account that operators are shown must notice each kind of damage."""

from __future__ import annotations

import pytest

from outbox_relay.domain.tally import Tally

#            partition, key, outbox id, number in the partition
RIGHT = [(0, b"a", 1, 1), (0, b"b", 2, 2), (0, b"a", 4, 3), (1, b"c", 3, 1)]


@pytest.mark.parametrize(
    ("records", "duplicates", "inversions", "gaps"),
    [
        (RIGHT, 0, 0, 0),
        ([*RIGHT, (1, b"c", 3, 2)], 1, 0, 0),  # the same row again
        ([*RIGHT, (0, b"a", 3, 4)], 1, 1, 0),  # and behind a later one of its key
        ([(0, b"a", 2, 1), (0, b"a", 1, 2)], 0, 1, 0),
        ([(0, b"a", 1, 1), (0, b"a", 2, 3)], 0, 0, 1),  # number 2 is missing
        ([(0, b"a", 1, 1), (0, b"b", 2, 1)], 0, 0, 1),  # number 1 was given twice
        ([(0, b"a", 1, 2)], 0, 0, 1),  # it must begin with 1
    ],
)
def test_damage_is_counted(
    records: list[tuple[int, bytes, int, int]], duplicates: int, inversions: int, gaps: int
) -> None:
    tally = Tally()
    for number, key, row_id, pseq in records:
        tally.add("billing", number, key, row_id, pseq)
    assert tally.totals() == {
        "records": len(records),
        "duplicates": duplicates,
        "inversions": inversions,
        "gaps": gaps,
    }
