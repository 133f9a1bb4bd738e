"""Where a person may put a lane, and that a change of their number leaves no row to nobody and none to two."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.domain.steering import (
    Found,
    Refusal,
    To,
    Told,
    common,
    forgotten,
    heirs,
    indivisible,
    numbered,
    put,
    rebased,
)

HERE = Identity(system=7710647586780303478, timeline=1, database=5)
PROMOTED, ELSEWHERE = replace(HERE, timeline=2), replace(HERE, system=1)
NOW, EARLIER = Snapshot(100, 100), Snapshot(90, 90)
LEFT = Cursor(
    HERE, Position(Snapshot(90, 90), Snapshot(95, 98, (95,)), 1000, newest=97),
    {"t": (4, 2)}, generation=1, redriven=9,
)  # fmt: skip


@pytest.mark.parametrize(
    ("left", "identity", "now", "to", "lost", "words"),
    [
        # where it stood: only a later timeline of the same database that still has the newest row
        (LEFT, PROMOTED, NOW, To.CONTINUE, [], ""),
        (
            LEFT,
            PROMOTED,
            NOW,
            To.CONTINUE,
            [7, 9],
            "2 of the rows that were published last are not in this database (7, 9)",
        ),
        (LEFT, PROMOTED, EARLIER, To.CONTINUE, [], "--republish"),
        (LEFT, ELSEWHERE, NOW, To.CONTINUE, [], "another PostgreSQL cluster"),
        (LEFT, HERE, EARLIER, To.CONTINUE, [], "an earlier state"),
        (LEFT, HERE, NOW, To.CONTINUE, [], "start the relay"),
        (None, HERE, NOW, To.CONTINUE, [], "start the relay"),
        # the first row, or behind the last: anywhere
        (LEFT, ELSEWHERE, EARLIER, To.REPUBLISH, [], ""),
        (LEFT, HERE, NOW, To.REPUBLISH, [], ""),
        (None, HERE, NOW, To.REPUBLISH, [], ""),
        (LEFT, ELSEWHERE, NOW, To.AT_END, [], ""),
        # never a lane whose rows others publish
        (replace(LEFT, retired="2 shards"), PROMOTED, NOW, To.CONTINUE, [], "2 shards"),
        (replace(LEFT, retired="2 shards"), HERE, NOW, To.REPUBLISH, [], "2 shards"),
    ],
)
def test_where_a_lane_may_go_on(
    left: Cursor | None, identity: Identity, now: Snapshot, to: To, lost: list[int], words: str
) -> None:
    made = rebased(left, Found(identity, now, newest=80), to, Lane(), lost)
    if words:
        assert isinstance(made, Refusal)
        assert words in made.words
    else:
        assert isinstance(made, Cursor)
        assert made.identity == identity


def test_what_was_published_and_is_not_there_was_lost() -> None:
    """7's number was given to another row, 8 is gone, 2 went with its day; one may have no name."""
    published = [Told(2, "k", "evt_2"), Told(6, "k", None), Told(7, "k", "evt_7"), Told(8, "k", "evt_8")]
    rows = [Told(6, "k", None), Told(7, "k", "evt_9")]
    assert forgotten(published, rows, oldest=6) == [7, 8]
    assert forgotten(published[:2], rows, oldest=6) == []


def rebase(to: To, found: Found) -> Cursor:
    made = rebased(LEFT, found, to, Lane())
    assert isinstance(made, Cursor)
    return made


def test_a_rebase_tells_its_records_from_earlier_ones_and_keeps_their_numbering_dense() -> None:
    for to in To:
        made = rebase(to, Found(PROMOTED, NOW, newest=80, decided=20))
        assert (made.generation, made.pseq, made.redriven) == (2, LEFT.pseq, 9)
    assert rebase(To.CONTINUE, Found(PROMOTED, NOW)).position == LEFT.position
    assert rebase(To.REPUBLISH, Found(PROMOTED, NOW)).position == Position()


def test_the_end_is_behind_the_newest_committed_row_and_claims_nothing_more() -> None:
    """82 was rolled back; after a crash another transaction may be 82."""
    seen = rebase(To.AT_END, Found(HERE, Snapshot(70, 100, (70, 90)), newest=81)).position.seen
    assert seen == Snapshot(70, 82, (70,))


def test_decisions_of_a_restored_database_are_carried_out_though_their_numbers_were_given_before() -> None:
    assert rebase(To.REPUBLISH, Found(ELSEWHERE, NOW, decided=4)).redriven == 4


@pytest.mark.parametrize(
    ("given_", "identity", "words"),
    [
        (LEFT, HERE, ""),
        (replace(LEFT, retired="2 shards"), HERE, "retired"),
        (LEFT, PROMOTED, "another timeline"),
        (LEFT, ELSEWHERE, "another PostgreSQL cluster"),
    ],
)
def test_a_cursor_is_put_only_where_it_means_something(
    given_: Cursor, identity: Identity, words: str
) -> None:
    made = put(
        given_, replace(LEFT, generation=7, pseq={"t": (1, 9), "u": (3,)}), Found(identity, NOW), Lane()
    )
    if words:
        assert isinstance(made, Refusal)
        assert words in made.words
    else:
        assert isinstance(made, Cursor)
        assert (made.generation, made.position) == (8, LEFT.position)
        assert made.pseq == {"t": (4, 9), "u": (3,)}  # readers have seen those numbers


