"""Settling what an earlier producer left open: look, decide, abort what is open, publish what readers lack.

A broker that dies between deciding a transaction and writing its markers may come back and forget the rest of
them. What is open then would take its end from the *next* transaction of the same producer id. So nothing is
published before the log is whole.

A crash in the middle is harmless. What readers have seen stays seen, and everything else is as unseen after an
abort as before it: whoever comes next finds the same traces and decides the same. What readers lack becomes
visible in one transaction with the cursor that covers it, like any page. ADR 0022.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from aiokafka import TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from outbox_relay import metrics
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import PSEQ, Record
from outbox_relay.domain.undecided import (
    Batch,
    End,
    Mark,
    Partition,
    Puzzle,
    Settlement,
    Traces,
    named,
    settle,
)
from outbox_relay.publisher.client import Producer, filled
from outbox_relay.publisher.cursors import Halted
from outbox_relay.publisher.log import Log, State, Written

log = logging.getLogger("outbox_relay")

LOOK_SECONDS = 0.1  # between two looks at something that is still open
ONE_BATCH = 1 << 30  # bytes: they were one before
WHOLE_LOG = 1 << 62  # bytes: a cursor may lie behind any number of aborted ones


async def settled(
    producer: Producer,
    kafka: str,
    lane: Lane,
    cursor_topic: str,
    *,
    patience_seconds: float,
    deadline_seconds: float,
) -> Cursor | None:
    """The cursor to begin from, once no transaction of the lane is undecided any more.

    `producer` has just fenced every earlier one. Raises: Halted when Kafka cannot tell what became of one; anything
    else means: fence anew.
    """
    async with asyncio.timeout(deadline_seconds + patience_seconds):
        sight = await _undisturbed(producer, lane, cursor_topic, patience_seconds)
    verdict = settle(sight.traces)
    if isinstance(verdict, Puzzle):
        metrics.UNDECIDED.labels(str(lane), "halted").inc()
        raise Halted(PUZZLE.format(lane=lane, why=verdict.words))
    if sight.opened or not verdict.whole:
        async with asyncio.timeout(3 * deadline_seconds):
            await _settle(producer, lane, cursor_topic, sight, verdict)
    return verdict.cursor


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found: the traces, and which partitions are open, by us and by others in our place.

    Whoever wrote our cursor when lanes were divided may be writing rows of its own, in partitions that are not ours.
    """

    log: Log
    traces: Traces
    opened: Sequence[Partition]
    foreign: Sequence[Partition]


async def _undisturbed(producer: Producer, lane: Lane, cursor_topic: str, patience_seconds: float) -> Sight:
    """What is there, once nobody else has anything open where we would read.

    Raises: Halted, when somebody has for longer than a transaction may take. Only its own producer id can end it.
    """
    until = asyncio.get_running_loop().time() + patience_seconds
    while (sight := await look(producer, lane, cursor_topic)).foreign:
        if asyncio.get_running_loop().time() > until:
            raise Halted(UNDECIDED.format(parts=named(sight.foreign), topic=sight.foreign[0][0]))
        await asyncio.sleep(LOOK_SECONDS)
    return sight


async def look(producer: Producer, lane: Lane, cursor_topic: str) -> Sight:
    """First who writes where, then the cursors, then the partitions that they speak of.

    Something may be open where no cursor speaks of: rows of a new topic whose cursor did not reach the log. So
    every partition is asked that may be read, and those of the cursors must be.
    """
    found, own, place = await Log.of(producer.client), producer._txn_manager.producer_id, (cursor_topic, 0)
    if place not in found.leaders:
        raise UnknownTopicOrPartitionError(cursor_topic)
    states = await found.producers(found.leaders, strict=False)
    states |= await found.producers({place} - states.keys())
    marks = await _marks(found, place, states[place])
    claimed = {part for mark, _ in marks for part in _claims(mark) if part in found.leaders}
    states |= await found.producers(claimed - states.keys())
    ours = {own, *(mark.author.producer_id for mark, _ in marks)}
    there = {part: by if part == place else _ours(by, ours) for part, by in states.items()}
    return Sight(
        found,
        await _traces(found, marks, {part: there[part] for part in claimed}),
        opened=sorted(part for part, by in there.items() if own in _opened(by)),
        foreign=sorted(
            part
            for part, by in there.items()
            if _opened(by).keys() - {own} and (part == place or lane.owns(part[1]))
        ),
    )


async def _traces(
    found: Log, marks: Sequence[tuple[Mark, End]], claimed: Mapping[Partition, Mapping[int, State]]
) -> Traces:
    kept = next((mark for mark, end in marks if end is End.COMMITTED), None)
    loose = [mark for mark, end in marks if end is not End.COMMITTED]
    tails = await asyncio.gather(*(_tail(found, part, by, kept, loose) for part, by in claimed.items()))
    return Traces(kept, loose, dict(zip(claimed, tails, strict=True)))


async def _marks(found: Log, place: Partition, states: Mapping[int, State]) -> list[tuple[Mark, End]]:
    """The cursors from the last committed one on, newest first."""
    batches = await found.tail(
        place, _opened(states), lambda _: True,
        lambda batches: any(batch.end is End.COMMITTED for batch in batches), most=WHOLE_LOG,
    )  # fmt: skip
    committed = [at for at, batch in enumerate(batches) if batch.end is End.COMMITTED]
    return [
        (Mark(Cursor.parse(record.value), batch.author), batch.end)
        for batch in reversed(batches[committed[-1] if committed else 0 :])
        for record in reversed(batch.records)
    ]


