"""How far a partition has come, and what the numbers of its records tell."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from millrace.consumer import Progress, Record, read
from millrace.consumer.progress import advanced, counted

AT = datetime(2026, 7, 1, tzinfo=UTC)
HERE = ("t", 0)


def numbered(*numbers: int | None, first: int = 0, relay: str = "main@0", partition: int = 0) -> list[Record]:
    """Records with these numbers, at offsets that count up; None for one that was published again by hand."""
    return [
        read(
            "t",
            partition,
            offset,
            b"k",
            [] if n is None else [("millrace-outbox", relay.encode()), ("millrace-pseq", b"%d" % n)],
            b"{}",
            at=AT,
        )
        for offset, n in enumerate(numbers, first)
    ]


WHOLE: list[tuple[str, list[int | None], dict[str, int], int]] = [
    # told                                      numbers                   anomalies                     highest
    ("one after another",                       [1, 2, 3],                {},                           3),
    ("the first of a relay is taken as it is",  [7, 8],                   {},                           8),
    ("one is missing",                          [1, 3],                   {"gap": 1},                   3),
    ("many are missing, once",                  [1, 50, 51],              {"gap": 1},                   51),
    ("more are missing than anyone remembers",  [1, 10**12],              {"gap": 1},                   10**12),
    ("one comes twice",                         [1, 2, 2, 3],             {"duplicate": 1},             3),
    ("a page comes twice",                      [1, 2, 3, 1, 2, 3, 4],    {"duplicate": 3},             4),
    ("two are swapped",                         [1, 3, 2, 4],             {"gap": 1, "inversion": 1},   4),
    ("late, and then once more",                [1, 3, 2, 2],             {"gap": 1, "inversion": 1, "duplicate": 1},3),
    ("published again by hand",                 [1, None, 2],             {},                           2),
]  # fmt: skip


@pytest.mark.parametrize(("told", "numbers", "anomalies", "highest"), WHOLE, ids=[row[0] for row in WHOLE])
def test_numbers_tell_what_is_missing_doubled_or_late(
    told: str, numbers: list[int | None], anomalies: dict[str, int], highest: int
) -> None:
    ends, found = advanced({}, numbered(*numbers))
    assert counted(found) == Counter(anomalies)
    assert ends == {HERE: Progress(len(numbers), len(numbers), {"main@0": highest}, AT)}


def test_an_anomaly_says_where_and_what_was_expected() -> None:
    _, [gap] = advanced({HERE: Progress(5, sequences={"main@0": 5})}, numbered(8, first=5))
    assert gap == ("gap", "t/0/5", "main@0", 5, 8)


def test_numbers_go_on_from_the_batch_before() -> None:
    before = {HERE: Progress(3, 3, {"main@0": 3})}
    assert counted(advanced(before, numbered(4, first=3))[1]) == {}
    assert counted(advanced(before, numbered(5, first=3))[1]) == {"gap": 1}
    assert counted(advanced(before, numbered(3, first=3))[1]) == {"duplicate": 1}


def test_each_relay_and_each_partition_counts_for_itself() -> None:
    records = [
        *numbered(1, 2),
        *numbered(1, 2, first=2, relay="main@1"),
        *numbered(1, 2, partition=1),
    ]
    ends, found = advanced({}, records)
    assert not found
    assert ends["t", 0].sequences == {"main@0": 2, "main@1": 2}
    assert ends["t", 1].sequences == {"main@0": 2}


def test_records_that_are_read_again_are_not_judged_and_lead_nowhere() -> None:
    before = {HERE: Progress(3, 3, {"main@0": 3}, AT)}
    ends, found = advanced(before, numbered(1, 2))
    assert (ends[HERE].next_offset, ends[HERE].sequences, found) == (3, {"main@0": 3}, [])
    ends, found = advanced(before, numbered(1, 2, 3, 4))
    assert (ends[HERE].next_offset, ends[HERE].sequences, found) == (4, {"main@0": 4}, [])


@pytest.mark.parametrize("number", [b"", b"x", b"-1", b"\xb2", b"1.5", b"1" * 19])
def test_a_number_that_is_none_is_passed_over(number: bytes) -> None:
    record = read("t", 0, 0, b"k", [("millrace-outbox", b"main@0"), ("millrace-pseq", number)], b"{}")
    assert record.sequence is None
