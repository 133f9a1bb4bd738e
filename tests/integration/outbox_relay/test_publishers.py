"""Every publisher keeps the same promise. What differs is said where it does: `idempotent` shows half a page."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import signal
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, RequestTimedOutError
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.transaction import EndTxnRequest

from lab.stack import Stack, StackError, kafka
from millrace import outbox
from outbox_relay import publisher, store
from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.page import Record
from outbox_relay.publisher import (
    ConfluentPublisher,
    IdempotentPublisher,
    Mirrored,
    Publisher,
    Rejected,
    Superseded,
    TxnPublisher,
    Unacknowledged,
    acknowledged,
    client,
    last_cursor,
)
from outbox_relay.publisher.mirrored import later
from tests.integration.outbox_relay.arena import until
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic, read_all

HERE, LANE = Identity(1, 1, 1), Lane()
TRANSACTIONAL = ("aiokafka", "confluent")
EVERY = (*TRANSACTIONAL, "idempotent")


def cursor(n: int, **pseq: Sequence[int]) -> Cursor:
    return Cursor(HERE, Position(Snapshot(n, n)), pseq)


def records(count: int, size: int = 20, start: int = 0) -> list[Record]:
    """Values that no compression makes smaller."""
    chance = random.Random(start)
    return [
        Record(b"key-%d" % n, chance.randbytes(size), [("ce_id", b"evt_%d" % n), ("name", "Žofia".encode())])
        for n in range(start, start + count)
    ]


Page = Mapping[tuple[str, int], Sequence[Record]]


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@dataclass
class Outlet:
    """A lane's way into Kafka, and whoever publishes there."""

    kafka: str
    dsn: str
    cursor_topic: str
    topics: MakeTopic
    how: str

    def publisher(self, how: str = "", batch_bytes: int = 100_000, deadline_seconds: float = 10) -> Any:
        """Without its copy in PostgreSQL: that has tests of its own."""
        how = how or self.how
        made = publisher.make(
            self.kafka, LANE, store.Cursors(self.dsn, LANE),
            client="confluent" if how == "confluent" else "aiokafka",
            mode="idempotent" if how == "idempotent" else "transactional",
            cursor_prefix=self.cursor_topic, deadline_seconds=deadline_seconds, transaction_seconds=20,
            batch_bytes=batch_bytes,
        )  # fmt: skip
        return made.inner if isinstance(made, Mirrored) else made

    @asynccontextmanager
    async def publishing(self, **how: Any) -> AsyncIterator[Any]:
        made = self.publisher(**how)
        try:
            await fenced(made)
            yield made
        finally:
            await made.discard()

    async def cursor(self) -> Cursor | None:
        """Where a successor would begin."""
        if self.how != "idempotent":
            return await last_cursor(self.kafka, self.cursor_topic)
        async with session(self.dsn) as connection:
            found = await connection.fetchval("select record::text from outbox.cursor where counts")
        return Cursor.parse(found.encode()) if found else None

    async def left(self, expected: Cursor | None) -> None:
        """Wait until that is where a successor would begin: markers follow a commit."""

        async def so() -> bool:
            return await self.cursor() == expected

        await until(so)

    async def values(self, topic: str) -> list[bytes | None]:
        return [record.value for record in await read_all(self.kafka, topic)]

    async def shown(self, topic: str, expected: Sequence[Record]) -> None:
        """Wait for these values, and no others, in this order."""
        await until(lambda: self._shows(topic, len(expected)))
        assert await self.values(topic) == [record.value for record in expected]

    async def _shows(self, topic: str, count: int) -> bool:
        return len(await self.values(topic)) >= count


async def fenced(one: Publisher) -> Cursor | None:
    """A topic that was made a moment ago may have no leader yet; the relay starts over then."""
    for _ in range(20):
        try:
            return await one.fence()
        except KafkaError as problem:
            if not problem.retriable:
                raise
    raise AssertionError("its topic never had a leader")


MakeOutlet = Callable[[str], Awaitable[Outlet]]


@pytest.fixture
def outlet(stack: Stack, database: MakeDatabase, topics: MakeTopic) -> MakeOutlet:
    async def make(how: str) -> Outlet:
        dsn = (await database()).dsn(outbox.SCHEMA)
        place = await topics("cursor", partitions=1, config={"cleanup.policy": "compact"})
        return Outlet(stack.kafka, dsn, place, topics, how)

    return make


