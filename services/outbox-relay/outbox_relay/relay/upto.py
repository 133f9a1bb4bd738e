"""A stream that ends: everything that one snapshot sees, and nothing later."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from outbox_relay.domain.cursor import Identity, Obstacles, Position, Snapshot
from outbox_relay.domain.page import Page
from outbox_relay.relay.stream import Source


class Upto:
    """A Source of the rows that `window` sees. Sets `reached` when a reader asks for more: all is committed then.

    `first`: no row that is owed has a lower number; it spares the primary key's whole way to it.
    """

    def __init__(self, source: Source, window: Snapshot, first: int) -> None:
        self.source, self.window, self.first = source, window, first
        self.reached = asyncio.Event()
        self._end: Position | None = None

    async def identity(self) -> tuple[Identity, Snapshot]:
        return await self.source.identity()

    async def obstacles(self) -> Obstacles:
        return await self.source.obstacles()

    async def page(self, position: Position) -> Page:
        """An older window that is still open comes first; then this one opens."""
        if position == self._end:
            self.reached.set()
            return Page([], position, self.window)
        if position.window is None:
            position = replace(position, window=self.window, last_id=self.first - 1)
        page = await self.source.page(position)
        if position.window == self.window and page.position.window is None:
            self._end = page.position
        return page
