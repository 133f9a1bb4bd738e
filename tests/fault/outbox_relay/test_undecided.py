"""A transaction of an earlier relay without its end in some partition: nothing is lost or doubled, and nobody is asked.

Each accident is made exactly (see `torn`), at a page in the middle, while the relay itself runs as ever.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup

from lab.stack import StackError, kafka
from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.domain.lane import Lane
from outbox_relay.domain.undecided import Partition
from outbox_relay.publisher import Halted, TxnPublisher, txn
from outbox_relay.publisher.client import Producer
from outbox_relay.publisher.log import Log, Written
from outbox_relay.publisher.mirrored import Mirrored
from tests.fault.outbox_relay.torn import (
    CURSOR,
    POINTS,
    Accident,
    careless,
    forget,
    interrupt,
    make_topics,
    unsettled,
)
from tests.fault.outbox_relay.undecided_storm import PARTITIONS, Storm, verdicts
from tests.integration.outbox_relay.arena import Account, Arena, running, until
from tests.support.database import MakeDatabase

ROWS = 160
KILLS = int(os.environ.get("FAULT_RUNS", "1"))
EVERYTHING = (CURSOR, 0, 1, 2)
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where a server's own user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="millrace-torn-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[kafka.Cluster]:
    try:
        cluster = careless(folder)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own to lead astray: {problem}")
    yield cluster
    cluster.brokers[0].kill()


@pytest.fixture
def storming(folder: Path) -> Iterator[kafka.Cluster]:
    """One that keeps the rules, to be killed."""
    try:
        cluster = kafka.Cluster.new(folder / "storm", 1, print)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own to kill: {problem}")
    cluster.start(print)
    yield cluster
    cluster.brokers[0].kill()


MakeTorn = Callable[[], Awaitable[Arena]]


@pytest.fixture
def arena(broker: kafka.Cluster, database: MakeDatabase) -> MakeTorn:
    async def make() -> Arena:
        n = next(numbers)
        it = Arena((await database()).owner, broker.address, f"billing.{n}", f"cursor.{n}", {"page_rows": 20})
        await make_topics(it.kafka, it.topic, it.cursor)
        await it.insert(rows=ROWS, keys=12)  # some in every partition of every page
        return it

    return make


def given(before: Counter[str]) -> list[str]:
    return sorted((verdicts() - before).elements())


ACCIDENTS = {
    #                              forgotten           end        noticed   verdicts
    "the cursor": ((CURSOR,), "commit", True, ["completed"]),
    "a partition": ((1,), "commit", True, ["completed"]),
    "all partitions but not the cursor": ((0, 1, 2), "commit", True, ["completed"]),
    "cursor and a partition": ((CURSOR, 1), "commit", True, ["completed"]),
    "all but one partition": ((CURSOR, 0, 2), "commit", True, ["completed"]),
    "everything": (EVERYTHING, "", True, ["aborted"]),
    "rows whose cursor never came": ((0, 1, 2), "no cursor", True, ["aborted"]),
    "the cursor, of one that was aborted": ((CURSOR,), "abort", True, ["aborted"]),
    "a partition, of one that was aborted": ((2,), "abort", True, ["aborted"]),
    "cursor and two, of one that was aborted": ((CURSOR, 0, 2), "abort", True, ["aborted"]),
    "a partition, and nobody noticed": ((1,), "commit", False, ["completed"]),
    "the cursor, and nobody noticed": ((CURSOR,), "commit", False, ["completed"]),
    "cursor and a partition, and nobody noticed": ((CURSOR, 1), "commit", False, ["completed"]),
}


PAGES = [
    pytest.param(name, page, id=f"{name}, page {page}", marks=[pytest.mark.nightly] * (at % 2 == page % 2))
    for at, name in enumerate(ACCIDENTS) for page in (1, 4)
]  # fmt: skip


@pytest.mark.parametrize(("name", "page"), PAGES)
async def test_what_a_broker_forgot_is_settled(
    arena: MakeTorn, monkeypatch: pytest.MonkeyPatch, name: str, page: int
) -> None:
    forgotten, end, noticed, expected = ACCIDENTS[name]
    it, before = await arena(), verdicts()
    accident = Accident(page, forgotten.__contains__, end, noticed)
    accident.strike(monkeypatch)
    async with running(it.relay()):
        await it.published()
    assert accident.pages > page
    assert await it.account() == Account(rows=ROWS)
    assert given(before) == expected


@pytest.mark.parametrize(
    ("where", "forgotten"), [*((where, (CURSOR, 1)) for where in POINTS), ("after aborting", (1,))]
)
async def test_whoever_dies_while_settling_leaves_it_to_the_next(
    arena: MakeTorn, monkeypatch: pytest.MonkeyPatch, where: str, forgotten: tuple[int, ...]
) -> None:
    it = await arena()
    Accident(4, forgotten.__contains__, "commit").strike(monkeypatch)
    died = interrupt(monkeypatch, where)
    async with running(it.relay()):
        await it.published()
    assert died == [where]
    assert await it.account() == Account(rows=ROWS)


@pytest.mark.parametrize(
    ("forgotten", "noticed", "harm"),
    [((CURSOR,), True, "doubled"), ((1,), False, "lost")],
)
async def test_without_the_remedy_there_is_harm(
    arena: MakeTorn, monkeypatch: pytest.MonkeyPatch, forgotten: tuple[int, ...], noticed: bool, harm: str
) -> None:
    """Or else this drill could not fail."""
    it = await arena()
    monkeypatch.setattr(txn, "settled", unsettled)
    accident = Accident(4, forgotten.__contains__, "commit", noticed)
    accident.strike(monkeypatch)
    async with running(it.relay()):
        await it.published(ROWS - 20)
    account = await it.account()
    assert getattr(account, harm) > 0


async def test_what_only_its_own_producer_can_end_is_waited_for_and_then_named(
    broker: kafka.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer id that is ours no longer stands behind it; the coordinator knows of no transaction to time out."""
    monkeypatch.setattr(txn, "SCAN_SECONDS", 1.0)
    n = next(numbers)
    topic, cursor = f"billing.{n}", f"cursor.{n}"
    await make_topics(broker.address, topic, cursor)
    stranger = Producer(broker.address, f"stranger.{n}", seconds=5, transaction_seconds=60, batch=1000)
    publisher = TxnPublisher(
        broker.address,
        Lane(),
        cursor_prefix=cursor,
        deadline_seconds=5,
        transaction_seconds=1,
        batch_bytes=1000,
    )
    kept = Cursor(Identity(7, 1, 5), Position(Snapshot(10, 10)), {})
    try:
        await publisher.fence()
        await publisher.publish([], kept)
        await stranger.start()
        await forget(stranger, [(cursor, 0)])
        await stranger.begin_transaction()
        await stranger.send_and_wait(cursor, kept.record(), key=b"cursor", partition=0)
        with pytest.raises(Halted, match=rf"open in {cursor}-0.* find-hanging --topic {cursor}"):
            await publisher.fence()
        stranger._txn_manager._txn_partitions.clear()  # to be added now, and so to get its end
        await stranger.send_and_wait(cursor, kept.record(), key=b"cursor", partition=0)
        await stranger.abort_transaction()
        assert await publisher.fence() == kept
    finally:
        await stranger.discard()
        await publisher.discard()


