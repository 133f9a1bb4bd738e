"""Reading ahead: while a page is planned, packed and sent, the one behind it is on its way from PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from outbox_relay.domain.cursor import Position
from outbox_relay.domain.page import Page


class Pages(Protocol):
    """The part of a Source that reads."""

    async def page(self, position: Position) -> Page: ...


class ReadAhead:
    """Pages, each with the next one begun. A page of another place than the one that was expected is read anew."""

    def __init__(self, source: Pages) -> None:
        self.source = source
        self._next: tuple[Position, asyncio.Task[Page]] | None = None

    async def page(self, position: Position) -> Page:
        page = await self._expected(position) or await self.source.page(position)
        if page.goes_on:
            self._next = page.position, asyncio.create_task(self.source.page(page.position))
        return page

    async def _expected(self, position: Position) -> Page | None:
        if self._next and self._next[0] == position:
            (_, reading), self._next = self._next, None
            return await reading
        await self.close()  # the session reads one page at a time
        return None

    async def close(self) -> None:
        """Let go of what nobody will ask for."""
        if self._next:
            (_, reading), self._next = self._next, None
            reading.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reading
