"""What a leader does beside publishing: it sends a row of its own the whole way, and keeps days ahead.

beat ──▶ outbox.event ──▶ the relay ──▶ Kafka ──▶ a `read_committed` reader here: end to end, by one clock

Nothing of it disturbs publishing: what fails is logged and tried again at the next beat.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from millrace.events.keys import key_hash
from millrace.telemetry import describe
from millrace.topics import RELAY_HEARTBEAT
from outbox_relay import metrics
from outbox_relay.domain.lane import Lane
from outbox_relay.store.audits import Age

log = logging.getLogger("outbox_relay")

DAYS_SECONDS = 3600.0  # between two looks at the days ahead
ABSENT_SECONDS = 60.0  # between two looks for the topic
CLOSE_SECONDS = 2.0
LATE_SECONDS = 60.0  # between two tries of what did not succeed
BEATS_AWAITED = 1000  # beyond that the oldest is not measured; its row is carried all the same


class Ledger(Protocol):
    """The database's side of it."""

    async def beat(self, key: str, nonce: str) -> None: ...

    async def make_days(self, ahead: int) -> None: ...

    async def days_ahead(self) -> int: ...

    async def audited(self, lane: Lane) -> Age: ...


class Heartbeat:
    """The Upkeep of one lane. Units: a beat every `every_seconds`; `days` of partitions are kept ahead."""

    def __init__(
        self,
        lane: Lane,
        kafka: str,
        ledger: Callable[[], AbstractAsyncContextManager[Ledger]],
        *,
        every_seconds: float,
        days: int,
    ) -> None:
        self.lane, self.kafka, self.ledger = lane, kafka, ledger
        self.every, self.days = every_seconds, days
        self.key = own_key(lane)
        self.heard = 0.0
        self.ahead = days  # as far as is known
        self._listening = self._warned = False
        self._sent: dict[str, float] = {}  # nonce → when it was written, until it comes back
        self._last = self._beat_at = 0.0
        self._days_due = 0.0

    def wrong(self) -> str:
        return "" if self.ahead else NO_TOMORROW

    async def run(self) -> None:
        """Until it is cancelled."""
        metrics.LAST_END_TO_END_SECONDS.labels(str(self.lane)).set_function(self._under_way)
        try:
            await asyncio.gather(self._again(self._keep), self._again(self._listen))
        finally:
            self._sent.clear()
            self._last = 0.0

    def _under_way(self) -> float:
        """How long the last beat took, or the oldest one that is not back yet has been on its way."""
        return max(self._last, time.monotonic() - min(self._sent.values(), default=time.monotonic()))

    async def _again(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as problem:  # the publishing itself says when it is the whole server
                log.warning("upkeep failed", extra={"lane": str(self.lane), "problem": describe(problem)})
            await asyncio.sleep(self.every)

    async def _keep(self) -> None:
        async with self.ledger() as ledger:
            while True:
                if time.monotonic() >= self._days_due:
                    await self._look_ahead(ledger)
                if self._listening:
                    await self._beat(ledger)
                metrics.audited(str(self.lane), *await ledger.audited(self.lane))
                await asyncio.sleep(self.every)

    async def _look_ahead(self, ledger: Ledger) -> None:
        """Make days, and count them even where that failed: what is there decides."""
        try:
            await ledger.make_days(self.days)
        except Exception as problem:
            log.warning("no days were made", extra={"lane": str(self.lane), "problem": describe(problem)})
        self.ahead = await ledger.days_ahead()
        metrics.DAYS_AHEAD.labels(str(self.lane)).set(self.ahead)
        self._days_due = time.monotonic() + (DAYS_SECONDS if self.ahead >= self.days else LATE_SECONDS)

    async def _beat(self, ledger: Ledger) -> None:
        """While one is on its way further ones are sent rarely: a relay that stands still gets no backlog of them."""
        now = time.monotonic()
        if self._sent and now - self._beat_at < LATE_SECONDS:
            return
        if len(self._sent) >= BEATS_AWAITED:
            del self._sent[next(iter(self._sent))]
        nonce = uuid.uuid4().hex
        self._sent[nonce] = self._beat_at = now
        await ledger.beat(self.key, nonce)

    async def _listen(self) -> None:
        """Hear the beats that come back. Without their topic there is nothing to hear, and none is sent."""
        async with self._reader() as consumer:
            if await positioned(consumer, self.key):
                await self._hear(consumer)
        if not self._warned:
            log.warning("no topic %s: no heartbeat rows", RELAY_HEARTBEAT, extra={"lane": str(self.lane)})
        self._warned = True
        await asyncio.sleep(ABSENT_SECONDS)

    async def _hear(self, consumer: AIOKafkaConsumer) -> None:
        self._listening = True
        try:
            async for record in consumer:
                self._back(dict(record.headers).get("ce_id", b"").decode())
        finally:
            self._listening = False

    def _back(self, nonce: str) -> None:
        if (sent := self._sent.pop(nonce, None)) is None:
            return  # an earlier leader's
        self.heard = time.monotonic()
        self._last = self.heard - sent
        metrics.END_TO_END_SECONDS.labels(str(self.lane)).observe(self._last)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka, isolation_level="read_committed", enable_auto_commit=False
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            with suppress(Exception):  # a reader that only listened leaves nothing behind
                await asyncio.wait_for(consumer.stop(), CLOSE_SECONDS)


async def positioned(consumer: AIOKafkaConsumer, key: str) -> bool:
    """At the end of the key's partition; False when the topic does not exist."""
    known = await consumer._client.fetch_all_metadata()
    if not (partitions := known.partitions_for_topic(RELAY_HEARTBEAT)):
        return False
    part = TopicPartition(RELAY_HEARTBEAT, key_hash(key) % len(partitions))
    consumer.assign([part])
    await consumer.seek_to_end(part)
    await consumer.position(part)  # the end is where it is now, not where it is when the first beat came
    return True


def own_key(lane: Lane) -> str:
    """A key of which the lane carries the rows."""
    return next(key for n in itertools.count() if lane.owns(key_hash(key := f"{lane}/{n}")))


NO_TOMORROW = (
    "the outbox has no partition for tomorrow, and writers will fail at midnight UTC: "
    "`millrace relay partitions make`"
)
