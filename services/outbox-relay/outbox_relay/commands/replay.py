"""Rows published again from PostgreSQL, after Kafka lost them, or for a reader that needs them once more.

The records carry an operator's word and no number of their partition: audits pass over them, and consumers drop what
they know. They come behind newer news of their key, so a reader without that memory goes back in time.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from millrace import topics
from millrace.errors import Misconfigured
from millrace.postgres import Connection
from outbox_relay.commands.watch import MAIN, standing
from outbox_relay.domain.cursor import Cursor
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import PSEQ, REPLAY, Knowledge, Plan, Record, Row, Rules, plan
from outbox_relay.publisher.client import Catalog, Producer
from outbox_relay.publisher.txn import delivered, encoded
from outbox_relay.store import replays
from outbox_relay.store.claims import claim
from outbox_relay.store.replays import Asked, Chosen

SECONDS, TRANSACTION_SECONDS, BATCH_BYTES = 30.0, 30.0, 1_000_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many rows went out again, by the topic they went to; and those that could not."""

    topics: dict[str, int]
    refused: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.topics.values())


async def chosen(
    connection: Connection, kafka: str, lanes: Sequence[Lane], asked: Asked, prefix: str = topics.RELAY_CURSOR
) -> Chosen:
    """What a replay would publish, over all lanes; rows that have not been published yet are left to the relay."""
    total = Chosen(0, 0, 0)
    for lane in lanes:
        if cursor := await standing(connection, kafka, lane, prefix):
            found = await replays.chosen(connection, cursor, lane, asked)
            total = Chosen(*map(sum, zip(total, found, strict=True)))
    return total


async def replay(
    connection: Connection,
    kafka: str,
    lanes: Sequence[Lane],
    asked: Asked,
    word: str,
    *,
    to_topic: str = "",
    prefix: str = topics.RELAY_CURSOR,
    moved: Callable[[int], object] = lambda _: None,
) -> Replayed:
    """Publish rows again, in the order of their ids, each page in a transaction of its own.

    Writes: records; a claim for what is too large. Replay: publishes them once more.
    Raises: Misconfigured when a topic does not exist.
    """
    sent: Counter[str] = Counter()
    refused: list[int] = []
    async with _producer(kafka) as producer:
        for lane in lanes:
            if cursor := await standing(connection, kafka, lane, prefix):
                again = _Again(connection, producer, cursor, lane, word, to_topic)
                async for made in again.pages(asked):
                    sent.update(made.published)
                    refused += [parked.row.id for parked in made.parked]
                    moved(sum(made.published.values()))
    return Replayed(dict(sent), tuple(refused))


@asynccontextmanager
async def _producer(kafka: str) -> AsyncIterator[Producer]:
    """One that fences nobody: its id is its own."""
    producer = Producer(
        kafka, f"outbox-replay.{uuid.uuid4()}", seconds=SECONDS, transaction_seconds=TRANSACTION_SECONDS,
        batch=BATCH_BYTES,
    )  # fmt: skip
    try:
        await producer.start()
        yield producer
    finally:
        await producer.discard()


class _Again:
    """The rows of one lane, page after page."""

    def __init__(
        self, connection: Connection, producer: Producer, cursor: Cursor, lane: Lane, word: str, to_topic: str
    ) -> None:
        self.connection, self.producer, self.cursor, self.lane = connection, producer, cursor, lane
        self.word, self.to_topic = word, to_topic
        self.catalog, self.rules = Catalog(BATCH_BYTES), Rules()

    async def pages(self, asked: Asked) -> AsyncIterator[Plan]:
        last = 0
        while rows := await replays.page(
            self.connection, self.cursor, self.lane, asked, last, self.rules.claim_bytes
        ):
            yield await self._publish(rows)
            last = rows[-1].id

    async def _publish(self, rows: Sequence[Row]) -> Plan:
        if self.to_topic:
            rows = [row._replace(topic=self.to_topic) for row in rows]
        made = await self._planned(rows)
        batches = {place: [self._marked(record) for record in found] for place, found in made.batches.items()}
        await self.producer.begin_transaction()
        await delivered(self.producer, list(encoded(batches, self.catalog, transactional=True)), self.catalog)
        await self.producer.commit_transaction()
        return made

    async def _planned(self, rows: Sequence[Row]) -> Plan:
        """As the relay made records of them; numbered for nobody."""
        known = Knowledge(
            outbox=f"{self.lane}@{self.cursor.generation}",
            shards=self.lane.shards,
            partitions=await self.catalog.partitions(self.producer.client, {row.topic for row in rows}),
            pseq={},
        )
        made = plan(rows, self.rules, known)
        if made.unclaimed:
            claims = await claim(self.connection, self.lane.database, made.unclaimed)
            made = plan(rows, self.rules, replace(known, claims=claims))
        if made.held:
            raise Misconfigured(f"topic {made.held.topic}: {made.held.detail}")
        return made

    def _marked(self, record: Record) -> Record:
        kept = [header for header in record.headers if header[0] != PSEQ]
        return record._replace(headers=[*kept, (REPLAY, self.word.encode())])


__all__ = ["MAIN", "Asked", "Chosen", "Replayed", "chosen", "replay"]
