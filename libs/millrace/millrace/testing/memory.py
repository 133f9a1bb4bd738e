"""The runtime's tables as dictionaries. What is decided about them is the runtime's own: nothing is decided here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from millrace import audit, outbox
from millrace.consumer import Applied, Each, Fold, Judged, Record, latest
from millrace.consumer.judge import BEHIND, FAILED, POISON, WAITING
from millrace.consumer.progress import NOTHING, Progress
from millrace.consumer.record import Partition
from millrace.consumer.store import Asked, Known, Store


@dataclass(frozen=True, slots=True)
class Parked:
    """A row of parked_event."""

    record: Record
    status: str
    wait_key: str
    at: float
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Tables:
    """What has been committed."""

    seen: dict[tuple[str, str], None] = field(default_factory=dict)
    parked: dict[int, Parked] = field(default_factory=dict)  # by id, in the order of parking
    progress: dict[Partition, Progress] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Tables:
        return Tables(dict(self.seen), dict(self.parked), dict(self.progress), dict(self.states))


class Memory(Store):
    """Keeps what `Store` keeps, with its meaning, until the test ends. One transaction at a time.

    `own` is what handlers get for a transaction; its `rollback()`, where it has one, is called when one is undone.
    """

    def __init__(self, own: Any = None, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.own, self.clock = own, clock
        self.tables = Tables()
        self._one = asyncio.Lock()
        self._ids = itertools.count(1)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._one:
            before, self.tables = self.tables, self.tables.copy()
            try:
                yield _Own(self.own)
            except BaseException:
                self.tables = before
                getattr(self.own, "rollback", lambda: None)()
                raise

    def lost(self, tx: Any) -> bool:
        return False

    async def load(self, tx: Any, keys: Sequence[str]) -> Mapping[str, Any]:
        return {key: self.tables.states[key] for key in keys if key in self.tables.states}

    async def save(self, tx: Any, changes: Sequence[Applied[Any]]) -> None:
        self.tables.states.update({key: change.state for key, change in latest(changes).items()})

    async def known(self, tx: Any, records: Sequence[Record], *, ordered: bool) -> Known:
        news = {record.name: record for record in reversed(records) if record.name not in self.tables.seen}
        held = {row.record.order_key for row in self._holding()} - {""} if ordered else set()
        return Known([r for r in records if news.get(r.name) is r], held, dict(self.tables.progress))

    def _holding(self) -> list[Parked]:
        return [row for row in self.tables.parked.values() if row.status != WAITING]

    async def waiters(self, tx: Any, keys: Sequence[str]) -> list[tuple[str, Record]]:
        rows = self.tables.parked.values()
        return [(row.wait_key, row.record) for row in rows if row.status == WAITING and row.wait_key in keys]

    async def _remember(self, tx: Any, judged: Sequence[Judged]) -> None:
        self.tables.seen.update(dict.fromkeys(j.record.name for j in judged))

    async def _park(self, tx: Any, judged: Sequence[Judged]) -> None:
        for j, id_ in zip(judged, self._ids, strict=False):
            self.tables.parked[id_] = self._row(j, replace(j.record, parked=id_), self.clock())

    async def _resolve(self, tx: Any, judged: Sequence[Judged], redriven: bool) -> None:
        for j in judged:
            self.tables.parked.pop(j.record.parked or 0)

    async def _repark(self, tx: Any, judged: Sequence[Judged]) -> None:
        for j in judged:
            id_ = j.record.parked or 0
            self.tables.parked[id_] = self._row(j, j.record, self.tables.parked[id_].at)

    def _row(self, judged: Judged, record: Record, at: float) -> Parked:
        return Parked(record, judged.status, judged.key if judged.status == WAITING else "", at)

    async def lately(self, tx: Any, seconds: float) -> int:
        since = self.clock() - seconds
        return sum(row.status in (POISON, FAILED) and row.at > since for row in self.tables.parked.values())

    async def audit(self, tx: Any, chain: str, entries: Sequence[audit.Entry]) -> None:
        """Nobody reads it here."""

    async def advance(self, tx: Any, ends: Mapping[Partition, Progress]) -> None:
        for at, end in ends.items():
            before = self.tables.progress.get(at, NOTHING)
            ahead = end if end.next_offset > before.next_offset else before
            sequences = {**before.sequences, **ahead.sequences}
            self.tables.progress[at] = replace(
                ahead, records=before.records + end.records, sequences=sequences
            )

    async def progress(self, tx: Any) -> dict[Partition, Progress]:
        return dict(self.tables.progress)

    async def introduce(self, tx: Any, name: str, topics: Sequence[str], ordered: bool) -> None:
        """It is known already."""

    async def asked(self, tx: Any, name: str) -> Asked:
        return Asked(redrives=sum(row.asked for row in self.tables.parked.values()))

    async def ask(self, tx: Any, record_key: str | None, by: str) -> None:
        self._ask(
            id_
            for id_, row in self.tables.parked.items()
            if row.status != WAITING and record_key in (None, row.record.order_key)
        )

    async def redriving(self, tx: Any) -> bool:
        return True

    async def asked_for(self, tx: Any, limit: int) -> list[tuple[Record, bool]]:
        asked = [row for row in self.tables.parked.values() if row.asked][:limit]
        return [(row.record, self._held(row)) for row in asked]

    def _held(self, row: Parked) -> bool:
        """Whether an earlier event of its key is parked and nobody asks for that."""
        return bool(row.record.order_key) and any(not one.asked for one in self._in_front_of(row))

    def _in_front_of(self, row: Parked) -> list[Parked]:
        earlier = itertools.takewhile(lambda one: one is not row, self.tables.parked.values())
        return [
            one for one in earlier if one.status != WAITING and one.record.order_key == row.record.order_key
        ]

    async def follow(self, tx: Any, record_keys: Sequence[str]) -> None:
        self._ask(
            id_
            for id_, row in self.tables.parked.items()
            if row.status == BEHIND and row.record.order_key in record_keys
            if not any(one.status in (POISON, FAILED) for one in self._in_front_of(row))
        )

    def _ask(self, ids: Any) -> None:
        for id_ in list(ids):
            self.tables.parked[id_] = replace(self.tables.parked[id_], asked=True)


class _Own:
    """What a handler gets for a transaction: the test's own object, and the outbox, which takes what it is given."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    async def execute(self, statement: str, *arguments: Any, **named: Any) -> Any:
        if statement == outbox.INSERT:
            return "INSERT"
        return await self._own.execute(statement, *arguments, **named)


def in_memory(consumer: Fold[Any, Any] | Each, memory: Memory) -> Fold[Any, Any] | Each:
    """The same consumer, with its states in memory; its handlers one after another."""
    if isinstance(consumer, Each):
        return replace(consumer, independent=1)
    return replace(consumer, load=memory.load, save=memory.save)
