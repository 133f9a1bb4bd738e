"""Changing the number of lanes of an outbox, without a row to nobody and without one to two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from millrace import topics
from outbox_relay import store
from outbox_relay.commands.office import (
    BATCH_BYTES,
    DEADLINE_SECONDS,
    Office,
    Refused,
    Site,
    Witness,
    fenced,
    office,
)
from outbox_relay.domain import steering
from outbox_relay.domain.cursor import Cursor, Halt, Snapshot, begin
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.domain.page import Record
from outbox_relay.publisher import Rejected, TxnPublisher
from outbox_relay.relay.quarantine import Quarantine
from outbox_relay.relay.stream import Pace, Stream
from outbox_relay.relay.upto import Upto
from outbox_relay.settings import Settings

__all__ = ["Reshard", "reshard"]

PAGE_ROWS, PAGE_BYTES, READ_SECONDS = 2000, 8 << 20, 600.0
CARRIED = tuple(topic.name for topic in topics.TOPICS if topic.name != topics.RELAY_CURSOR)
CREATED, EXISTS = 0, TopicAlreadyExistsError.errno
OF_THE_TOPIC = 1  # where a setting comes from: DYNAMIC_TOPIC_CONFIG
NO_ROW = 1 << 62

Cursors = dict[Lane, Cursor]


@dataclass(frozen=True, slots=True)
class Reshard:
    """What became of the old lanes. `rows` were published on the way to the snapshot that all have reached."""

    old: Sequence[str]
    new: Sequence[str]
    cursor: Cursor
    rows: int


async def reshard(site: Site, database: str, old: int, new: int, witness: Witness) -> Reshard:
    """Hand an outbox over from `old` lanes to `new` ones.

    1. All leases of the old lanes are taken: they keep out every relay of these and of any other division.
    2. Every producer of the old and of the new lanes is fenced.
    3. The old lanes publish, each as a relay would, until all of them have reached one snapshot.
    4. One Kafka transaction retires the old cursors and puts the new ones in force.

    Before 4 nothing has changed but that rows were published: a relay of the old number goes on from there, and one
    of the new number halts, for it finds no cursor, or a retired one. After 4 it is the other way round. Nothing
    lies between, so this may die anywhere and be typed again.

    Raises: Refused, Halted. Replay: once it is done, only the copies in PostgreSQL are written again.
    """
    if old == new:
        raise Refused(f"{database} has {old} lanes already")
    async with AsyncExitStack() as stack:
        held = {lane: await stack.enter_async_context(office(site, lane)) for lane in lanes(database, old)}
        return await _Handover(site, held, lanes(database, new), witness).run()


class _Handover:
    """The steps of `reshard`, after which the old offices are left."""

    def __init__(self, site: Site, old: Mapping[Lane, Office], new: Sequence[Lane], witness: Witness) -> None:
        self.site, self.old, self.new, self.witness = site, old, new, witness
        self.first = next(iter(old))
        self.rules = Settings(
            database=site.dsn, databases={}, lanes="", shards=1, publish="transactional"
        ).rules

    async def run(self) -> Reshard:
        left = await self._begun()
        await self._divisible(left)
        if (in_force := await self._prepared()) and self._done():
            await self._copied({lane: held.left for lane, held in self.old.items() if held.left} | in_force)
            return self._result(in_force, 0)
        if in_force:
            lane = next(iter(in_force))
            raise Refused(IN_FORCE.format(lane=lane, shards=lane.shards))
        window, drained = await self._drained(left)
        await self._divisible(drained)
        cursors = steering.heirs(drained, window, self.new)
        await self._handed_over(cursors)
        return self._result(
            cursors, sum(_published(drained[lane]) - _published(left[lane]) for lane in drained)
        )

    def _done(self) -> bool:
        return all(held.left and held.left.retired for held in self.old.values())

    def _result(self, cursors: Cursors, rows: int) -> Reshard:
        return Reshard([*map(str, self.old)], [*map(str, self.new)], cursors[self.new[0]], rows)

    async def _begun(self) -> Cursors:
        """Where each old lane stands. Raises: Refused where its relay would halt.

        A lane that retired in favour of the new ones, while none of those is in force, still has its rows: Kafka
        lost the end of that transaction.
        """
        begun: Cursors = {}
        for lane, held in self.old.items():
            left = held.left
            if left and left.retired not in ("", steering.heirs_words(len(self.new))):
                raise Refused(RETIRED.format(heirs=left.retired))
            found, now = await store.identified(held.connection)
            obstacles = await store.obstacles(held.connection)
            cursor = begin(left and replace(left, retired=""), found, now, lane, obstacles)
            if isinstance(cursor, Halt):
                raise Refused(cursor.words)
            begun[lane] = cursor
        return begun

    async def _divisible(self, cursors: Cursors) -> None:
        """Raises: Refused when a partition would be written by two of the new lanes."""
        used = {topic for cursor in cursors.values() for topic in cursor.pseq}
        partitions = await self.old[self.first].producer.partitions(used | set(CARRIED))
        if wrong := steering.indivisible(len(self.new), partitions):
            counts = ", ".join(f"{topic} has {partitions[topic]}" for topic in wrong)
            raise Refused(INDIVISIBLE.format(shards=len(self.new), counts=counts))

    async def _prepared(self) -> Cursors:
        """Topics for the new lanes, and nobody who could still write to them; the cursors that are in force."""
        names = [self._topic(lane) for lane in self.new]
        await _made(names, like=self._topic(self.first), at=self.site)
        in_force: Cursors = {}
        for lane in self.new:
            async with fenced(self.site, lane) as (_, _, cursor):
                if cursor and not cursor.retired:
                    in_force[lane] = cursor
        return in_force

    async def _drained(self, left: Cursors) -> tuple[Snapshot, Cursors]:
        """All old lanes at one snapshot, one after the other."""
        _, window = await store.identified(self.old[self.first].connection)
        return window, {lane: await self._lane_drained(lane, cursor, window) for lane, cursor in left.items()}

    async def _lane_drained(self, lane: Lane, cursor: Cursor, window: Snapshot) -> Cursor:
        held = self.old[lane]
        first = await store.first_owed(held.connection, cursor.position.seen)
        shelf = Quarantine(lane, lambda: store.shelf(self.site.dsn, lane, READ_SECONDS), self.rules)
        async with store.outbox(
            self.site.dsn, lane=lane,
            page_rows=PAGE_ROWS, page_bytes=PAGE_BYTES, record_bytes=BATCH_BYTES, read_seconds=READ_SECONDS,
        ) as source:  # fmt: skip
            while True:
                upto = Upto(source, window, NO_ROW if first is None else first)
                stream = Stream(upto, held.producer, cursor, Pace(), shelf)
                try:
                    await stream.follow(upto.reached)
                    return stream.cursor
                except Rejected:  # the shelf remembers, and parks the row that Kafka does not take
                    cursor = await held.producer.fence() or cursor

    async def _handed_over(self, cursors: Cursors) -> None:
        """By a producer that publishes no rows: no lane that finds its cursors can take them for those of a page."""
        held = self.old[self.first]
        async with held.connection.transaction():
            await self.witness(held.connection)
        records = {
            (self._topic(lane), 0): [Record(b"cursor", cursor.record(), [])]
            for lane, cursor in cursors.items() if lane != self.first
        }  # fmt: skip
        producer = TxnPublisher(
            self.site.kafka, self.first, cursor_prefix=self.site.prefix, deadline_seconds=DEADLINE_SECONDS,
            transaction_seconds=DEADLINE_SECONDS, batch_bytes=BATCH_BYTES,
        )  # fmt: skip
        producer.transactional_id = f"outbox-relay.{self.site.prefix}.{self.first.database}.reshard"
        try:
            await producer.fence()
            await producer.partitions([topic for topic, _ in records])
            for each in self.old.values():
                await each.lease.confirm()
            await producer.publish(producer.encode(records), cursors[self.first])
        finally:
            await producer.discard()
        await self._copied(cursors)

    async def _copied(self, cursors: Cursors) -> None:
        """What Kafka has, for people, and for a relay that finds no cursor to know that there is one."""
        for lane, cursor in cursors.items():
            copies = store.Cursors(self.site.dsn, lane)
            await copies.take()
            await copies.mirror(cursor)
            await copies.close()

    def _topic(self, lane: Lane) -> str:
        return lane.cursor_topic(self.site.prefix)


def _published(cursor: Cursor) -> int:
    return sum(map(sum, cursor.pseq.values()))


async def _made(names: Sequence[str], *, like: str, at: Site) -> None:
    """Cursor topics with as many copies and the same settings as one that is there. Replay: makes none twice."""
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka)
    await admin.start()
    try:
        (known,) = await admin.describe_topics([like])
        if not known["partitions"]:
            raise Refused(f"the cursor topic {like} does not exist: `millrace migrate` makes it")
        copies = len(known["partitions"][0]["replicas"])
        config = {"cleanup.policy": "compact", **await _settings(admin, like)}
        answer = await admin.create_topics(
            [NewTopic(name, 1, copies, topic_configs=config) for name in names]
        )
    finally:
        await admin.close()
    for name, code, *_ in answer.topic_errors:
        if code not in (CREATED, EXISTS):
            raise Refused(f"Kafka does not make the topic {name}: {for_code(code).__name__}")


async def _settings(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    """What was set for this topic itself."""
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((*_, entries),) = answer.resources
    return {name: value for name, value, _, source, *_ in entries if source == OF_THE_TOPIC}


RETIRED = "these lanes have given their rows to {heirs} already: say `--from` as many as there are now"
INDIVISIBLE = (
    "{shards} lanes cannot share the partitions of every topic evenly ({counts}), and one partition would be written "
    "by two of them: choose a number that divides them all"
)
IN_FORCE = (
    "the cursor of lane {lane} is in force: rows may have been published by both divisions. Stop every relay, compare "
    "with `millrace relay audit`, and reshard `--from {shards}`"
)