async def test_who_wrote_our_cursor_may_write_rows_of_its_own(
    broker: kafka.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes were divided; the first of the new ones put the cursors of all in force, and goes on. In our place it
    has nothing to write."""
    monkeypatch.setattr(txn, "SCAN_SECONDS", 1.0)
    n, lane = next(numbers), Lane(shard=1, shards=2)
    topic, prefix = f"billing.{n}", f"cursor.{n}"
    await make_topics(broker.address, topic, lane.cursor_topic(prefix), partitions=4)
    kept = Cursor(Identity(7, 1, 5), Position(Snapshot(10, 10)), {topic: (3, 3, 3, 3)})
    other = Producer(broker.address, f"other.{n}", seconds=5, transaction_seconds=60, batch=1000)
    publisher = TxnPublisher(
        broker.address,
        lane,
        cursor_prefix=prefix,
        deadline_seconds=5,
        transaction_seconds=1,
        batch_bytes=1000,
    )
    try:
        await other.start()
        async with other.transaction():
            await other.send_and_wait(lane.cursor_topic(prefix), kept.record(), key=b"cursor", partition=0)
        await other.begin_transaction()
        await other.send_and_wait(topic, b"its own", partition=2)
        assert await publisher.fence() == kept
        await other.send_and_wait(topic, b"ours", partition=3)
        with pytest.raises(Halted, match=rf"open in {topic}-3,"):
            await publisher.fence()
    finally:
        await other.discard()
        await publisher.discard()


async def test_a_whole_log_costs_no_look_at_the_rows(
    arena: MakeTorn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every start asks; only after an accident are partitions read."""
    it = await arena()
    async with running(it.relay()):
        await it.published()
    read: list[str] = []
    tail = Log.tail

    async def watched(log: Log, part: Partition, *given: Any, **more: Any) -> list[Written]:
        read.append(part[0])
        return await tail(log, part, *given, **more)

    monkeypatch.setattr(Log, "tail", watched)
    async with running(it.relay()):
        await it.insert(rows=1)
        await it.published()
    assert set(read) == {it.cursor}


async def test_a_lost_coordinator_is_not_connected_to_again(arena: MakeTorn) -> None:
    """It may have died over the end of the last transaction: its readers must not wait for the next row."""
    it = await arena()
    relay = it.relay()
    assert isinstance(relay.publisher, Mirrored)
    publisher = relay.publisher.inner
    assert isinstance(publisher, TxnPublisher)
    async with running(relay):
        await it.published()
        first = publisher.producer
        assert first is not None
        for (_, group), connection in list(first.client._conns.items()):
            if group == ConnectionGroup.COORDINATION:
                connection.close()
        await until(lambda: publisher.producer not in (None, first))
        await it.insert(rows=1)
        await it.published()


@pytest.mark.timeout(300 + 60 * KILLS)
async def test_the_only_broker_dies_at_the_ends_of_transactions(
    database: MakeDatabase, storming: kafka.Cluster
) -> None:
    it = Arena(
        (await database()).owner,
        storming.address,
        "billing",
        "cursor",
        {"page_rows": 50, "deadline_seconds": 3},
    )
    await make_topics(it.kafka, it.topic, it.cursor, PARTITIONS)
    storm = Storm(it, storming.brokers[0], random.Random(7))
    account = await storm.rage(KILLS)
    assert storm.deaths == KILLS
    assert account == Account(rows=account.rows)
