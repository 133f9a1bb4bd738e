"""The rules of an audit: what the sums see, how a partition is walked, and what of a difference is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace.events.dataref import Claim
from outbox_relay.domain.audit import Facts, Met, Sums, Trail, compared, judged, met

PLACE = ("stripe.billing", 3)
REF = "7f0c2a52-2d0b-4c7e-9a57-0b1d6a3f1c11"


def record(row: int, pseq: int | None = None, *, size: int = 10, generation: int = 0, **how: bool) -> Met:
    return Met(100 + row, row, row if pseq is None else pseq, "main", generation, size, **how)


def sums(rows: list[tuple[int, int]]) -> Sums:
    total = Sums()
    for row, size in rows:
        total = total.plus(row, size)
    return total


# --- what a record says ---


def headers(**said: str) -> list[tuple[str, bytes]]:
    names = {
        "of": "millrace-outbox",
        "id": "millrace-outbox-id",
        "pseq": "millrace-pseq",
        "replay": "millrace-replay",
    }
    return [(names[name], value.encode()) for name, value in said.items()]


SAID = [
    (headers(of="main@2", id="7", pseq="3"), Met(5, 7, 3, "main", 2, 2)),
    (headers(of="eu.1of4@0", id="7", pseq="3"), Met(5, 7, 3, "eu", 0, 2)),
    (headers(id="7", pseq="3"), Met(5, 7, 3, "main", 0, 2)),  # from before records were signed
    (headers(of="main@0", id="7", replay="audit 41"), Met(5, 7, None, "main", 0, 2, True)),
    (headers(of="main@0"), Met(5, None, None, "main", 0, 2)),
    (headers(of="nonsense", id="7", pseq="3"), Met(5, None, None, "", 0, 0)),
    ([], Met(5, None, None, "main", 0, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "found"), SAID)
def test_a_record_is_read_from_its_headers(said: list[tuple[str, bytes]], found: Met) -> None:
    assert met(5, said, b"{}") == found


def test_a_claimed_payload_counts_with_its_own_length() -> None:
    claim = Claim("main", REF, 3_000_000, "00" * 32)
    said = [*headers(of="main@0", id="7", pseq="3"), ("ce_dataref", claim.dataref.encode())]
    assert met(5, said, claim.value()).bytes == 3_000_000
    assert met(5, said, b"spoilt").bytes == len(b"spoilt")  # and so differs from its row


# --- sums ---

ROWS = st.lists(
    st.tuples(st.integers(1, 1 << 40), st.integers(0, 1 << 20)), max_size=20, unique_by=lambda it: it[0]
)


@given(ROWS, st.permutations(range(20)))
def test_the_order_does_not_matter_and_halves_add_up(rows: list[tuple[int, int]], order: list[int]) -> None:
    mixed = [rows[n] for n in order if n < len(rows)]
    assert sums(mixed) == sums(rows) == sums(rows[:7]) + sums(rows[7:])


@given(ROWS, ROWS)
def test_up_to_two_rows_exchanged_for_others_never_cancel_out(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    """Numbers, sums and sums of squares that agree leave two rows no freedom, below 2³¹."""
    low = [(row & 0x7FFFFFFF, size) for row, size in one], [(row & 0x7FFFFFFF, size) for row, size in other]
    assume(sorted(low[0][:2]) != sorted(low[1][:2]))
    common = low[0][2:]
    assert sums([*common, *low[0][:2]]) != sums([*common, *low[1][:2]])


# --- a walk through a partition ---


def walked(*records: Met, last: int | None = 0, until: int = 5) -> Trail:
    trail = Trail("main", last, until)
    for it in records:
        trail.add(it)
    return trail


def test_a_dense_walk_agrees_with_its_rows() -> None:
    trail = walked(*(record(n) for n in range(1, 6)))
    assert trail.reached
    assert trail.agrees(sums([(n, 10) for n in range(1, 6)]))
    assert not trail.agrees(sums([(n, 10) for n in range(1, 5)]))


def test_what_lies_behind_the_cursor_is_left_to_the_next_run() -> None:
    trail = walked(*(record(n) for n in range(1, 8)))
    assert trail.over
    assert trail.agrees(sums([(n, 10) for n in range(1, 6)]))


def test_others_records_and_replays_are_passed_over() -> None:
    mine = [record(n) for n in range(1, 6)]
    theirs = record(9, 1)._replace(database="eu")
    trail = walked(mine[0], theirs, *mine[1:], record(2, replay=True))
    assert trail.agrees(sums([(n, 10) for n in range(1, 6)]))
    assert trail.replays == {2}


WRONG: list[tuple[str, list[Met], Callable[[Trail], bool]]] = [
    ("a number is missing", [record(1), record(2, 3), record(3, 4), record(4, 5)], lambda t: t.torn == 1),
    ("the end is missing", [record(1), record(2), record(3)], lambda t: t.torn == 2 and not t.reached),
    (
        "a number comes again",
        [*(record(n) for n in (1, 2, 2, 3, 4, 5))],
        lambda t: t.back == 1 and not t.torn,
    ),
    (
        "a stranger",
        [*(record(n) for n in range(1, 6)), Met(9, None, None, "", 0, 0)],
        lambda t: t.strangers == [9],
    ),
]


@pytest.mark.parametrize(("what", "records", "seen"), WRONG, ids=[what for what, *_ in WRONG])
def test_what_is_wrong_with_the_numbers_is_noticed(
    what: str, records: list[Met], seen: Callable[[Trail], bool]
) -> None:
    trail = walked(*records)
    assert seen(trail)
    assert not trail.agrees(trail.sums)


def test_without_a_known_beginning_the_first_number_is_taken_for_it() -> None:
    trail = walked(record(4), record(5), last=None)
    assert (trail.torn, trail.back) == (0, 0)


# --- what of a difference is wrong ---


def found(
    records: list[Met], wanted: dict[int, int], facts: Facts | None = None, until: int = 5
) -> dict[str, object]:
    trail = walked(*records, until=until)
    trail_records = [it for it in records if it.row is not None and not it.replay and (it.pseq or 0) <= until]
    it = judged(PLACE, trail, compared(wanted, trail_records), facts or Facts())
    names = ("missing", "strange", "doubled", "changed", "gaps", "inverted")
    return {name: value for name in names if (value := getattr(it, name))}


FIVE = dict.fromkeys(range(1, 6), 10)
ALL = [record(n) for n in range(1, 6)]

JUDGED: list[tuple[str, list[Met], Facts, dict[str, object]]] = [
    ("all is well", ALL, Facts(), {}),
    ("a lost row took its number with it", [*ALL[:2], *ALL[3:]], Facts(), {"missing": [3]}),
    ("published again, it is missing no more", [*ALL[:2], *ALL[3:], record(3, replay=True)], Facts(), {}),
    ("compacted away", [*ALL[:2], *ALL[3:]], Facts(excused={3}, compacted=True), {}),
    ("a number that no row explains", [*ALL[:4], record(6, 5)], Facts(rightful={6}), {"missing": [5]}),
    ("a row twice", [*ALL[:3], *ALL[2:]], Facts(), {"doubled": [3]}),
    ("a row twice, at least once being promised", [*ALL[:3], *ALL[2:]], Facts(repeats=True), {}),
    ("a row of before the window", [*ALL, record(0, 5)], Facts(again={0}), {"doubled": [0]}),
    ("a row that a later generation repeats", [*ALL[:4], record(5, 5), record(0, 5)], Facts(rightful={0}),
     {"inverted": 1}),
    ("a record of no row", [*ALL[:4], record(99, 5)], Facts(), {"missing": [5], "strange": [99]}),
    ("another length", [*ALL[:4], record(5, size=9)], Facts(), {"changed": [5]}),
    ("out of order", [ALL[1], ALL[0], *ALL[2:]], Facts(), {"inverted": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "records", "facts", "wrong"), JUDGED, ids=[what for what, *_ in JUDGED])
def test_a_difference_is_judged(
    what: str, records: list[Met], facts: Facts, wrong: dict[str, object]
) -> None:
    assert found(records, FIVE, facts) == wrong


def test_a_number_that_nobody_took_is_a_gap() -> None:
    assert found([*ALL[:4], record(5, 6)], FIVE, until=6) == {"gaps": 1}


def test_a_row_may_come_once_in_each_generation() -> None:
    twice = [*ALL, *(record(n, n + 5, generation=1) for n in range(1, 6))]
    assert found(twice, FIVE, until=10) == {}
    assert found([*twice, record(5, 11, generation=1)], FIVE, until=11) == {"doubled": [5]}
