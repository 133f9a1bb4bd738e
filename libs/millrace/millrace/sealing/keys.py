"""The data keys that a process knows: few round trips however many ask, and never more than it may hold.

of(subject) ─┐                        select all ─▶ wrap and insert what is missing ─▶ select again
of(subject) ─┼▶ gather while one runs ─▶ unwrap all in one call ─▶ everyone's answer
by_id(ids)  ─┘                        (the next ones gather meanwhile)
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import asyncpg

from millrace.errors import Retryable
from millrace.postgres import CUT_OFF, Pool
from millrace.sealing import metrics, store
from millrace.sealing.box import KEY_BYTES, DataKey, IndexKey, Subject, Unopenable, joined
from millrace.sealing.providers import Plain, Provider, Wrapped
from millrace.sealing.store import KeyRow, Wanted

TOGETHER_MAX = 1000  # keys in one round trip
AGAIN_SECONDS = 1.0

K = TypeVar("K")
V = TypeVar("V")
Opened = bytes | Retryable | Unopenable  # a data key, or why it cannot be had


class Keys:
    """The data keys this process knows; the rest it fetches, and makes what is new.

    known()  the key to seal under, if it is in memory. Costs a look-up.
    of()     the same, fetched or made. A subject whose keys were destroyed gets a throw-away key that bears the
             destroyed one's id: what it seals can never be opened.
    by_id()  the keys to open with; one that is destroyed or unknown is not in the answer.
    index()  the key of an account's blind indexes.
    Units:   a key is used for `seconds_max` at most, so an erasure is complete everywhere by then; a subject's
             newest key is followed by a new one after `renew_days`, and goes on opening what it sealed.
    Raises:  Retryable when the database or the provider is out of reach, Unopenable when the stored key was
             changed or belongs to other key-encryption keys.
    """

    def __init__(
        self,
        pool: Pool,
        provider: Provider,
        *,
        keys_max: int = 20_000,
        seconds_max: float = 300,
        renew_days: int = 30,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool, self.provider, self.renew_days = pool, provider, renew_days
        self._sealing: Memory[Subject, DataKey] = Memory(keys_max, seconds_max, now)
        self._opening: Memory[int, DataKey] = Memory(keys_max, seconds_max, now)
        self._indexing: Memory[str, IndexKey] = Memory(keys_max, seconds_max, now)
        self._newest: Gathered[Wanted, tuple[KeyRow, Opened]] = Gathered(self._load)
        self._named: Gathered[int, tuple[KeyRow, Opened] | None] = Gathered(self._load_by_id)

    def known(self, subject: Subject) -> DataKey | None:
        return self._sealing.get(subject)

    async def of(self, subject: Subject) -> DataKey:
        if key := self._sealing.get(subject):
            return key
        row, opened = await self._newest.get(Wanted(*subject, "data"))
        return self._sealing.put(subject, DataKey(row.id, subject, _had(opened)))

    async def by_id(self, ids: Iterable[int]) -> dict[int, DataKey]:
        wanted = set(ids)
        known = {id: key for id in wanted if (key := self._opening.get(id))}
        found = await asyncio.gather(*(self._named.get(id) for id in wanted - known.keys()))
        for row, opened in filter(None, found):
            key = DataKey(row.id, Subject(row.account, row.customer), _had(opened))
            known[row.id] = self._opening.put(row.id, key)
        return known

    async def index(self, account: str) -> IndexKey:
        if key := self._indexing.get(account):
            return key
        row, opened = await self._newest.get(Wanted(account, "", "index"))
        return self._indexing.put(account, IndexKey(row.id, _had(opened)))

    async def _load(self, wanted: Sequence[Wanted]) -> dict[Wanted, tuple[KeyRow, Opened]]:
        """The newest key of each, made where there is none or it is old."""
        rows = {row.wanted: row for row in await store.newest(self.pool, wanted, self.renew_days)}
        if due := {one: rows[one].version if one in rows else 0 for one in wanted if _is_due(rows.get(one))}:
            await self._make({one: version + 1 for one, version in due.items()})
            rows |= {row.wanted: row for row in await store.newest(self.pool, due, self.renew_days)}
        return {row.wanted: (row, key) for row, key in await self._opened(list(rows.values()))}

    async def _load_by_id(self, ids: Sequence[int]) -> dict[int, tuple[KeyRow, Opened] | None]:
        opened = await self._opened(await store.by_id(self.pool, ids))
        return dict.fromkeys(ids) | {row.id: (row, key) for row, key in opened}

    async def _make(self, versions: Mapping[Wanted, int]) -> None:
        plain = [Plain(os.urandom(KEY_BYTES), context(*one, version)) for one, version in versions.items()]
        wrapped = await self.provider.wrap(plain)
        made = [(*one, v, w.kek, w.key) for (one, v), w in zip(versions.items(), wrapped, strict=True)]
        await store.add(self.pool, made)
        metrics.KEYS_MADE.inc(len(made))

    async def _opened(self, rows: Sequence[KeyRow]) -> list[tuple[KeyRow, Opened]]:
        """Each row with its key; with a destroyed one, a key that nobody else has or will ever have."""
        alive = [row for row in rows if row.wrapped is not None]
        gone = [row for row in rows if row.wrapped is None]
        metrics.ERASED.inc(len(gone))
        keys = await self.provider.unwrap([wrapped(row) for row in alive])
        return [*zip(alive, keys, strict=True), *((row, os.urandom(KEY_BYTES)) for row in gone)]


def context(account: str, customer: str, purpose: str, version: int) -> bytes:
    """What a wrapped key is bound to: it unwraps in its own row only."""
    return joined(*(part.encode() for part in (account, customer, purpose, str(version))))


def wrapped(row: KeyRow) -> Wrapped:
    """The key of a row, as a provider takes it."""
    bound_to = context(row.account, row.customer, row.purpose, row.version)
    return Wrapped(row.kek, row.wrapped or b"", bound_to)


def _is_due(row: KeyRow | None) -> bool:
    """Whether a (further) key is to be made. An index key stays: its digests could not be made anew."""
    return row is None or (row.is_old and row.wrapped is not None and row.purpose == "data")


def _had(opened: Opened) -> bytes:
    if isinstance(opened, bytes):
        return opened
    raise opened


class Memory(Generic[K, V]):
    """What was used last, at most so many and for so long."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most, self._seconds, self._now = most, seconds, now
        self._held: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        found = self._held.get(key)
        if found is None:
            return None
        if self._now() >= found[1]:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V) -> V:
        self._held[key] = value, self._now() + self._seconds
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return value