def _claims(mark: Mark) -> Iterator[Partition]:
    """The partitions into which it says that something was published."""
    for topic, numbers in mark.cursor.pseq.items():
        yield from ((topic, place) for place, number in enumerate(numbers) if number)


def _ours(states: Mapping[int, State], ours: set[int]) -> dict[int, State]:
    return {producer: state for producer, state in states.items() if producer in ours}


def _opened(states: Mapping[int, State]) -> dict[int, int]:
    return {producer: state.start for producer, state in states.items() if state.start >= 0}


async def _tail(
    found: Log, part: Partition, states: Mapping[int, State], kept: Mark | None, loose: Sequence[Mark]
) -> list[Batch]:
    """The lane's last batches in the partition; none, without reading, where it can only be whole."""
    claimed = kept.number(part) if kept else 0
    if not any(mark.number(part) > claimed for mark in loose) and not _touched(states, kept):
        return []

    def enough(batches: Sequence[Written]) -> bool:
        before = [
            batch for batch in map(_numbered, batches) if kept and batch and batch.author.before(kept.author)
        ]
        seen = [batch for batch in map(_numbered, batches) if batch and batch.end is End.COMMITTED]
        return bool(before) or any(batch.first <= claimed + 1 for batch in seen)

    written = await found.tail(part, _opened(states), states.__contains__, enough)
    return [batch for batch in map(_numbered, written) if batch]


def _touched(states: Mapping[int, State], kept: Mark | None) -> bool:
    """Something is open there, or was ended by a later producer than the cursor's: nobody else aborts."""
    return any(
        kept is None
        or state.start >= 0
        or producer != kept.author.producer_id
        or state.epoch > kept.author.epoch
        for producer, state in states.items()
    )


def _numbered(written: Written) -> Batch | None:
    numbers = [_number(record.headers) for record in written.records]
    return (
        Batch(written.author, written.offset, numbers[0], numbers[-1], written.end) if all(numbers) else None
    )


def _number(headers: Sequence[tuple[str, bytes]]) -> int:
    return next((int(value) for name, value in headers if name == PSEQ), 0)


async def _settle(
    producer: Producer, lane: Lane, cursor_topic: str, sight: Sight, verdict: Settlement
) -> None:
    """Writes: markers into what is open, and then, in one transaction, what readers lack with its cursor."""
    name = "aborted" if verdict.whole else "completed"
    told = {"open": named(sight.opened), "rows": sum(map(len, verdict.copies.values()))}
    log.warning("undecided transaction", extra={"lane": str(lane), "verdict": name, **told})
    if sight.opened:
        await _abort(producer, sight)
    if not verdict.whole:
        await _complete(producer, cursor_topic, sight.log, verdict)
    metrics.UNDECIDED.labels(str(lane), name).inc()


async def _abort(producer: Producer, sight: Sight) -> None:
    """A transaction that writes nothing: its markers end whatever of this producer id is open there.

    Returns when they are written. Before that the end of a further transaction could take their place.
    """
    own = producer._txn_manager.producer_id
    await producer.begin_transaction()
    for part in sight.opened:
        producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(*part))
    await producer.abort_transaction()
    while await _still(own, sight):  # noqa: ASYNC110 a broker tells nobody
        await asyncio.sleep(LOOK_SECONDS)


async def _still(own: int, sight: Sight) -> bool:
    states = await sight.log.producers(sight.opened)
    return any(own in _opened(by) for by in states.values())


async def _complete(producer: Producer, cursor_topic: str, found: Log, verdict: Settlement) -> None:
    """What readers lack, and the cursor that covers it."""
    assert verdict.cursor is not None, "copies without a cursor"
    groups = [(cursor_topic, 0, [Record(b"cursor", verdict.cursor.record(), [])])]
    for (topic, place), copies in verdict.copies.items():
        for batch, numbers in groupby(sorted(copies), copies.__getitem__):
            records = await found.records((topic, place), batch.offset)
            groups.append((topic, place, _chosen(records, set(numbers))))
    await producer.begin_transaction()
    sent = [
        await producer.send_batch(packed, topic, partition=place)
        for topic, place, records in groups
        for packed in filled(records, ONE_BATCH, transactional=True)
    ]
    await asyncio.gather(*sent)
    await producer.commit_transaction()


def _chosen(records: Sequence[Record], numbers: set[int]) -> list[Record]:
    """As they are in the log."""
    chosen = (record for record in records if _number(record.headers) in numbers)
    return [Record(record.key, record.value, list(record.headers)) for record in chosen]


UNDECIDED = (
    "a transaction of an earlier producer is still open in {parts}, longer than any may take, and only that producer "
    "or an administrator can end it. Find it with `kafka-transactions.sh find-hanging --topic {topic}`, abort it "
    "with `kafka-transactions.sh abort` in every partition that it is open in, and start the relay again"
)
PUZZLE = (
    "lane {lane}: {why}. Publishing on could lose or double rows. See with `kafka-transactions.sh "
    "describe-producers` and `millrace relay audit` what is there, put the lane where it belongs with `millrace "
    "relay cursor set`, and start the relay again"
)
