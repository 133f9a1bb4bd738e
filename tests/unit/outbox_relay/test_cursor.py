"""The arithmetic of windows: what is owed, what is not, and when a cursor belongs to another database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox_relay.domain.cursor import NOTHING, Cursor, Halt, Identity, Position, Snapshot, begin

HERE = Identity(system=7710647586780303478, timeline=1, database=5)


def snapshots(upto: int = 30) -> st.SearchStrategy[Snapshot]:
    def build(bounds: tuple[int, int], running: set[int]) -> Snapshot:
        low, high = sorted(bounds)
        xip = tuple(sorted(x for x in running if low <= x < high))
        return Snapshot(xip[0] if xip else high, high, xip)

    xids = st.integers(3, upto)
    return st.builds(build, st.tuples(xids, xids), st.sets(xids))


@pytest.mark.parametrize(
    ("text", "xid", "sees"),
    [
        ("3:3:", 3, False),  # nothing has happened yet
        ("10:10:", 9, True),
        ("10:10:", 10, False),  # xmax itself is the future
        ("10:20:10,15", 10, False),  # in progress
        ("10:20:10,15", 14, True),
        ("10:20:10,15", 15, False),
        ("10:20:10,15", 9, True),
    ],
)
def test_a_snapshot_sees_what_had_ended(text: str, xid: int, sees: bool) -> None:
    assert Snapshot.parse(text).sees(xid) is sees
    assert str(Snapshot.parse(text)) == text


@given(snapshots(), snapshots(), st.integers(1, 50), st.integers(3, 30))
def test_a_cursor_survives_its_record(seen: Snapshot, window: Snapshot, last_id: int, count: int) -> None:
    for place in (Position(), Position(seen), Position(seen, window, last_id, newest=count)):
        cursor = Cursor(HERE, place, {"stripe.billing": (count, 0, 2)}, generation=2)
        assert Cursor.parse(cursor.record()) == cursor


def test_a_record_cannot_lose_digits_of_the_system_identifier() -> None:
    """It is larger than a JSON reader with doubles can hold, so it travels as text."""
    assert b'"system":"7710647586780303478"' in Cursor(HERE, Position(), {}).record()


@given(
    ends=st.lists(st.integers(0, 40), min_size=1, max_size=25),
    looks=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    page=st.integers(1, 4),
    stops=st.sets(st.integers(0, 60)),
)
def test_every_committed_row_is_owed_exactly_once(
    ends: list[int], looks: list[int], page: int, stops: set[int]
) -> None:
    """Transaction n begins at moment n and ends at its own; rows are read page by page, with restarts."""
    rows = [(row_id, 3 + row_id, max(end, row_id)) for row_id, end in enumerate(ends)]  # id, xid, ends at
    place, read, step = Position(), [], 0
    for now in [*sorted(looks), 100]:
        begun = [(xid, end) for row_id, xid, end in rows if row_id <= now]
        running = tuple(xid for xid, end in begun if end > now)
        newest = 3 + len(begun)
        here = Snapshot(running[0] if running else newest, newest, running)
        while True:
            window = place.window or here
            owed = [
                r
                for r, xid, _ in rows
                if place.owes(r, xid, window) and (not place.window or r > place.last_id)
            ]
            got, step = sorted(owed)[:page], step + 1
            read += got
            newest = max((3 + row_id for row_id in got), default=0)
            full = len(got) == page
            place = place.within(window, got[-1], newest) if full else place.past(window, newest)
            if step in stops:  # a restart: all that is left is the record
                place = Cursor.parse(Cursor(HERE, place, {}).record()).position
            if place.window is None:
                break
    assert sorted(read) == [row_id for row_id, *_ in rows]


def test_a_number_that_a_crash_gives_out_again_is_not_taken_for_seen() -> None:
    """11 was rolled back, the server crashed before that was on disk, and another transaction is 11 now."""
    place = Position(Snapshot(9, 9)).past(Snapshot(8, 13, (8, 12)), newest=10)
    assert place.seen == Snapshot(8, 11, (8,))
    assert not place.seen.sees(11)
    assert Position(place.seen).past(Snapshot(12, 12), newest=0).seen == Snapshot(11, 11)  # nothing published


NOW = Snapshot(100, 100)
LEFT = Cursor(
    HERE, Position(Snapshot(90, 90), Snapshot(95, 98, (95,)), 1000, newest=97), {"t": (4, 2)}, generation=1
)


@pytest.mark.parametrize(
    ("found", "now", "why"),
    [
        (replace(HERE, system=1), NOW, "another PostgreSQL cluster"),
        (replace(HERE, database=6), NOW, "another database"),
        (replace(HERE, timeline=2), NOW, "another timeline"),
        (HERE, Snapshot(97, 97), "an earlier state"),
    ],
)
def test_another_history_halts_and_says_what_to_type(found: Identity, now: Snapshot, why: str) -> None:
    halt = begin(LEFT, found, now, adopt="")
    assert isinstance(halt, Halt)
    assert why in halt.words
    assert f"RELAY_ADOPT=republish:{found}" in halt.words
    assert (f"RELAY_ADOPT=continue:{found}" in halt.words) is (why == "another timeline")


def test_the_same_history_goes_on_where_it_was() -> None:
    assert begin(LEFT, HERE, NOW, adopt="") == LEFT
    assert begin(LEFT, HERE, Snapshot(98, 98), adopt="") == LEFT  # nothing was begun since


def test_the_first_start_begins_at_the_first_row() -> None:
    assert begin(None, HERE, NOW, adopt="") == Cursor(HERE, Position(NOTHING), {})


def test_a_person_may_continue_after_a_failover_or_republish_everything() -> None:
    promoted = replace(HERE, timeline=2)
    continued = begin(LEFT, promoted, NOW, adopt=f"continue:{promoted}")
    assert continued == replace(LEFT, identity=promoted, generation=2)
    again = begin(LEFT, promoted, NOW, adopt=f"republish:{promoted}")
    assert again == Cursor(promoted, Position(), LEFT.pseq, generation=2)


@pytest.mark.parametrize(
    ("found", "now", "adopt"),
    [
        (replace(HERE, timeline=2), NOW, f"continue:{HERE}"),  # said of another history than the one found
        (
            replace(HERE, timeline=2),
            Snapshot(50, 50),
            f"continue:{replace(HERE, timeline=2)}",
        ),  # rows were lost
        (
            replace(HERE, database=6),
            NOW,
            f"continue:{replace(HERE, database=6)}",
        ),  # its cursor means nothing there
    ],
)
def test_what_a_person_cannot_have_meant_still_halts(found: Identity, now: Snapshot, adopt: str) -> None:
    assert isinstance(begin(LEFT, found, now, adopt), Halt)
