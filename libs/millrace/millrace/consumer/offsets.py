"""Where a partition goes on: from Kafka's committed offset, which follows what the database has decided.

Kafka has it                        from there; what the database is ahead by drops out as duplicates
Kafka lost it, the database has it  from there, if the topic still holds that record
neither has it                      a first start: from the topic's beginning
the record is gone from the topic   OffsetsLost: a person decides, nothing is skipped in silence
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from millrace.consumer import client, metrics
from millrace.consumer.batches import Batches
from millrace.errors import Failure

log = logging.getLogger("millrace.consumer")

ASK_SECONDS = 10.0


class OffsetsLost(Failure):
    """The topic no longer holds the record with which a partition has to go on."""


class Offsets:
    """Places a consumer's partitions, and tells Kafka how far the database is."""

    def __init__(self, kafka: AIOKafkaConsumer, batches: Batches, name: str) -> None:
        self.kafka, self.batches, self.name = kafka, batches, name
        self._pending: dict[TopicPartition, int] = {}
        self._sending: asyncio.Task[None] | None = None

    async def place(
        self, lost: Collection[TopicPartition], others: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where to go on in partitions for which Kafka has no offset, or one that the topic does not hold; of the
        others, in those of which the same can be said.

        Raises: OffsetsLost; Retryable, KafkaError or TimeoutError when nobody can be asked now.
        """
        known, asked = await self.batches.progress(), [*lost, *others]
        async with asyncio.timeout(ASK_SECONDS):
            begins = await self.kafka.beginning_offsets(asked)
            ends = await self.kafka.end_offsets(asked)
            there = await client.committed(self.kafka, asked)
        places = {}
        for tp in asked:
            if tp in others and begins[tp] <= there.get(tp, -1) <= ends[tp]:
                continue  # the client is about to go there itself
            if progress := known.get((tp.topic, tp.partition)):
                places[tp] = _held(self.name, tp, progress.next_offset, begins[tp], ends[tp])
                self._recovered(tp, places[tp])
            else:
                places[tp] = _first(self.name, tp, there.get(tp), begins[tp])
        return places

    async def compare(self) -> None:
        """Say so when somebody has moved Kafka's offsets past what the database has decided."""
        known = await self.batches.progress()
        async with asyncio.timeout(ASK_SECONDS):
            there = await client.committed(self.kafka, self.kafka.assignment())
        for tp, offset in there.items():
            progress = known.get((tp.topic, tp.partition))
            if progress and offset > progress.next_offset:
                log.error(
                    "the committed offset is ahead of the database: what lies between is skipped",
                    extra={**self._named(tp), "committed": offset, "decided": progress.next_offset},
                )

    def decided(self, ends: Mapping[TopicPartition, int]) -> None:
        """Commit these when Kafka gets to it. A failure costs a second look at the same events, nothing else."""
        self._pending.update(ends)
        if self._pending and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send())

    async def settled(self, seconds: float) -> None:
        """Commit what is left now, or leave it."""
        if self._sending and (await asyncio.wait({self._sending}, timeout=seconds))[1]:
            self._sending.cancel()
            await asyncio.wait({self._sending})
        self._pending.clear()

    async def _send(self) -> None:
        while self._pending:
            offsets, self._pending = self._pending, {}
            ours = {tp: offset for tp, offset in offsets.items() if tp in self.kafka.assignment()}
            try:
                if ours:
                    async with asyncio.timeout(ASK_SECONDS):
                        await self.kafka.commit(ours)
            except (KafkaError, TimeoutError) as problem:
                log.warning(
                    "offsets not committed", extra={"consumer": self.name, "why": type(problem).__name__}
                )

    def _recovered(self, tp: TopicPartition, offset: int) -> None:
        metrics.OFFSETS_RECOVERED.labels(self.name).inc()
        log.warning(
            "Kafka had no offset that the topic holds: goes on from the database's",
            extra={**self._named(tp), "offset": offset},
        )

    def _named(self, tp: TopicPartition) -> dict[str, object]:
        return {"consumer": self.name, "partition": _words(tp)}


def _held(name: str, tp: TopicPartition, offset: int, begin: int, end: int) -> int:
    """The database's offset, if the topic holds it. Raises: OffsetsLost."""
    if offset < begin:
        gone = f"it begins at {begin:,}: {begin - offset:,} offsets were removed before they were applied"
        raise OffsetsLost(LOST.format(name=name, tp=_words(tp), offset=offset, why=gone))
    if offset > end:
        gone = f"it ends at {end:,}: the topic was made anew, or lost records"
        raise OffsetsLost(LOST.format(name=name, tp=_words(tp), offset=offset, why=gone))
    return offset


def _first(name: str, tp: TopicPartition, committed: int | None, begin: int) -> int:
    """A first start, unless Kafka's offset is what the topic does not hold. Raises: OffsetsLost."""
    if committed is not None:
        raise OffsetsLost(UNHELD.format(name=name, tp=_words(tp), offset=committed, begin=begin))
    return begin


def _words(tp: TopicPartition) -> str:
    return f"{tp.topic}/{tp.partition}"


NEXT = (
    "What is missing can be published again with `millrace relay replay --since …`, as far as the outbox has it; "
    "to go on, `millrace consumers reset-offsets {name}`"
)
LOST = "{name} has decided {tp} up to {offset:,}, and " + "{why}. " + NEXT
UNHELD = (
    "{name} has committed {offset:,} in {tp}, which begins at {begin:,}: what lies between is gone. " + NEXT
)
