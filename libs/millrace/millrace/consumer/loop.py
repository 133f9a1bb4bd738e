"""The Kafka side of a consumer: each partition in order, in batches, committed after the database.

    take the seat → join the group → [ fetch and decode ahead ‖ one batch, one transaction → offsets ] → keep the seat

While that goes on, somebody looks every second what operators ask, and whether Kafka is still heard.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from millrace.claims import Claims
from millrace.consumer import client, metrics
from millrace.consumer.ahead import Ahead, Batch, First
from millrace.consumer.batches import Batches, Report, Rest
from millrace.consumer.control import Control
from millrace.consumer.decision import Each, Fold
from millrace.consumer.lag import Lag
from millrace.consumer.offsets import Offsets
from millrace.consumer.pace import Pace, Rests
from millrace.consumer.seat import PATIENCE_SECONDS, Seat, SeatTaken
from millrace.consumer.watch import TICK_SECONDS, Watch
from millrace.errors import Retryable
from millrace.postgres import Pool

log = logging.getLogger("millrace.consumer")

SESSION_SECONDS = 45.0  # a restart within it moves no partition
DEAF_SECONDS = 120.0  # longer than a session, and than an outage that nobody needs to hear of
REVOKE_SECONDS = 20.0  # for the batch in flight, when the group takes partitions away; at most half a session
BATCH_SECONDS = 2.0  # a batch that takes longer makes the next one smaller
HUNG_SECONDS = 240.0  # for one batch; below the client's own patience
BATCH_BYTES = 16 << 20  # decoded, in one transaction, and as much again ahead of it
STALLED_SECONDS = 30.0  # without a turn of the loop, the consumer is not ready
MEASURE_SECONDS, PARKED_SECONDS, SEAT_SECONDS = 2.0, 10.0, 5.0  # how often each is looked after
LOST_SEATS_MAX, LOST_SEATS_SECONDS = 5, 60.0  # more than that: a process with another database has our name
AGAIN_SECONDS = 0.5  # before Kafka is asked again after an error


class Consumer:
    """Feeds a fold, or a handler an event, from Kafka; a part of a service.

    `claims` leads to outboxes in other databases, by their names: for payloads that are too large for Kafka.
    Units:  `batch_max` records and `batch_bytes` a transaction; `dead_letters_max` poisonous ones within
            `dead_letters_seconds`; `session_seconds` for a restart that moves nothing; `deaf_seconds` of silence;
            `seat_seconds` for a predecessor of this name to leave.
    Raises: DeadLetterLimit, SeatTaken, OffsetsLost, Deaf: the process must end, and says what to do.
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
        batch_bytes: int = BATCH_BYTES,
        dead_letters_max: int = 100,
        dead_letters_seconds: float = 3600.0,
        session_seconds: float = SESSION_SECONDS,
        deaf_seconds: float = DEAF_SECONDS,
        seat_seconds: float = PATIENCE_SECONDS,
        claims: Mapping[str, Pool | str] | None = None,
    ) -> None:
        if not topics or isinstance(topics, str):
            raise ValueError(f"{consumer.name}: topics is a list of one name or more, not {topics!r}")
        if deaf_seconds <= session_seconds:
            raise ValueError(
                f"{consumer.name}: deaf_seconds must be longer than session_seconds, {session_seconds:.0f}"
            )
        self.name, self.schema, self.pool = consumer.name, consumer.name, pool
        self.batches = Batches(
            pool,
            consumer,
            chain=f"{consumer.name}-{instance}",
            dead_letters_max=dead_letters_max,
            dead_letters_seconds=dead_letters_seconds,
        )
        self.topics, self.kafka, self.instance, self.batch_bytes = list(topics), kafka, instance, batch_bytes
        self.session_seconds, self.deaf_seconds, self.seat_seconds = (
            session_seconds,
            deaf_seconds,
            seat_seconds,
        )
        self.claims = Claims({"main": pool, **(claims or {})})
        self.pace = Pace(batch_max, BATCH_SECONDS)
        self.turned, self.waits_for = 0.0, "its seat"
        self._resting: dict[TopicPartition, Rests] = {}

    def ready(self) -> str:
        """'' once the group has given this member its seat and the loop turns; otherwise what it waits for."""
        if not self.turned:
            return f"has not joined its group yet: waits for {self.waits_for}"
        still = time.monotonic() - self.turned
        return (
            f"no turn of the loop for {still:.0f} s: waits for {self.waits_for}"
            if still > STALLED_SECONDS
            else ""
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish the batch in flight, commit, and keep the seat for the successor."""
        named = f"{self.schema}: {self.name}-{self.instance}"
        seat = Seat(self.pool, named, patience_seconds=self.seat_seconds)
        try:
            if await _unless(stop, seat.take()):
                self.waits_for = "a broker"
                await self._member(stop, seat)
        finally:
            await seat.leave()
            await self.claims.close()

    async def _member(self, stop: asyncio.Event, seat: Seat) -> None:
        instance = client.instance(f"{self.name}-{self.instance}", self.topics)
        kafka = client.client(self.kafka, self.name, instance, self.session_seconds)
        try:
            if await _unless(stop, client.started(kafka)):
                await _Member(self, kafka, seat).run(stop)
        finally:
            await client.closed(kafka)


class _Member:
    """One stay in the group: what there is between joining it and leaving it."""

    def __init__(self, of: Consumer, kafka: AIOKafkaConsumer, seat: Seat) -> None:
        self.of, self.kafka, self.seat, self.name = of, kafka, seat, of.name
        self.ahead = Ahead(kafka, of.claims, bytes_max=of.batch_bytes)
        self.offsets = Offsets(kafka, of.batches, of.name)
        self.control = Control(of.batches, of.pool, of.name, of.topics)
        self.watch = Watch(kafka, of.name, deaf_seconds=of.deaf_seconds, batch_seconds=HUNG_SECONDS)
        self.lag = Lag(of.name)
        self.resting = of._resting
        self._fetching: asyncio.Task[Batch] | None = None
        self._working: asyncio.Task[None] | None = None
        self._batch = Batch()  # the one in its transaction
        self._seats: deque[float] = deque()  # when it was lost
        self._seat, self._fenced, self._compared = "", False, True

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or the first failure of any of these."""
        of = self.of
        client.listen(self.kafka, self._heard)
        self.kafka.subscribe(of.topics, listener=_Rebalance(self))
        of.waits_for = "the group"
        work = [
            self._consume(stop),
            _every(TICK_SECONDS, self._look),
            _every(TICK_SECONDS, self.control.ask),
            _every(SEAT_SECONDS, self.seat.keep),
            _every(MEASURE_SECONDS, self._measure),
            _every(PARKED_SECONDS, self.control.count_parked),
        ]
        tasks = [asyncio.create_task(each) for each in work]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
            await self.offsets.settled(client.CLOSE_SECONDS)
        finally:
            await _cancelled(*tasks, self._fetching, self._working)

    async def _consume(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake()
            batch = await self._next(stop)
            await self.control.redrive()
            if batch.stands:
                await self._work(batch)
            self._turned()
            metrics.LOOP_TURNED.labels(self.name).set_to_current_time()

    def _turned(self) -> None:
        if self.control.paused is None:
            self.of.waits_for = f"its database: {self.control.away}"
        elif self.kafka.assignment() or self.of.turned:
            self.of.turned = time.monotonic()

    async def _next(self, stop: asyncio.Event) -> Batch:
        """The batch that was fetched meanwhile, and the next fetch begun. Empty when told to stop, or paused."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self.ahead.next(self.of.pace.records))
        if not await _unless(stop, asyncio.wait({self._fetching})):
            return Batch()
        if self.control.paused != "":
            await _unless(stop, self._rest_all())
            return Batch()
        fetched, self._fetching = self._fetching, None
        batch = await self._told(fetched)
        self._fetching = asyncio.create_task(self.ahead.next(self.of.pace.records))
        return batch

    async def _rest_all(self) -> None:
        """An operator wants it to rest: nothing more is fetched, and the client is told that somebody is there."""
        self.kafka.pause(*self.kafka.assignment())
        await self._told(asyncio.ensure_future(self.ahead.poll(self.of.pace.records)))

    async def _told(self, fetched: asyncio.Future[Any]) -> Batch:
        """What was fetched; where the client refuses, its reason is dealt with, or waited out."""
        try:
            batch = await fetched or Batch()
            self.watch.refused = ""
            return batch
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as lost:
            await self._place(lost)
        except CorruptRecordException:
            raise  # it would be met again and again, between the records of others
        except KafkaError as problem:  # the watch bounds for how long
            self._refused(type(problem).__name__)
            await asyncio.sleep(AGAIN_SECONDS)
        return Batch()

    def _refused(self, why: str) -> None:
        if why != self.watch.refused:
            log.warning("Kafka refuses", extra={"consumer": self.name, "why": why})
        self.of.waits_for = self.watch.refused = why

    async def _place(self, lost: KafkaError) -> None:
        """Raises: OffsetsLost."""
        named = {tp for part in lost.args for tp in (part if isinstance(part, dict) else [part])}
        assigned = self.kafka.assignment()
        unplaced = {tp for tp in assigned if client.position(self.kafka, tp) is None}
        try:
            for tp, offset in (await self.offsets.place(named & assigned, unplaced - named)).items():
                if tp in self.kafka.assignment():
                    self.ahead.drop(tp)
                    self.kafka.seek(tp, offset)
        except (Retryable, KafkaError, TimeoutError) as away:  # the client will say it again
            log.warning(
                "no place to go on from yet", extra={"consumer": self.name, "why": type(away).__name__}
            )
            await asyncio.sleep(AGAIN_SECONDS)

    async def _work(self, batch: Batch) -> None:
        """Apply it, unless it is taken away while it is applied."""
        self._batch = batch
        self.watch.began()
        self._working = asyncio.create_task(self._apply(batch))
        try:
            await asyncio.wait({self._working})
            if not self._working.cancelled():
                self._working.result()
        finally:
            await _cancelled(self._working)
            self._working, self._batch = None, Batch()
            self.watch.ended()

    async def _apply(self, fetched: Batch) -> None:
        """What is still ours of it in one transaction; where a partition has to wait, it is read again later."""
        batch = self.ahead.fresh(fetched)
        if not batch.stands:
            return
        began = time.perf_counter()
        report = await self.of.batches.apply(batch.records) if batch.records else Report()
        took = time.perf_counter() - began
        away = {(tp.topic, tp.partition): rest for tp, (_, rest) in batch.out_of_reach.items()}
        report += Report(resting={**away, **report.resting})
        if batch.records:
            self.of.pace.took(len(batch.records), took)
            metrics.observe(self.name, report, len(batch.records), took)
            metrics.effective(self.name, self._longest(batch, report))
        still = self.ahead.fresh(batch).stands  # what was taken away meanwhile is another's to commit
        self.offsets.decided({tp: report.ends[place(tp)] for tp in still if place(tp) in report.ends})
        for tp in still:
            if resting := report.resting.get(place(tp)):
                self._rest(batch, tp, report.ends.get(place(tp)), resting)
            else:
                self.resting.pop(tp, None)

    def _longest(self, batch: Batch, report: Report) -> list[Any]:
        """The records that waited longest, one a partition, of a batch in which something new was decided."""
        if not report.applied + report.noop:
            return []
        firsts = {tp: offset for tp, (offset, _) in batch.firsts.items()}
        decided = [r for r in batch.records if report.ends.get((r.topic, r.partition), 0) > r.offset]
        return [r for r in decided if firsts[TopicPartition(r.topic, r.partition)] == r.offset]

    def _rest(self, batch: Batch, tp: TopicPartition, end: int | None, why: Rest) -> None:
        """Pause one partition, longer each time, and read it again from what is not decided."""
        first, since = batch.firsts[tp]
        rest = self.resting.setdefault(tp, Rests())
        rest.offset, rest.since = first if end is None else end, since
        seconds = rest.again(why.after)
        said = {"partition": f"{tp.topic}/{tp.partition}", "seconds": seconds, "why": why.reason}
        log.warning("partition rests", extra={"consumer": self.name, **said})
        self.ahead.drop(tp)
        try:
            self.kafka.seek(tp, rest.offset)
            self.kafka.pause(tp)
        except IllegalStateError:  # revoked meanwhile: its new owner reads it from the committed offset
            self.resting.pop(tp, None)

    def _wake(self) -> None:
        """Let partitions go on whose rest is over, and all of them when an operator's is."""
        if self.control.paused != "":
            return
        now = time.monotonic()
        resting = {tp for tp, rest in self.resting.items() if rest.until > now}
        if over := set(self.kafka.paused()) - resting:
            self.kafka.resume(*over)

    async def revoked(self) -> None:
        """The group takes every partition away: what is in flight ends in time, or is rolled back."""
        self.ahead.drop_all()
        self.resting.clear()
        self.of.waits_for = "the group"
        seconds, working = min(REVOKE_SECONDS, self.of.session_seconds / 2), self._working
        if working and (await asyncio.wait({working}, timeout=seconds))[1]:
            log.warning(
                "batch rolled back for a rebalance", extra={"consumer": self.name, "seconds": seconds}
            )
            await _cancelled(working)
        await self.offsets.settled(min(seconds, client.CLOSE_SECONDS))

    def joined(self) -> None:
        """The group has given this member its seat, again. Raises nothing: the client would swallow it."""
        seat, before = client.seat_of(self.kafka), self._seat
        if before and seat != before:
            self._seats.append(time.monotonic())
        self._seat, self._compared = seat, False
        self.of.waits_for = "records"
        self.watch.heard()
        metrics.REBALANCES.labels(self.name).inc()
        partitions = len(self.kafka.assignment())
        log.info("seat in the group", extra={"consumer": self.name, "partitions": partitions})
        if self.control.paused != "":
            self.kafka.pause(*self.kafka.assignment())

    def _heard(self, seated: bool) -> None:
        self._fenced = not seated
        if seated:
            self.watch.heard()

    async def _look(self) -> None:
        """Raises: Deaf, SeatTaken."""
        self.watch.look()
        if self._fenced:
            raise SeatTaken(FENCED.format(seat=f"{self.name}-{self.of.instance}"))
        metrics.SILENCE.labels(self.name).set(self.watch.silence())
        while self._seats and time.monotonic() - self._seats[0] > LOST_SEATS_SECONDS:
            self._seats.popleft()
        if len(self._seats) > LOST_SEATS_MAX:
            raise SeatTaken(SWAPPED.format(n=len(self._seats), seat=f"{self.name}-{self.of.instance}"))

    async def _measure(self) -> None:
        """How far behind it is; and once for each assignment, whether somebody moved its offsets."""
        assigned = self.kafka.assignment()
        try:
            if assigned and not self._compared:
                self._compared = True
                await self.offsets.compare()
            async with asyncio.timeout(client.CLOSE_SECONDS):
                ends = await self.kafka.end_offsets(list(assigned)) if assigned else {}
        except (Retryable, KafkaError, TimeoutError) as away:  # what was last known stands
            log.debug("not measured", extra={"consumer": self.name, "why": type(away).__name__})
            return
        positions = {tp: at for tp in assigned if (at := client.position(self.kafka, tp)) is not None}
        self.lag.measure(ends, self._undecided(), positions, int(time.time() * 1000))

    def _undecided(self) -> dict[TopicPartition, First]:
        resting = {tp: (rest.offset, rest.since) for tp, rest in self.resting.items()}
        return {**self.ahead.firsts(), **resting, **self.ahead.fresh(self._batch).firsts}


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    def __init__(self, member: _Member) -> None:
        self.member = member

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self.member.revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.member.joined()


NAMES = (
    "another live process has its name, with another database. Give each process an instance of its own "
    "(<NAME>_INSTANCE), or end the other one"
)
FENCED = "{seat}: the group has given its seat away: " + NAMES
SWAPPED = "{seat} lost its seat in the group {n} times within a minute: " + NAMES


def place(tp: TopicPartition) -> tuple[str, int]:
    return tp.topic, tp.partition


async def _every(seconds: float, step: Callable[[], Awaitable[None]]) -> None:
    """Until it fails."""
    while True:
        await step()
        await asyncio.sleep(seconds)


async def _unless(stop: asyncio.Event, work: Awaitable[Any]) -> bool:
    """Wait for the work unless told to stop; whether it was done. Raises: what it raises."""
    working, stopping = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:
        await _cancelled(working, stopping)


async def _cancelled(*tasks: asyncio.Future[Any] | None) -> None:
    """End these, and see them end."""
    left = [task for task in tasks if task and not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
