"""What runs beside the requests: the group commit that they share, and the partitions they will need.

offer(row) ──▶ queue ──▶ one statement for all that wait ──▶ COMMIT ──▶ everyone is told
                         (meanwhile the next ones gather)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import asyncpg

from ingest import archive, metrics, store
from millrace import outbox
from millrace.clock import Clock
from millrace.errors import Retryable
from millrace.postgres import Connection, Pool

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

log = logging.getLogger("ingest.jobs")

BATCH_EVENTS_MAX = 256  # beyond it a commit is no cheaper per event, only later
BATCH_BYTES_MAX = 4 * 2**20
IDLE_SECONDS = 5.0  # how often an idle edge makes sure that it could store
AGAIN_SECONDS = 1  # what a sender is told to wait
HURRY_SECONDS = 0.25  # how often those who wait too long are looked for
PARTITIONS_SECONDS = 600.0

SLOW = Retryable("the database is slow", after=AGAIN_SECONDS)
Told = Callable[[bool | Retryable], None]

# What a row can be to blame for. Any other failure is the connection's or the database's, asyncpg's own
# assertions on a broken connection included.
OF_THE_ROW = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.TransactionRollbackError,
    asyncpg.RaiseError,
    ValueError,  # asyncpg could not encode it
)


class Waiting:
    """A row on its way, and whom to tell: whether it was new, or why it could not be committed."""

    __slots__ = ("identity", "row", "since", "size", "told")

    def __init__(self, row: store.Row, told: Told, since: float) -> None:
        self.row, self.since = row, since
        self.told: Told | None = told
        self.identity = (row.account, row.id)
        self.size = len(row.raw) + len(row.payload)

    def tell(self, outcome: bool | Retryable) -> None:
        """Once: whoever was told to come again is told nothing more."""
        told, self.told = self.told, None
        if told:
            told(outcome)


class GroupCommit:
    """Requests in flight share one commit of event and outbox rows.

    offer()   queues a row and tells once it is committed: True when it was new, a Retryable when the queue is
              full, closed, or the database cannot take it in time. Nobody is left without an answer.
    commit()  the same for those who can wait. Raises Retryable.
    close()   nothing more will come; run() ends when the queue is empty.
    ready()   turns before the queue is full and before anybody has been told to come again.
    """

    name = "group commit"

    def __init__(self, pool: Pool, *, events_max: int, bytes_max: int, seconds_max: float) -> None:
        self.pool = pool
        self.events_max, self.bytes_max, self.seconds_max = events_max, bytes_max, seconds_max
        self.queue: deque[Waiting] = deque()
        self.flushing: list[Waiting] = []
        self.queued_bytes = 0
        self.changed = asyncio.Event()
        self.closed = False
        self.connection: Connection | None = None
        self.trouble = "has not reached the database yet"

    def offer(self, row: store.Row, told: Told) -> None:
        if self.closed or len(self.queue) >= self.events_max or self.queued_bytes >= self.bytes_max:
            return told(Retryable("too many events wait for a commit", after=AGAIN_SECONDS))
        waiting = Waiting(row, told, time.monotonic())
        self.queue.append(waiting)
        self.queued_bytes += waiting.size
        self.changed.set()
        return None

    async def commit(self, row: store.Row) -> bool:
        answer: asyncio.Future[bool | Retryable] = asyncio.get_running_loop().create_future()
        self.offer(row, lambda outcome: None if answer.done() else answer.set_result(outcome))
        outcome = await answer
        if isinstance(outcome, Retryable):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed = True
        self.changed.set()

    def ready(self) -> str:
        """Called from another thread: reads plain values."""
        if len(self.queue) >= self.events_max // 2 or self.queued_bytes >= self.bytes_max // 2:
            return f"{len(self.queue)} events wait for a commit"
        if (since := self._oldest()) and time.monotonic() - since > self.seconds_max / 4:
            return "the database is slow"
        return self.trouble

    def _oldest(self) -> float:
        """Since when the commit under way has been waited for, by those too who were told to come again."""
        flushing = self.flushing
        return min((w.since for w in flushing), default=0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Flush whatever waits until `close`; at `stop` requests are still in flight."""
        hurrying = asyncio.create_task(self._hurry())
        try:
            while await self._something_waits():
                if batch := self._take():
                    self.flushing = batch
                    await self._flush(batch)
                    self.flushing = []
        finally:
            self.closed = True
            hurrying.cancel()
            for waiting in [*self.flushing, *self._take(everything=True)]:
                waiting.tell(Retryable("stopping", after=AGAIN_SECONDS))
            await self._let_go()

    async def _hurry(self) -> None:
        """Tell those who have waited too long to come again. Their rows may still be committed: the ids will tell."""
        while True:
            await asyncio.sleep(HURRY_SECONDS)
            late = time.monotonic() - self.seconds_max
            while self.queue and (self.queue[0].since < late or self.queue[0].told is None):
                waiting = self.queue.popleft()
                self.queued_bytes -= waiting.size
                waiting.tell(SLOW)
            for waiting in self.flushing:
                if waiting.since < late:
                    waiting.tell(SLOW)

    async def _something_waits(self) -> bool:
        """False when nothing does and nothing will. Idle, it makes sure of the database."""
        while not self.queue and not self.closed:
            self.changed.clear()
            try:
                async with asyncio.timeout(AGAIN_SECONDS if self.trouble else IDLE_SECONDS):
                    await self.changed.wait()
            except TimeoutError:
                await self._check()
        return bool(self.queue)

    def _take(self, everything: bool = False) -> list[Waiting]:
        """The next batch, without those whose sender has been told to come again."""
        batch: list[Waiting] = []
        size = 0
        while self.queue and (everything or (len(batch) < BATCH_EVENTS_MAX and size < BATCH_BYTES_MAX)):
            waiting = self.queue.popleft()
            self.queued_bytes -= waiting.size
            if waiting.told:
                batch.append(waiting)
                size += waiting.size
        metrics.QUEUE_DEPTH.set(len(self.queue))
        return batch

    async def _flush(self, batch: list[Waiting]) -> None:
        """One commit for the batch; when the database refuses it, one for each row."""
        try:
            await self._store(batch)
        except Retryable as problem:
            for waiting in batch:
                waiting.tell(problem)
        except OF_THE_ROW as problem:
            log.warning("batch refused, going row by row", extra=_named(problem, rows=len(batch)))
            await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[Waiting]) -> None:
        for waiting in batch:
            try:
                await self._store([waiting])
            except Retryable as problem:
                waiting.tell(problem)
            except OF_THE_ROW as problem:
                log.error("event refused", extra=_named(problem, event=waiting.row.id))
                waiting.tell(Retryable("the database refuses this event", after=AGAIN_SECONDS))

    async def _store(self, batch: Sequence[Waiting]) -> None:
        """Commit and answer. Raises Retryable when the database is out of reach, or what a row is to blame for."""
        rows: dict[tuple[str, str], store.Row] = {}
        for waiting in batch:
            rows.setdefault(waiting.identity, waiting.row)  # of twins, the first
        started = time.perf_counter()
        new = await self._stored(list(rows.values()))
        self.trouble = ""
        metrics.COMMIT_SECONDS.observe(time.perf_counter() - started)
        metrics.BATCH_SIZE.observe(len(rows))
        for waiting in batch:
            waiting.tell(waiting.identity in new)
            new.discard(waiting.identity)

    async def _stored(self, rows: Sequence[store.Row]) -> set[tuple[str, str]]:
        """Once more on a fresh connection if this one breaks: what it committed, the ids will tell."""
        try:
            try:
                return await store.store(await self._connected(), rows)
            except (*OF_THE_ROW, TimeoutError):
                raise
            except Exception:
                await self._let_go()
                return await store.store(await self._connected(), rows)
        except OF_THE_ROW:
            raise
        except Exception as problem:
            await self._let_go()
            self._in_trouble(problem)
            raise Retryable("the database is out of reach", after=AGAIN_SECONDS) from problem

    async def _connected(self) -> Connection:
        """The one connection of the group commit, kept for as long as it works."""
        if self.connection is None:
            self.connection = cast(Connection, await self.pool.acquire())
            await store.insist_on_durability(self.connection)
        return self.connection

    async def _let_go(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(asyncpg.InterfaceError):  # a lost one has gone back to the pool by itself
                connection.terminate()
            await self.pool.release(cast("PoolConnectionProxy[asyncpg.Record]", connection))

    async def _check(self) -> None:
        try:
            await store.ping(await self._connected())
        except Exception as problem:
            await self._let_go()
            self._in_trouble(problem)
        else:
            self.trouble = ""

    def _in_trouble(self, problem: Exception) -> None:
        if not self.trouble:
            log.error("the database is out of reach", extra=_named(problem))
        self.trouble = f"database: {type(problem).__name__}"


def _named(problem: Exception, **more: object) -> dict[str, object]:
    """A failure by its name: its text may quote a row."""
    return {"problem": type(problem).__name__, **more}


class Partitions:
    """Makes the log's months and the outbox's days to come, long before an event arrives in them.

    A month that is missing is no loss, for there is a default one. A day that is missing is: every row is refused.
    So whoever writes makes days, and not the relay alone, which may be away.
    """

    name = "partitions"

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool, self.clock = pool, clock

    def ready(self) -> str:
        return ""  # what is missing shows where events are stored

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.make()
            except Exception as problem:
                log.warning("partitions not made yet", extra=_named(problem))
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTITIONS_SECONDS):
                    await stop.wait()

    async def make(self) -> None:
        async with self.pool.acquire() as connection:
            for day in await outbox.make_days(cast(Connection, connection)):
                log.info("day of the outbox made", extra={"day": str(day)})
            for month in await archive.make_partitions(cast(Connection, connection), self.clock.now()):
                log.info("partition made", extra={"month": month})
