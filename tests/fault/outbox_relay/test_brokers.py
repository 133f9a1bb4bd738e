"""Three brokers, and fewer of them: the relay loses leaders, coordinator and quorum, and goes on by itself.

The relay is a process, asked through its probes as an orchestrator would; its memory is what the kernel says.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, CoordinationType

from lab.stack import kafka, wire
from outbox_relay.domain.lane import Lane
from tests.fault.outbox_relay import own
from tests.integration.outbox_relay.arena import Account, Arena, RelayProcess, until
from tests.integration.outbox_relay.writers import Writers
from tests.support.database import MakeDatabase
from tests.support.kafka import read_all

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "10"))  # of all brokers
BACKLOG_ROWS = 20_000  # written meanwhile
GROWN_BYTES = 150 << 20  # that a relay may be larger after an outage: its pages, and what its allocator keeps
NOTICED_SECONDS, AGAIN_SECONDS = 60.0, 120.0
PATIENCE = {"stalled_seconds": 3, "deadline_seconds": 5, "transaction_seconds": 8, "lease_seconds": 10}
BOTH_CLIENTS = ["aiokafka", "confluent"]
numbers = itertools.count(1)
pytestmark = (
    pytest.mark.nightly
)  # three brokers take longer to start than `make test` has; see test_stall for one


@pytest.fixture(scope="module")
def three() -> Iterator[kafka.Cluster]:
    with own.cluster(3) as cluster:
        yield cluster


@dataclass
class Watched:
    """A relay process and what its probes say."""

    process: RelayProcess
    port: int

    def unready(self) -> str:
        """Why it is not ready; '' when it is."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return ""
        except urllib.error.HTTPError as answer:
            return answer.read().decode()
        except OSError as problem:
            return f"it does not answer: {problem}"

    async def says(self, words: str, seconds: float) -> str:
        """Wait until it is not ready and says so; its own words."""
        said = ""

        async def heard() -> bool:
            nonlocal said
            said = await asyncio.to_thread(self.unready)
            return words in said if words else not said

        try:
            await until(heard, seconds)
        except TimeoutError:
            raise AssertionError(f"expected {words!r} of its readiness, heard {said!r}") from None
        return said

    @property
    def rss(self) -> int:
        """Bytes."""
        pages = Path(f"/proc/{self.process.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def watched(it: Arena, log: Path) -> AsyncIterator[Watched]:
    (port,) = wire.free_ports(1)
    more = {"RELAY_HEALTH_PORT": str(port), "RELAY_HEALTH_HOST": "127.0.0.1"}
    process = await RelayProcess.start(it, log, **more)
    try:
        yield Watched(process, port)
        assert process.process.returncode is None, "it ended, instead of recovering by itself"
    finally:
        await process.kill()


async def arena(three: kafka.Cluster, database: MakeDatabase, client: str, **config: str) -> Arena:
    n = next(numbers)
    owner = (await database()).owner
    it = Arena(owner, three.address, f"billing.{n}", f"cursor.{n}", {"client": client, **PATIENCE})
    await own.make_topics(it.kafka, it.topic, cursor=it.cursor, copies=3, **config)
    return it


async def who_matters(it: Arena) -> list[int]:
    """The numbers of the broker that coordinates the relay's transactions, and of one that leads a partition."""
    client = AIOKafkaClient(bootstrap_servers=it.kafka)
    await client.bootstrap()
    try:
        transactional_id = Lane().transactional_id(it.cursor)
        coordinator = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
        known = await client.fetch_all_metadata()
        leader = known.leader_for_partition(TopicPartition(it.topic, 0))
    finally:
        await client.close()
    return list(dict.fromkeys([coordinator, leader]))


def broker(three: kafka.Cluster, number: int) -> kafka.Broker:
    return three.brokers[number - 1]


async def start_again(three: kafka.Cluster, it: Arena) -> None:
    """Together, for without a majority none of them would serve; and until all have caught up, so that the next
    one that dies has a successor."""
    for each in three.brokers:
        await asyncio.to_thread(each.start, wait=False)
    for each in three.brokers:
        await asyncio.to_thread(each.wait, brokers=3)
    admin = AIOKafkaAdminClient(bootstrap_servers=it.kafka)
    await admin.start()
    try:
        await until(lambda: in_sync(admin, it), AGAIN_SECONDS)
    finally:
        await admin.close()


async def in_sync(admin: AIOKafkaAdminClient, it: Arena) -> bool:
    """Every replica of everything that the relay needs."""
    found = await admin.describe_topics([it.topic, it.cursor, "__transaction_state"])
    return all(len(part["isr"]) == 3 for topic in found for part in topic["partitions"])


async def whole(it: Arena, rows: int = 0) -> None:
    await it.published(deadline_seconds=AGAIN_SECONDS)
    account = await it.account()
    assert account == Account(rows=account.rows)
    assert account.rows >= rows


@pytest.mark.timeout(400)
@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_coordinator_and_leader_die_under_load(
    three: kafka.Cluster, database: MakeDatabase, tmp_path: Path, client: str
) -> None:
    it = await arena(three, database, client)
    async with watched(it, tmp_path / "relay.log") as relay:
        writers = Writers(it, seed=11)
        work = asyncio.create_task(writers.run(4))
        await it.published(200, AGAIN_SECONDS)
        for number in await who_matters(it):
            await asyncio.to_thread(broker(three, number).kill)
            seen = len(await read_all(it.kafka, it.topic, deadline_seconds=AGAIN_SECONDS))
            await it.published(seen + 200, AGAIN_SECONDS)  # the other two carry on
            await start_again(three, it)
        writers.stopping.set()
        await work
        await relay.says("", AGAIN_SECONDS)
        await whole(it, rows=400)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_without_enough_replicas_it_waits_and_says_so(
    three: kafka.Cluster, database: MakeDatabase, tmp_path: Path, client: str
) -> None:
    """One broker is enough to miss when a topic asks for three."""
    it = await arena(three, database, client, **{"min.insync.replicas": "3"})
    await it.insert(rows=100)
    async with watched(it, tmp_path / "relay.log") as relay:
        await it.published(100, AGAIN_SECONDS)
        await asyncio.to_thread(broker(three, 3).kill)
        await it.insert(rows=100)
        assert await relay.says("no progress for", NOTICED_SECONDS)
        await start_again(three, it)
        await relay.says("", AGAIN_SECONDS)
        await whole(it, rows=200)


@pytest.mark.timeout(400 + OUTAGE_SECONDS)
@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_all_brokers_are_down_for_a_while(
    three: kafka.Cluster, database: MakeDatabase, tmp_path: Path, client: str
) -> None:
    """It grows no further than a page, however much waits, and recovers unaided."""
    it = await arena(three, database, client)
    await it.insert(rows=2000)
    async with watched(it, tmp_path / "relay.log") as relay:
        await it.published(2000, AGAIN_SECONDS)
        before, largest = relay.rss, 0
        for each in three.brokers:
            await asyncio.to_thread(each.kill)
        down = time.monotonic()
        await it.insert(rows=BACKLOG_ROWS)
        assert await relay.says("no progress for", NOTICED_SECONDS)
        while time.monotonic() < down + OUTAGE_SECONDS:
            largest = max(largest, relay.rss)
            with suppress(TimeoutError):
                await asyncio.wait_for(relay.process.process.wait(), 0.5)
        await start_again(three, it)
        await it.published(2000 + BACKLOG_ROWS, AGAIN_SECONDS)
        await relay.says("", AGAIN_SECONDS)
        assert max(largest, relay.rss) - before < GROWN_BYTES
        await whole(it, rows=2000 + BACKLOG_ROWS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_two_of_three_are_down(
    three: kafka.Cluster, database: MakeDatabase, tmp_path: Path, client: str
) -> None:
    """No quorum, no replicas: whoever is left can answer nothing that counts."""
    it = await arena(three, database, client)
    await it.insert(rows=100)
    async with watched(it, tmp_path / "relay.log") as relay:
        await it.published(100, AGAIN_SECONDS)
        for each in three.brokers[1:]:
            await asyncio.to_thread(each.kill)
        await it.insert(rows=100)
        assert await relay.says("no progress for", NOTICED_SECONDS)
        await start_again(three, it)
        await relay.says("", AGAIN_SECONDS)
        await whole(it, rows=200)