async def publish(one: Publisher, page: Page, at: Cursor) -> None:
    """As the relay does: partitions, then batches, then all of it; starting over when it is told to."""
    for _ in range(2):
        try:
            await one.partitions({topic for topic, _ in page})
            return await one.publish(one.encode(page), at)
        except Rejected:
            raise
        except Unacknowledged:
            await one.fence()
    raise AssertionError("it could not start over")


async def commit(one: Any, at: Cursor) -> None:
    await (one.commit(at) if isinstance(one, IdempotentPublisher) else one.commit())


@pytest.mark.parametrize("how", EVERY)
async def test_a_page_and_its_cursor_appear(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    topic = await it.topics("billing", partitions=3)
    page = {(topic, n): records(50, start=n * 100) for n in range(3)}
    async with it.publishing() as one:
        assert await one.partitions([topic, "no.such.topic"]) == {topic: 3}
        await publish(one, page, cursor(10))
        await it.left(cursor(10))
    await it.shown(topic, [record for each in page.values() for record in each])
    found = await read_all(it.kafka, topic)
    expected = [(n, *record) for (_, n), each in page.items() for record in each]
    assert [(r.partition, r.key, r.value, list(r.headers)) for r in found] == expected


@pytest.mark.parametrize("how", EVERY)
async def test_a_cursor_goes_alone_when_there_are_no_rows(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    async with it.publishing() as one:
        await publish(one, {}, cursor(10))
    await it.left(cursor(10))


async def test_partitions_keys_and_headers_do_not_depend_on_the_client(outlet: MakeOutlet) -> None:
    seen = []
    for how in EVERY:
        it = await outlet(how)
        topic = await it.topics("billing", partitions=2)
        page = {(topic, n): records(30, start=n * 100) for n in range(2)}
        async with it.publishing() as one:
            await publish(one, page, cursor(10))
        await it.shown(topic, [record for each in page.values() for record in each])
        found = await read_all(it.kafka, topic)
        seen.append([(r.partition, r.key, r.value, list(r.headers), r.timestamp_type) for r in found])
    assert len(seen[0]) == 60
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("how", EVERY)
async def test_a_successor_fences_and_goes_on(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    topic = await it.topics("billing", partitions=1)
    one, two, three = ({(topic, 0): records(5, start=n)} for n in (0, 100, 200))
    async with it.publishing() as first:
        await publish(first, one, cursor(10))
        await first.partitions([topic])
        await first.send(first.encode(two), cursor(11))  # and commits too late
        second = it.publisher()
        try:
            assert await second.fence() == cursor(10)
            with pytest.raises(Exception, match=r".*"):
                await commit(first, cursor(11))
            await publish(second, three, cursor(12))
        finally:
            await second.discard()
    shown = [one, two, three] if how == "idempotent" else [one, three]
    await it.shown(topic, [record for page in shown for record in page[topic, 0]])
    await it.left(cursor(12))


@pytest.mark.parametrize("how", EVERY)
async def test_what_is_discarded_half_way_is_not_published(outlet: MakeOutlet, how: str) -> None:
    """It is neither flushed nor aborted: ending it is its successor's part."""
    it = await outlet(how)
    topic = await it.topics("billing", partitions=1)
    async with it.publishing() as one:
        await one.partitions([topic])
        await one.send(one.encode({(topic, 0): records(5)}), cursor(10))
        async with asyncio.timeout(10):
            await one.discard()
    if how != "idempotent":
        assert await ends(it, topic) == (5, 0)  # sent, and open
    async with it.publishing() as successor:
        assert await it.cursor() is None
        await publish(successor, {}, cursor(11))
    if how != "idempotent":
        await until(lambda: aborted(it, topic))
        assert await it.values(topic) == []


async def aborted(it: Outlet, topic: str) -> bool:
    return await ends(it, topic) == (6, 6)  # the marker of its end


async def ends(it: Outlet, topic: str) -> tuple[int, int]:
    """The high watermark and the last stable offset of a topic's first partition."""
    part, found = TopicPartition(topic, 0), []
    levels: tuple[Literal["read_uncommitted", "read_committed"], ...] = ("read_uncommitted", "read_committed")
    for level in levels:
        consumer = AIOKafkaConsumer(bootstrap_servers=it.kafka, isolation_level=level)
        await consumer.start()
        found.append((await consumer.end_offsets([part]))[part])
        await consumer.stop()
    return found[0], found[1]


@pytest.mark.parametrize("how", EVERY)
async def test_a_batch_that_the_broker_refuses_is_named_and_nothing_counts(
    outlet: MakeOutlet, how: str
) -> None:
    it = await outlet(how)
    good = await it.topics("billing", partitions=1)
    small = await it.topics("small", partitions=1, config={"max.message.bytes": "2000"})
    page = {(good, 0): records(5), (small, 0): records(1, size=20_000)}
    async with it.publishing() as one:
        with pytest.raises(Rejected) as refused:
            await publish(one, page, cursor(10))
        assert (refused.value.topic, refused.value.error) == (small, "MESSAGE_TOO_LARGE")
        with pytest.raises(Unacknowledged, match="fence first"):
            await one.publish(one.encode({}), cursor(11))
        assert await one.fence() is None
        await publish(one, {(small, 0): records(3, start=7)}, cursor(12))
    await it.left(cursor(12))
    await it.shown(small, records(3, start=7))
    if how != "idempotent":
        assert await it.values(good) == []


@pytest.mark.parametrize("how", EVERY)
async def test_a_page_is_cut_to_what_each_topic_takes(outlet: MakeOutlet, how: str) -> None:
    """Small rows are never refused because there are many. A limit that shrank is learned from a refusal."""
    it = await outlet(how)
    small = await it.topics("small", partitions=1, config={"max.message.bytes": "3000"})
    page = {(small, 0): records(60, size=300)}
    async with it.publishing() as one:
        await publish(one, page, cursor(10))
        await allow(it.kafka, small, 1200)
        with pytest.raises(Rejected):
            await publish(one, page, cursor(11))
        await one.fence()
        await publish(one, page, cursor(12))
    await it.left(cursor(12))
    found = await it.values(small)
    assert set(found) == {record.value for record in page[small, 0]}
    if how != "idempotent":
        await it.shown(small, [*page[small, 0], *page[small, 0]])


async def allow(kafka: str, topic: str, size: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(size)})]
    )
    await admin.close()