class Gathered(Generic[K, V]):
    """Asks together what many ask at once: while one question is under way, the next ones gather.

    Whoever waits may be cancelled; the others get their answer. A failure is told to those who waited for it
    and remembered for nobody.
    """

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._load = load
        self._queue: list[K] = []
        self._answers: dict[K, asyncio.Future[V]] = {}  # of the queue and of the question under way
        self._asking: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V:
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = asyncio.get_running_loop().create_future()
            self._queue.append(key)
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:TOGETHER_MAX], self._queue[TOGETHER_MAX:]
            try:
                found = await self._load(batch)
                values = [found[key] for key in batch]
            except BaseException as problem:
                self._fail(batch, problem)
                if not isinstance(problem, Exception):
                    raise
            else:
                for key, value in zip(batch, values, strict=True):
                    self._answers.pop(key).set_result(value)

    def _fail(self, batch: Sequence[K], problem: BaseException) -> None:
        for key in batch:
            answer = self._answers.pop(key)
            answer.set_exception(_told(problem))
            answer.exception()  # looked at: whoever asked may have gone


def _told(problem: BaseException) -> BaseException:
    """What those who wait are told. A message of the database's may quote a row, so it is named only."""
    if isinstance(problem, (*CUT_OFF, asyncpg.PostgresError, asyncio.CancelledError)):
        told = Retryable(f"the data keys are out of reach: {type(problem).__name__}", after=AGAIN_SECONDS)
        told.__cause__ = problem
        return told
    return problem
