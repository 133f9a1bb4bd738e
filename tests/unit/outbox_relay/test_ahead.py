"""A page is read ahead only where the last one said it goes on, and never used for another place."""

from __future__ import annotations

import asyncio

from outbox_relay.domain.cursor import NOTHING, Position, Snapshot
from outbox_relay.domain.page import Page, Row
from outbox_relay.relay.ahead import ReadAhead

WINDOW = Snapshot(100, 100)


def at(last: int) -> Position:
    """Inside the window, behind so many rows."""
    return Position(NOTHING, WINDOW, last)


class Shelves:
    """Ten rows, two a page; remembers what was asked for, and that nobody asks twice at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.busy = False

    async def page(self, position: Position) -> Page:
        assert not self.busy
        self.busy = True
        self.asked.append(position.last_id)
        try:
            await asyncio.sleep(0)
        finally:
            self.busy = False
        rows = [row(position.last_id + n) for n in (1, 2)]
        done = rows[-1].id >= 10
        return Page(rows, Position(WINDOW) if done else at(rows[-1].id), WINDOW)


def row(number: int) -> Row:
    return Row(number, "t", "k", "{}", b"", 5, 3, 0)


async def test_the_next_page_is_under_way_before_it_is_asked_for() -> None:
    shelves = Shelves()
    ahead = ReadAhead(shelves)
    first = await ahead.page(at(0))
    await asyncio.sleep(0)
    assert shelves.asked == [0, 2]
    assert [r.id for r in (await ahead.page(first.position)).rows] == [3, 4]
    await ahead.close()


async def test_what_was_read_for_another_place_is_not_used() -> None:
    shelves = Shelves()
    ahead = ReadAhead(shelves)
    await ahead.page(at(0))
    assert [r.id for r in (await ahead.page(at(1))).rows] == [2, 3]  # the page was cut: a row had to wait
    await ahead.close()


async def test_behind_the_last_page_nothing_is_read() -> None:
    shelves = Shelves()
    ahead = ReadAhead(shelves)
    last = await ahead.page(at(8))
    assert not last.goes_on
    await asyncio.sleep(0)
    assert shelves.asked == [8]
