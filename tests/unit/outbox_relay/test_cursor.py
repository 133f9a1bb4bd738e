"""The arithmetic of windows: what is owed, what is not, and when a cursor belongs to another database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox_relay.domain.cursor import NOTHING, Cursor, Halt, Identity, Obstacles, Position, Snapshot, begin
from outbox_relay.domain.lane import Lane

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


MAIN, CLEAR = Lane(), Obstacles()


@pytest.mark.parametrize(
    ("found", "now", "why"),
    [
        (
            replace(HERE, system=1),
            NOW,
            f"another PostgreSQL cluster (system identifier 1, not {HERE.system})",
        ),
        (replace(HERE, database=6), NOW, "another database of the cluster (oid 6, not 5)"),
        (replace(HERE, timeline=2), NOW, "another timeline (2, not 1): a promoted standby or a backup"),
        (
            HERE,
            Snapshot(97, 97),
            "an earlier state of the database (next transaction 97, 98 was seen before)",
        ),
    ],
)
def test_another_history_halts_and_says_what_to_type(found: Identity, now: Snapshot, why: str) -> None:
    halt = begin(LEFT, found, now, Lane("eu", 1, 2), CLEAR)
    assert isinstance(halt, Halt)
    assert why in halt.words
    assert "`millrace relay rebase --lane eu.1of2 --republish`" in halt.words
    assert ("--continue" in halt.words) is ("timeline" in why)


def test_a_timeline_with_fewer_transactions_is_not_offered_to_be_continued() -> None:
    halt = begin(LEFT, replace(HERE, timeline=2), Snapshot(97, 97), MAIN, CLEAR)
    assert isinstance(halt, Halt)
    assert "--continue" not in halt.words


def test_the_same_history_goes_on_where_it_was() -> None:
    assert begin(LEFT, HERE, NOW, MAIN, CLEAR) == LEFT
    assert begin(LEFT, HERE, Snapshot(98, 98), MAIN, CLEAR) == LEFT  # nothing was begun since


def test_the_first_start_begins_at_the_first_row() -> None:
    assert begin(None, HERE, NOW, MAIN, CLEAR) == Cursor(HERE, Position(NOTHING), {})


def test_a_lane_whose_rows_others_publish_does_not_begin() -> None:
    halt = begin(replace(LEFT, retired="2 shards"), HERE, NOW, MAIN, CLEAR)
    assert isinstance(halt, Halt)
    assert "2 shards" in halt.words


@pytest.mark.parametrize("left", [None, LEFT])
def test_rows_of_another_clusters_transactions_halt_it_even_before_the_first_page(
    left: Cursor | None,
) -> None:
    halt = begin(left, HERE, NOW, MAIN, Obstacles(foreign=7))
    assert isinstance(halt, Halt)
    assert halt.words.startswith("7 rows")
    assert "`millrace relay rebase --lane main --republish --yes`" in halt.words


@pytest.mark.parametrize(
    ("lane", "known", "words"),
    [
        (MAIN, ("main",), "its cursor topic is empty"),
        (MAIN, ("main.0of2", "main.1of2"), "published by main.0of2, main.1of2"),
        (Lane("main", 1, 2), ("main",), "`millrace relay reshard --lane-database main --from … --to 2`"),
    ],
)
def test_a_lane_without_a_cursor_begins_only_where_nobody_ever_published(
    lane: Lane, known: tuple[str, ...], words: str
) -> None:
    halt = begin(None, HERE, NOW, lane, Obstacles(known=known))
    assert isinstance(halt, Halt)
    assert words in halt.words
    assert begin(LEFT, HERE, NOW, lane, Obstacles(known=known)) == LEFT


def test_a_lane_may_begin_beside_others_of_its_own_division() -> None:
    lane = Lane("main", 1, 2)
    assert begin(None, HERE, NOW, lane, Obstacles(known=("main.0of2",))) == Cursor(HERE, Position(), {})