@pytest.mark.parametrize(
    ("shards", "partitions", "wrong"),
    [
        (1, {"a": 6, "b": 1}, []),
        (2, {"a": 6, "b": 24}, []),
        (4, {"a": 6, "b": 24}, ["a"]),
        (5, {"b": 24, "a": 6}, ["a", "b"]),
        (2, {}, []),
    ],
)
def test_every_topic_can_be_shared_out_evenly(
    shards: int, partitions: dict[str, int], wrong: list[str]
) -> None:
    assert indivisible(shards, partitions) == wrong


def test_the_numbering_of_all_lanes_is_each_partitions_own() -> None:
    assert numbered([{"a": (5, 0), "b": (1, 0)}, {"a": (0, 7)}, {}]) == {"a": (5, 7), "b": (1, 0)}


def test_the_common_place_claims_as_much_as_the_lane_that_has_gone_furthest() -> None:
    """The other lane published nothing of late: alone, its place claims no more than it did."""
    window = Snapshot(20, 40, (20, 35))
    one, other = Position().past(window, newest=37), Position().past(window, newest=5)
    assert common(window, [one, other]) == Position(Snapshot(20, 38, (20, 35)))


def test_the_old_cursors_retire_when_the_new_ones_take_force() -> None:
    ahead = replace(LEFT, pseq={"t": (4, 0)}, generation=3, redriven=12)
    behind = replace(LEFT, pseq={"t": (0, 2)}, redriven=9)
    old, new = lanes("main", 2), lanes("main", 4)
    cursors = heirs(dict(zip(old, (ahead, behind), strict=True)), Snapshot(99, 99), new)
    assert [cursors[lane].retired for lane in old] == ["4 shards", "4 shards"]
    assert len({cursors[lane].record() for lane in new}) == 1
    heir = cursors[new[0]]
    assert (heir.pseq, heir.generation, heir.redriven, heir.retired) == ({"t": (4, 2)}, 3, 9, "")


@dataclass
class World:
    """A database whose transactions end at their own moments, or are rolled back, and that may crash: the numbers
    of what was rolled back last are then given out again."""

    rows: list[tuple[int, int, int, int]] = field(default_factory=list)  # id, xid, hash, ends at (never: -1)
    moment: int = 0
    following: int = 3

    def write(self, hash_: int, lasts: int) -> None:
        """Units: `lasts` in moments; below zero: it is rolled back at once."""
        self.moment += 1
        ends = self.moment + lasts if lasts >= 0 else -1
        self.rows.append((self.moment, self.following, hash_, ends))
        self.following += 1

    def crash(self) -> None:
        """What is open is rolled back, and the number of every transaction behind the last committed is free."""
        self.moment += 1
        self.rows = [row if 0 <= row[3] < self.moment else (*row[:3], -1) for row in self.rows]
        self.following = max([xid + 1 for _, xid, _, ends in self.rows if ends >= 0], default=3)

    def snapshot(self) -> Snapshot:
        running = sorted(xid for _, xid, _, ends in self.rows if ends > self.moment)
        return Snapshot(running[0] if running else self.following, self.following, tuple(running))

    def committed(self) -> list[tuple[int, int, int]]:
        return [row[:3] for row in self.rows if 0 <= row[3] <= self.moment]


def drained(
    world: World, place: Position, window: Snapshot, owns: Lane, page: int, read: list[int]
) -> Position:
    """A lane publishes, page by page, what the window sees."""
    while True:
        owed = [row for row in world.committed() if owns.owns(row[2]) and place.owes(row[0], row[1], window)]
        got = sorted(owed)[:page]
        read += [row[0] for row in got]
        newest = max((row[1] for row in got), default=0)
        if len(got) < page:
            return place.past(window, newest)
        place = place.within(window, got[-1][0], newest)


Step = tuple[str, int, int]
one = {
    "write": st.tuples(st.just("write"), st.integers(0, 23), st.integers(-1, 6)),
    "look": st.tuples(st.just("look"), st.integers(0, 5), st.just(0)),
    "reshard": st.tuples(st.just("reshard"), st.sampled_from([1, 2, 3, 4, 6]), st.just(0)),
    "crash": st.just(("crash", 0, 0)),
}
# Likely enough in life, and too rare by chance: what was rolled back before a change is given out again after it.
accident = st.tuples(one["write"], st.just(("write", 0, -1)), one["reshard"], one["crash"], one["write"]).map(
    list
)
steps = st.lists(st.one_of(accident, *(step.map(lambda step: [step]) for step in one.values())), max_size=40)


@given(steps.map(lambda parts: [step for part in parts for step in part]), st.integers(1, 3))
def test_every_row_is_published_once_however_often_the_shards_change(steps: list[Step], page: int) -> None:
    world, read = World(), list[int]()
    places = {lane: Position() for lane in lanes("main", 1)}
    for what, number, lasts in [*steps, ("crash", 0, 0), ("reshard", 2, 0)]:
        if what == "write":
            world.write(number, lasts)
        elif what == "crash":
            world.crash()
        elif what == "look":  # one of the lanes alone
            lane = sorted(places)[number % len(places)]
            places[lane] = drained(world, places[lane], world.snapshot(), lane, page, read)
        else:
            window = world.snapshot()
            after = [drained(world, place, window, lane, page, read) for lane, place in places.items()]
            places = dict.fromkeys(lanes("main", number), common(window, after))
    assert sorted(read) == [row[0] for row in world.committed()]
