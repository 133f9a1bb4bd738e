"""Transactions whose end a broker forgot, made on purpose.

A broker that does not verify transactions takes records of a transaction that the partition was never added to; its
end is then written everywhere else. That is the log which a broker leaves that died between deciding and writing
its markers, without the luck that it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import kafka
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.undecided import Partition
from outbox_relay.publisher import Batches, TxnPublisher, last_cursor, undecided
from outbox_relay.publisher.client import Producer
from outbox_relay.publisher.log import Log
from tests.integration.outbox_relay.arena import until
from tests.support.kafka import read_all

CURSOR = -1  # stands for the cursor's partition among those of a topic
UNVERIFIED = "transaction.partition.verification.enable=false\n"


class BrokerDied(Exception):
    """What a relay learns of it, at most."""


@dataclass
class Accident:
    """At one page of the relay's life, the end of its transaction reaches all partitions but some.

    page        counted from 1, over all incarnations
    forgotten   which of the page's partitions are left open; CURSOR is the cursor's
    end         commit, abort, or '' when nobody ever asked for it; 'no cursor' when not even that was sent
    noticed     the relay starts over at once; otherwise it goes on, and dies with its next page unfinished
    """

    page: int
    forgotten: Callable[[int], bool]
    end: str
    noticed: bool = True
    pages: int = 0

    def strike(self, patch: pytest.MonkeyPatch) -> None:
        send, commit = TxnPublisher.send, TxnPublisher.commit

        async def sending(publisher: TxnPublisher, batches: Batches, cursor: Cursor) -> None:
            self.pages += bool(batches)
            if self.pages == self.page and batches:
                assert publisher.producer is not None
                await forget(publisher.producer, self._of(publisher, batches))
            if self.pages == self.page and self.end == "no cursor":
                await without_cursor(publisher._live, batches)
            else:
                await send(publisher, batches, cursor)

        async def committing(publisher: TxnPublisher) -> None:
            assert publisher.producer is not None
            if self.pages == self.page and self.end == "commit":
                await commit(publisher)
            if self.pages == self.page and self.end == "abort":
                await publisher.producer.abort_transaction()
            if self.pages == self.page + (not self.noticed):
                self.pages += 1
                raise BrokerDied
            if self.pages != self.page:
                await commit(publisher)

        patch.setattr(TxnPublisher, "send", sending)
        patch.setattr(TxnPublisher, "commit", committing)

    def _of(self, publisher: TxnPublisher, batches: Batches) -> list[Partition]:
        left = [(topic, number) for topic, number, _ in batches if self.forgotten(number)]
        return left + [(publisher.cursor_topic, 0)] * self.forgotten(CURSOR)


async def forget(producer: Producer, parts: Iterable[Partition]) -> None:
    """The client believes that these are part of the transaction; the coordinator never hears of them.

    Not before the markers of the last one are there: they would end this one as well.
    """
    forgotten, own = list(parts), producer._txn_manager.producer_id
    found = await Log.of(producer.client)

    async def ended() -> bool:
        states = (await found.producers(forgotten)).values()
        return all(state[own].start < 0 for state in states if own in state)

    await until(ended)
    producer._txn_manager._txn_partitions.update(TopicPartition(*part) for part in forgotten)


async def without_cursor(producer: Producer, batches: Batches) -> None:
    await producer.begin_transaction()
    sent = [await producer.send_batch(batch, topic, partition=number) for topic, number, batch in batches]
    await asyncio.gather(*sent)


async def unsettled(
    producer: Producer, kafka: str, lane: Lane, cursor_topic: str, **_: float
) -> Cursor | None:
    """What a relay without the remedy would do: begin from the last cursor that it can see."""
    return await last_cursor(kafka, cursor_topic)


def interrupt(patch: pytest.MonkeyPatch, where: str) -> list[str]:
    """The first attempt to settle dies at this point; returns what has died."""
    died: list[str] = []

    def die() -> None:
        died.append(where)
        raise BrokerDied

    POINTS[where](patch, lambda: None if died else die())
    return died


def _while_aborting(patch: pytest.MonkeyPatch, here: Callable[[], None]) -> None:
    abort = Producer.abort_transaction

    async def aborting(producer: Producer) -> None:
        await until(lambda: not producer._txn_manager.partitions_to_add())
        here()
        await abort(producer)

    patch.setattr(Producer, "abort_transaction", aborting)


def _after_aborting(patch: pytest.MonkeyPatch, here: Callable[[], None]) -> None:
    complete = undecided._complete

    async def completing(*given: Any) -> None:
        here()
        await complete(*given)

    patch.setattr(undecided, "_complete", completing)


def _before_the_commit(patch: pytest.MonkeyPatch, here: Callable[[], None]) -> None:
    _at_the_commit(patch, lambda producer: [], here, commits=False)


def _without_the_cursors_marker(patch: pytest.MonkeyPatch, here: Callable[[], None]) -> None:
    _at_the_commit(patch, lambda parts: [parts[0]], here, commits=True)


def _without_the_copies_markers(patch: pytest.MonkeyPatch, here: Callable[[], None]) -> None:
    _at_the_commit(patch, lambda parts: parts[1:], here, commits=True)


def _at_the_commit(
    patch: pytest.MonkeyPatch,
    forgotten: Callable[[list[Partition]], list[Partition]],
    here: Callable[[], None],
    *,
    commits: bool,
) -> None:
    complete, commit = undecided._complete, Producer.commit_transaction
    completing: list[Producer] = []
    times: list[bool] = []

    async def watched(producer: Producer, cursor_topic: str, found: Any, verdict: Any) -> None:
        completing.append(producer)
        if not times:
            await forget(producer, forgotten([(cursor_topic, 0), *verdict.copies]))
        times.append(True)
        await complete(producer, cursor_topic, found, verdict)

    async def committing(producer: Producer) -> None:
        if producer in completing and len(times) == 1 and not commits:
            here()
        await commit(producer)
        if producer in completing and len(times) == 1:
            here()

    patch.setattr(undecided, "_complete", watched)
    patch.setattr(Producer, "commit_transaction", committing)


POINTS = {
    "while aborting": _while_aborting,
    "after aborting": _after_aborting,
    "before the commit": _before_the_commit,
    "without the cursor's marker": _without_the_cursors_marker,
    "without the copies' markers": _without_the_copies_markers,
}


def careless(folder: Path) -> kafka.Cluster:
    """One broker that takes records of transactions which it knows nothing of. Raises: StackError."""
    cluster = kafka.Cluster.new(folder, 1, print)
    (broker,) = cluster.brokers
    broker.format([broker.ports])
    with (broker.home / "server.properties").open("a") as settings:
        settings.write(UNVERIFIED)
    broker.start()
    return cluster


async def make_topics(address: str, topic: str, cursor: str, partitions: int = 3) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    compact = {"cleanup.policy": "compact"}
    await admin.create_topics([NewTopic(topic, partitions, 1), NewTopic(cursor, 1, 1, topic_configs=compact)])
    await admin.close()
    for name in (topic, cursor):  # until they have leaders
        await read_all(address, name, deadline_seconds=60)
