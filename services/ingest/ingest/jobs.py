"""What runs beside the requests: the group commit that they share, and the partitions they will need.

commit(arrival) ──▶ queue ──▶ one statement for all that wait ──▶ COMMIT ──▶ everyone's answer
                              (meanwhile the next ones gather)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, cast

import asyncpg

from ingest import metrics, store
from ingest.domain import Arrival
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
MONTHS_AHEAD = 3
PARTITIONS_SECONDS = 600.0

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


@dataclass(slots=True)
class Waiting:
    """A row on its way, and whoever waits for its commit. The answer: whether the event was new."""

    row: store.Row
    answer: asyncio.Future[bool]
    identity: tuple[str, str] = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.identity = (self.row.account, self.row.id)
        self.size = len(self.row.raw) + len(self.row.payload)

    def settle(self, new: bool) -> None:
        if not self.answer.done():
            self.answer.set_result(new)

    def fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(Retryable(why, after=AGAIN_SECONDS))


class GroupCommit:
    """Requests in flight share one commit of event and outbox rows.

    commit()  returns once the arrival is committed: True when it was new, False for a duplicate.
              Raises Retryable when the queue is full, the deadline passes or the database cannot take it.
    close()   nothing more will come; run() ends when the queue is empty.
    """

    name = "group commit"

    def __init__(self, pool: Pool, *, events_max: int, bytes_max: int, seconds_max: float) -> None:
        self.pool = pool
        self.events_max, self.bytes_max, self.seconds_max = events_max, bytes_max, seconds_max
        self.queue: deque[Waiting] = deque()
        self.queued_bytes = 0
        self.changed = asyncio.Event()
        self.closed = False
        self.connection: Connection | None = None
        self.trouble = "has not reached the database yet"

    async def commit(self, arrival: Arrival) -> bool:
        if self.closed or len(self.queue) >= self.events_max or self.queued_bytes >= self.bytes_max:
            raise Retryable("too many events wait for a commit", after=AGAIN_SECONDS)
        waiting = Waiting(store.row(arrival), asyncio.get_running_loop().create_future())
        self.queue.append(waiting)
        self.queued_bytes += waiting.size
        self.changed.set()
        try:
            async with asyncio.timeout(self.seconds_max):
                return await waiting.answer
        except TimeoutError:
            raise Retryable("the database is slow", after=AGAIN_SECONDS) from None

    def close(self) -> None:
        self.closed = True
        self.changed.set()

    def ready(self) -> str:
        return self.trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Flush whatever waits until `close`; at `stop` requests are still in flight."""
        try:
            while await self._something_waits():
                if batch := self._take():
                    await self._flush(batch)
        finally:
            self.closed = True
            for waiting in self._take(everything=True):
                waiting.fail("stopping")
            await self._let_go()

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
            if not waiting.answer.done():
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
                waiting.fail(str(problem))
        except OF_THE_ROW as problem:
            log.warning("batch refused, going row by row", extra=_named(problem, rows=len(batch)))
            await self._one_by_one(batch)

    async def _one_by_one(self, batch: Sequence[Waiting]) -> None:
        for waiting in batch:
            try:
                await self._store([waiting])
            except Retryable as problem:
                waiting.fail(str(problem))
            except OF_THE_ROW as problem:
                log.error("event refused", extra=_named(problem, event=waiting.row.id))
                waiting.fail("the database refuses this event")

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
            waiting.settle(waiting.identity in new)
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
    """Makes the partitions of the months to come, long before an event arrives in them."""

    name = "partitions"

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self.pool, self.clock = pool, clock

    def ready(self) -> str:
        return ""  # a month without a partition goes to the default one

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
            for month in months(self.clock.now().date(), MONTHS_AHEAD):
                if await store.make_partition(cast(Connection, connection), month):
                    log.info("partition made", extra={"month": month.isoformat()})


def months(today: date, ahead: int) -> list[date]:
    """The first days of this month and of the ones to come."""
    first = today.year * 12 + today.month - 1
    return [date((first + n) // 12, (first + n) % 12 + 1, 1) for n in range(ahead + 1)]
