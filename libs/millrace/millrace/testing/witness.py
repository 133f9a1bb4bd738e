"""Sees what a consumer's transactions commit, and can kill it at any await of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from millrace import outbox
from millrace.consumer import Judged
from millrace.consumer.store import Store
from millrace.events import Event, decode


class Crashed(BaseException):
    """The process has died here. No Exception: nothing in it could have caught that."""


class Witness:
    """What was committed so far, and how many awaits are left before the process dies; 0 means that it lives."""

    def __init__(self) -> None:
        self.judged: dict[str, Judged] = {}
        self.published: list[Event] = []
        self.fuse = 0

    def step(self) -> None:
        """One more await. Raises Crashed at the last one."""
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                raise Crashed

    @asynccontextmanager
    async def watching(self, begun: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        """A transaction whose awaits are counted; what it did counts once it has committed."""
        self.step()
        async with begun as tx:
            watched = _Watched(tx, self.step)
            yield watched
            self.step()
        for judged in watched.judged:
            self.judged.pop(judged.record.name[1], None)  # the order is that of the last word
            self.judged[judged.record.name[1]] = judged
        self.published += watched.published
        self.step()


class _Watched:
    """A transaction as its owner sees it, whatever it is made of: every call that is awaited is counted."""

    def __init__(self, tx: Any, step: Callable[[], None]) -> None:
        self._tx, self._step = tx, step
        self.judged: list[Judged] = []
        self.published: list[Event] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tx, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            result = found(*arguments, **named)
            return self._stepped(result) if asyncio.iscoroutine(result) else result

        return called

    async def _stepped(self, result: Any) -> Any:
        try:
            self._step()
        except Crashed:
            result.close()
            raise
        value = await result
        self._step()
        return value

    async def execute(self, statement: str, *arguments: Any, **named: Any) -> Any:
        """As the transaction does; what goes into the outbox is noted."""
        if statement == outbox.INSERT:
            self.published += map(_event, *arguments[1:2], *arguments[3:5])
        return await self.__getattr__("execute")(statement, *arguments, **named)


class WitnessedStore:
    """A store whose transactions are watched; everything else is the store's own."""

    def __init__(self, store: Store, witness: Witness) -> None:
        self._store, self._witness = store, witness

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._witness.watching(self._store.transaction())

    async def write(self, tx: Any, judged: Sequence[Judged], **how: Any) -> None:
        tx.judged += judged
        await self._store.write(tx, judged, **how)


def _event(key: str, headers: dict[str, str], payload: bytes) -> Event:
    return decode(key.encode(), {name: text.encode() for name, text in headers.items()}, payload)