@pytest.mark.parametrize("told", [True, False])
async def test_a_limit_is_asked_for_once_also_by_those_who_may_not_know_it(
    outlet: MakeOutlet, told: bool
) -> None:
    it = await outlet("aiokafka")
    topic = await it.topics("billing", partitions=1, config={"max.message.bytes": "3000"})
    asked = 0
    async with it.publishing() as one:
        sending = one.producer.client.send

        async def counting(node: int, request: object, **options: object) -> Any:
            nonlocal asked
            answer = await sending(node, request, **options)
            if isinstance(request, DescribeConfigsRequest):
                asked += 1
                answer.resources = answer.resources if told else [(29, None, 2, topic, [])]
            return answer

        one.producer.client.send = counting
        await one.partitions([topic])
        await one.partitions([topic])
        assert asked == 1
        assert one.catalog.limit(topic) == (3000 if told else 100_000)


@pytest.mark.parametrize("how", TRANSACTIONAL)
async def test_no_row_is_blamed_when_the_cursor_is_refused(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    async with it.publishing() as one:
        await allow(it.kafka, it.cursor_topic, 100)
        with pytest.raises(Unacknowledged, match=r"kafka-configs.sh .* --topic cursor") as refused:
            await one.publish([], cursor(10))
        assert not isinstance(refused.value, Rejected)


@pytest.mark.parametrize("how", EVERY)
async def test_nothing_is_published_before_the_fence(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    one = it.publisher()
    with pytest.raises(Unacknowledged, match="fence first"):
        await one.publish([], cursor(10))
    await one.discard()


@pytest.mark.parametrize("how", TRANSACTIONAL)
async def test_a_predecessor_may_commit_until_it_is_fenced_and_that_is_seen(
    outlet: MakeOutlet, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor is read after the last fence: read before, it would be one page behind, and the page come twice."""
    it = await outlet(how)
    module = {"aiokafka": "txn", "confluent": "confluent"}[how]
    real = vars(vars(publisher)[module])["Producer"]
    async with it.publishing() as first:
        overtaking: list[Any] = []

        class Overtaken(real):  # type: ignore[misc, valid-type]  # whichever client it is
            async def start(self) -> None:
                """Another relay is elected, publishes, and is fenced."""
                if not overtaking:
                    overtaking.append(True)
                    other = TxnPublisher(
                        it.kafka, LANE, cursor_prefix=it.cursor_topic,
                        deadline_seconds=10, transaction_seconds=20, batch_bytes=1000,
                    )  # fmt: skip
                    await other.fence()
                    await other.publish([], cursor(11))
                    await other.discard()
                await super().start()

        await first.publish([], cursor(10))
        monkeypatch.setattr(f"outbox_relay.publisher.{module}.Producer", Overtaken)
        successor = it.publisher()
        try:
            assert await successor.fence() == cursor(11)
        finally:
            await successor.discard()


async def test_the_cursor_is_found_behind_any_number_of_aborted_ones(outlet: MakeOutlet) -> None:
    it = await outlet("aiokafka")
    async with it.publishing() as one:
        await one.publish([], cursor(10))
        for n in range(70):  # more than a reader first looks back
            await one.send([], cursor(n + 11))
            await one.producer.abort_transaction()  # only here: the product never aborts
            one.sound = True
        assert await one.fence() == cursor(10)
    assert await it.cursor() == cursor(10)


async def test_the_end_of_a_transaction_is_asked_for_once(outlet: MakeOutlet) -> None:
    """An answer that never comes may still have been a yes; asking again could end the next transaction."""
    it = await outlet("aiokafka")
    asked: list[object] = []
    async with it.publishing() as one:
        sending = one.producer.client.send

        async def silent(node: int, request: object, **options: object) -> object:
            if not isinstance(request, EndTxnRequest):
                return await sending(node, request, **options)
            asked.append(request)
            raise RequestTimedOutError

        one.producer.client.send = silent
        with pytest.raises(KafkaError):
            await one.publish([], cursor(10))
        assert len(asked) == 1
        assert await one.fence() is None


async def test_every_future_is_asked() -> None:
    loop = asyncio.get_running_loop()
    good, bad, late = (loop.create_future() for _ in range(3))
    good.set_result(None)
    bad.set_exception(ValueError("refused"))
    with pytest.raises(Unacknowledged):
        await acknowledged([good, bad, late])
    assert late.cancelled()


async def test_the_event_loop_neither_compresses_nor_waits_for_it(
    outlet: MakeOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of 2,000 rows of 2.4 KB: what the loop does in one piece is a checksum over one batch."""
    it = await outlet("aiokafka")
    topic = await it.topics("billing", partitions=6)
    page = {(topic, n): records(334, size=2400, start=n * 1000) for n in range(6)}
    compressed: dict[int, list[int]] = {}
    summed: list[int] = []
    packing, building = client.compressed, client.Packed._build

    def watched(data: bytes) -> bytes:
        compressed.setdefault(threading.get_ident(), []).append(len(data))
        return packing(data)

    def built(batch: client.Packed) -> bytearray:
        summed.append(batch.size())
        return building(batch)

    monkeypatch.setattr(client, "compressed", watched)
    monkeypatch.setattr(client.Packed, "_build", built)
    async with it.publishing(batch_bytes=1_000_000) as one:
        await one.partitions([topic])
        batches = await asyncio.to_thread(one.encode, page)
        await one.publish(batches, cursor(10))
    here = compressed.pop(threading.get_ident())
    assert sum(here) < 1000  # the cursor alone
    assert sum(map(sum, compressed.values())) > 2000 * 2400
    assert len(summed) == 7
    assert max(summed) <= 1_000_000
    await it.shown(topic, [record for each in page.values() for record in each])


async def test_a_batch_of_many_requests_goes_partition_by_partition_in_turn(outlet: MakeOutlet) -> None:
    """One request carries one batch of each partition, so the first ones of all go first."""
    it = await outlet("aiokafka")
    topic = await it.topics("billing", partitions=2)
    async with it.publishing(batch_bytes=3000) as one:
        await one.partitions([topic])
        page = {(topic, n): records(20, size=300, start=n) for n in range(2)}
        order = [number for _, number, _ in one.encode(page)]
    assert order == [0, 1] * (len(order) // 2)
    assert len(order) >= 4


@asynccontextmanager
async def mirrored(it: Outlet, cursors: Any = None) -> AsyncIterator[Mirrored]:
    made = Mirrored(it.publisher(), cursors or store.Cursors(it.dsn, LANE), every_seconds=0)
    try:
        yield made
    finally:
        await made.discard()


async def copied(it: Outlet) -> tuple[object, ...]:
    async with session(it.dsn) as connection:
        row = await connection.fetchrow("select record->>'seen', counts, term from outbox.cursor")
    return tuple(row or ())


@pytest.mark.parametrize("how", TRANSACTIONAL)
async def test_a_copy_of_the_cursor_follows_in_postgresql(outlet: MakeOutlet, how: str) -> None:
    it = await outlet(how)
    async with mirrored(it) as one:
        assert await fenced(one) is None
        await one.publish([], cursor(10))
        await until_so(it, ("10:10:", False, 1))
        assert await one.fence() == cursor(10)
        await one.publish([], cursor(11))
        await until_so(it, ("11:11:", False, 2))


async def until_so(it: Outlet, expected: tuple[object, ...]) -> None:
    async def so() -> bool:
        return await copied(it) == expected

    await until(so)


async def test_a_copy_that_fails_is_a_line_in_the_log(
    outlet: MakeOutlet, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(store.Cursors):
        async def mirror(self, cursor: Cursor) -> bool:
            raise ConnectionError("PostgreSQL is away")

    it = await outlet("aiokafka")
    with caplog.at_level(logging.WARNING, "outbox_relay"):
        async with mirrored(it, Away(it.dsn, LANE)) as one:
            await fenced(one)
            await one.publish([], cursor(10))
            await until(lambda: "the cursor could not be copied" in caplog.text)
            await one.publish([], cursor(11))
    await it.left(cursor(11))


@pytest.mark.parametrize("how", TRANSACTIONAL)
async def test_the_mode_may_be_changed_and_changed_back(outlet: MakeOutlet, how: str) -> None:
    """Each mode begins where the other one ended, also when the copy has not been made yet."""
    it = await outlet(how)
    async with mirrored(it) as one:
        await fenced(one)
        await publish(one, {}, cursor(10))
    async with it.publishing(how="idempotent") as one:
        assert await one.fence() == cursor(10)
        await publish(one, {}, cursor(11))
    async with mirrored(it) as one:
        assert await one.fence() == cursor(11)
        await one.inner.publish([], cursor(12))  # and dies before the copy is made
    async with mirrored(it) as one:
        assert await one.fence() == cursor(12)


async def test_a_deposed_leader_of_the_mode_idempotent_moves_no_cursor(outlet: MakeOutlet) -> None:
    it = await outlet("idempotent")
    async with it.publishing() as first, it.publishing() as second:
        with pytest.raises(Superseded):
            await first.publish([], cursor(10))
        await second.publish([], cursor(11))
    await it.left(cursor(11))


@pytest.fixture(scope="module")
def broker() -> Iterator[kafka.Cluster]:
    """One of our own, to stop and to kill."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-publishers-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        cluster = kafka.Cluster.new(folder, 1, print)
        cluster.start(print)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own to stop: {problem}")
    yield cluster
    cluster.brokers[0].kill()
    shutil.rmtree(folder, ignore_errors=True)


async def made(address: str, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    await admin.close()


@pytest.mark.parametrize("how", EVERY)
async def test_a_broker_that_falls_silent_is_waited_for_no_longer_than_the_deadline(
    broker: kafka.Cluster, database: MakeDatabase, topics: MakeTopic, how: str
) -> None:
    dsn = (await database()).dsn(outbox.SCHEMA)
    it = Outlet(broker.address, dsn, f"cursor.{how}", topics, how)
    await made(broker.address, it.cursor_topic, how)
    loop = asyncio.get_running_loop()
    async with it.publishing(deadline_seconds=1) as one:
        await one.partitions([how])
        batches = one.encode({(how, 0): records(5)})
        os.kill(broker.brokers[0].pid, signal.SIGSTOP)
        try:
            began = loop.time()
            with pytest.raises((TimeoutError, Unacknowledged)):
                await one.publish(batches, cursor(10))
            await one.discard()
            with pytest.raises((TimeoutError, KafkaError)):
                await one.fence()
            assert loop.time() - began < 15 + 21  # each step has its deadline; a fence also the transaction's
        finally:
            os.kill(broker.brokers[0].pid, signal.SIGCONT)


def test_of_two_cursors_the_later_is_the_one_that_covers_more() -> None:
    old, new = cursor(10, billing=(3, 4)), cursor(10, billing=(3, 5))
    assert later(old, new) == later(new, old) == new
    assert later(None, old) == later(old, None) == old
    assert later(None, None) is None


@pytest.mark.parametrize(
    ("client_name", "mode", "made"),
    [
        ("aiokafka", "transactional", TxnPublisher),
        ("confluent", "transactional", ConfluentPublisher),
        ("aiokafka", "idempotent", IdempotentPublisher),
    ],
)
def test_the_settings_choose_the_publisher(client_name: Any, mode: Any, made: type) -> None:
    chosen: Any = publisher.make(
        "", LANE, store.Cursors("", LANE), client=client_name, mode=mode,
        deadline_seconds=1, transaction_seconds=1, batch_bytes=1,
    )  # fmt: skip
    assert isinstance(chosen.inner if mode == "transactional" else chosen, made)
