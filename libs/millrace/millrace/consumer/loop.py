"""The Kafka side of a consumer: each partition in order, in batches, committed after the database.

Defaults that are wrong for us in the client, and set here: `read_committed`, earliest on the first start and
never again, manual commit, static membership with a session longer than a restart.
Source: facts measured against Kafka 4.3.1 with aiokafka 0.14.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, NoOffsetForPartitionError

from millrace.claims import Claims
from millrace.consumer import metrics
from millrace.consumer.batches import Batches, Report, Rest
from millrace.consumer.decision import Each, Fold
from millrace.consumer.record import Record, read
from millrace.errors import Failure, Poison, Retryable
from millrace.postgres import Pool

log = logging.getLogger("millrace.consumer")

SESSION_SECONDS = 45  # a restart within it moves no partition
POLL_SECONDS = 0.2  # how long one fetch may wait for records
RETRY_SECONDS_MAX = 30.0
CLOSE_SECONDS = 5.0  # for leaving Kafka; the pod's grace is longer than two of them
CLAIMED_BYTES = 32 << 20  # of payloads fetched from an outbox; above it, a transaction takes no more records
STALLED_SECONDS = 30.0  # without a turn of the loop, the consumer is not ready
REJOINS_MAX, REJOINS_SECONDS = 12, 60.0  # more than that: another member has our instance id


Fetched = dict[TopicPartition, list[ConsumerRecord]]


class DeadLetterLimit(Failure):
    """Too many events in a row cannot be applied: more likely our bug than theirs. Nothing more is parked."""


class SeatTaken(Failure):
    """Another live member uses this instance id; the two would swap the seat for ever."""


class Consumer:
    """Feeds a fold, or a handler an event, from Kafka; a part of a service.

    `claims` leads to outboxes in other databases, by their names: for payloads that are too large for Kafka.
    Units:  `batch_max` records a transaction; `dead_letters_max` poisonous among the last `dead_letters_of`.
    Raises: DeadLetterLimit, SeatTaken, OffsetOutOfRangeError (retention passed us by): the process must end.
    Replay: from any offset; what was applied before changes nothing.
    """

    def __init__(
        self,
        consumer: Fold[Any, Any] | Each,
        *,
        topics: Sequence[str],
        pool: Pool,
        kafka: str,
        instance: str = "0",
        batch_max: int = 500,
        dead_letters_max: int = 100,
        dead_letters_of: int = 1000,
        claims: Mapping[str, Pool | str] | None = None,
    ) -> None:
        self.name = consumer.name
        self.batches = Batches(pool, consumer, chain=f"{consumer.name}-{instance}")
        self.topics, self.kafka, self.instance, self.batch_max = list(topics), kafka, instance, batch_max
        self.limit = Limit(dead_letters_max, dead_letters_of)
        self.claims = Claims({"main": pool, **(claims or {})})
        self.turned = 0.0
        self._resting: dict[TopicPartition, _Resting] = {}
        self._rejoins: deque[float] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    def ready(self) -> str:
        """'' once the group has given this member its seat and the loop turns."""
        if not self.turned:
            return "has not joined its group yet"
        still = time.monotonic() - self.turned
        return f"no turn of the loop for {still:.0f} s" if still > STALLED_SECONDS else ""

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish the batches in flight, commit, and keep the seat for the successor."""
        kafka = self._client()
        await _started(kafka, stop)
        kafka.subscribe(self.topics, listener=_Rebalance(self))
        try:
            while not stop.is_set():
                await self._turn(kafka, stop)
        finally:
            await _closed(kafka)
            await self.claims.close()

    def _client(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self.kafka,
            group_id=self.name,
            group_instance_id=f"{self.name}-{self.instance}",
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_SECONDS * 1000,
            heartbeat_interval_ms=3000,
            max_poll_interval_ms=300_000,
            fetch_max_wait_ms=100,
        )

    async def _turn(self, kafka: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        """One fetch, its transaction, its offsets."""
        self._wake(kafka)
        fetched = await self._fetch(kafka, stop)
        if len(self._rejoins) > REJOINS_MAX:
            raise SeatTaken(
                f"{len(self._rejoins)} rejoins in {REJOINS_SECONDS:.0f} s as {self.name}-{self.instance}"
            )
        self._idle.clear()
        try:
            await self._commit(kafka, await self._apply(kafka, fetched))
        finally:
            self._idle.set()
        self.turned = time.monotonic() if kafka.assignment() or self.turned else 0.0
        metrics.LOOP_TURNED.labels(self.name).set_to_current_time()

    async def _fetch(self, kafka: AIOKafkaConsumer, stop: asyncio.Event) -> Fetched:
        """The next records; nothing when told to stop: without a seat the client waits past its time-out."""
        fetching = asyncio.ensure_future(
            kafka.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=self.batch_max)
        )
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not fetching.done():
            fetching.cancel()
            await asyncio.wait([fetching])
            return {}
        try:
            return dict(fetching.result())
        except NoOffsetForPartitionError as first_start:
            for partition in first_start.args:
                await kafka.seek_to_beginning(partition)
            return {}

    async def _apply(self, kafka: AIOKafkaConsumer, fetched: Fetched) -> dict[TopicPartition, int]:
        """Apply what was fetched; the offsets to commit. A partition that has to wait is read again later."""
        if not fetched:
            return {}
        began = time.perf_counter()
        records = [record for of_partition in fetched.values() for record in of_partition]
        report = Report()
        try:
            async for part in self._whole(records):
                report += await self.batches.apply(part)
        except Retryable as problem:  # a payload is out of reach
            report += Report(resting={_place(tp): Rest(str(problem), problem.after) for tp in fetched})
        for tp, found in fetched.items():
            if resting := report.resting.get(_place(tp)):
                self._rest(kafka, tp, report.ends.get(_place(tp), found[0].offset), resting)
            else:
                self._resting.pop(tp, None)
        metrics.observe(self.name, report, time.perf_counter() - began)
        oldest = min(record.timestamp for record in records) / 1000
        metrics.LAG_SECONDS.labels(self.name).set(max(0.0, time.time() - oldest))
        self.limit.count(len(records), report)
        return {TopicPartition(*place): offset for place, offset in report.ends.items()}

    async def _whole(self, found: Sequence[ConsumerRecord]) -> AsyncIterator[list[Record]]:
        """Records with their payloads, as many at a time as may be in memory. What is before one that is out of
        reach is given out first."""
        records: list[Record] = []
        held = 0
        for r in found:
            try:
                records.append(await self._record(r))
            except Retryable:
                if records:
                    yield records
                raise
            held += len(records[-1].value or b"") if records[-1].value is not r.value else 0
            if held > CLAIMED_BYTES:
                yield records
                records, held = [], 0
        if records:
            yield records

    async def _record(self, r: ConsumerRecord) -> Record:
        try:
            headers, value = await self.claims.whole(r.headers, r.value)
        except Poison as poison:
            named = {name: raw for name, raw in r.headers if raw is not None}
            return Record(r.topic, r.partition, r.offset, r.key, named, r.value, None, str(poison))
        return read(r.topic, r.partition, r.offset, r.key, headers, value)

    def _rest(self, kafka: AIOKafkaConsumer, tp: TopicPartition, offset: int, why: Rest) -> None:
        """Pause one partition, longer each time, and read the batch again from its start."""
        rest = self._resting.setdefault(tp, _Resting())
        seconds = rest.again(why.after)
        log.warning(
            "partition rests",
            extra={
                "consumer": self.name,
                "partition": f"{tp.topic}/{tp.partition}",
                "seconds": seconds,
                "why": why.reason,
            },
        )
        metrics.EVENTS.labels(self.name, "retried").inc()
        try:
            kafka.seek(tp, offset)
            kafka.pause(tp)
        except (
            IllegalStateError
        ):  # it was revoked meanwhile: its new owner reads it from the committed offset
            self._resting.pop(tp, None)

    def _wake(self, kafka: AIOKafkaConsumer) -> None:
        """Let partitions go on whose rest is over."""
        now = time.monotonic()
        for tp in [tp for tp, rest in self._resting.items() if rest.until <= now]:
            if tp in kafka.assignment():
                kafka.resume(tp)

    async def _commit(self, kafka: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Tell Kafka how far the database is. A failure costs a second look at the same events, nothing else."""
        if not offsets:
            return
        try:
            await kafka.commit(offsets)
        except (CommitFailedError, IllegalStateError, KafkaError) as problem:
            log.warning("offsets not committed", extra={"consumer": self.name, "why": type(problem).__name__})

    def joined(self) -> None:
        """The group has (again) given this member its seat."""
        now = time.monotonic()
        self._rejoins.append(now)
        while self._rejoins and now - self._rejoins[0] > REJOINS_SECONDS:
            self._rejoins.popleft()
        self._resting.clear()
        metrics.REBALANCES.labels(self.name).inc()

    async def finished(self) -> None:
        """Wait until no batch is in flight: what a partition's next owner relies on."""
        await self._idle.wait()


class Limit:
    """Halts before a bad deploy parks a whole topic."""

    def __init__(self, parked_max: int, of_last: int) -> None:
        self.parked_max, self.of_last = parked_max, of_last
        self.recent: deque[tuple[int, int]] = deque()

    def count(self, records: int, report: Report) -> None:
        """Add a batch. Raises DeadLetterLimit when too many of the last records were parked for good."""
        self.recent.append((records, report.poisoned))
        while sum(n for n, _ in self.recent) - self.recent[0][0] >= self.of_last:
            self.recent.popleft()
        parked = sum(p for _, p in self.recent)
        if parked > self.parked_max:
            raise DeadLetterLimit(
                f"{parked} of the last {sum(n for n, _ in self.recent)} events cannot be applied"
            )


class _Resting:
    """How long a partition rests after a Retryable: doubles up to RETRY_SECONDS_MAX."""

    def __init__(self) -> None:
        self.tries, self.until = 0, 0.0

    def again(self, after: float) -> float:
        seconds: float = min(RETRY_SECONDS_MAX, max(after, 0.02) * 2 ** min(self.tries, 10))
        self.tries, self.until = self.tries + 1, time.monotonic() + seconds
        return seconds


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self.consumer.finished()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.consumer.joined()


def _place(tp: TopicPartition) -> tuple[str, int]:
    return tp.topic, tp.partition


async def _started(kafka: AIOKafkaConsumer, stop: asyncio.Event) -> None:
    """Connect, waiting for a broker as long as it takes."""
    while not stop.is_set():
        try:
            await kafka.start()
            return
        except KafkaError as problem:
            log.warning("no broker yet", extra={"why": type(problem).__name__})
            await asyncio.wait([asyncio.create_task(stop.wait())], timeout=1.0)


async def _closed(kafka: AIOKafkaConsumer) -> None:
    """Close without leaving the group, so that a restart finds its seat.

    In the middle of a rebalance the client would wait for the other members, minutes if need be. Then its
    own wait is cancelled, and the rest of its closing is done here, in its order.
    """
    stopping = asyncio.create_task(kafka.stop())
    if not (await asyncio.wait([stopping], timeout=CLOSE_SECONDS))[1]:
        return
    group = kafka._coordinator
    group._coordination_task.cancel()
    await asyncio.wait([stopping])
    await group._stop_heartbeat_task()
    await group._stop_commit_offsets_refresh_task()
    await kafka._fetcher.close()
    await kafka._client.close()
