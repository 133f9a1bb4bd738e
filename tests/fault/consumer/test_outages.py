"""Kafka, the network or PostgreSQL is away for a while: the consumer goes on by itself, and nothing is lost or doubled.

The times that recovery took are in the output. Each outage is of servers of the tests' own.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient, CoordinationType

from lab.stack import Stack, StackError, kafka, postgres, wire
from millrace import outbox
from millrace import postgres as pg
from tests.fault.consumer.conftest import Group, Nursery, seats, until
from tests.fault.outbox_relay import own
from tests.fault.outbox_relay.proxy import Proxy, before
from tests.fault.outbox_relay.test_failover import stands_by
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic, making
from tests.support.tally import SCHEMA

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def cluster() -> Iterator[kafka.Cluster]:
    """One broker, which sends its clients to the door before it."""
    with own.cluster(1, advertised=wire.free_ports(1)[0]) as made:
        yield made


@pytest.fixture
async def door(cluster: kafka.Cluster) -> AsyncIterator[Proxy]:
    ports = cluster.brokers[0].ports
    async with before(ports.clients, at=ports.advertised) as proxy:
        yield proxy


@pytest.fixture
async def away(door: Proxy, db: Database, nursery: Nursery) -> AsyncIterator[Group]:
    """A group whose Kafka can go away."""
    async with making(door.address) as make:
        yield Group(door.address, db.dsn(SCHEMA), await make("tally", partitions=3), nursery)


@asynccontextmanager
async def recovering(what: str, group: Group, producer: AIOKafkaProducer) -> AsyncIterator[None]:
    """Inside, the outage; after it, more events than before are applied, each once."""
    await group.send(producer, 200)
    await group.reached(100)
    yield
    healed = time.monotonic()
    await group.send(producer, 40)
    await group.all_applied()
    print(f"{what}: recovered {time.monotonic() - healed:.1f} s after it was over")  # noqa: T201 the times are to be seen


async def test_a_network_that_is_cut_and_a_broker_that_dies_heal_unaided(
    away: Group, door: Proxy, cluster: kafka.Cluster
) -> None:
    """The cut is shorter than the session; the broker is its group's coordinator too."""
    member = await away.member("a")
    async with away.producing() as producer:
        async with recovering("network cut for 3 s", away, producer):
            door.cut()
            await asyncio.sleep(3)
            door.mend()
        async with recovering("only broker killed and started", away, producer):
            cluster.brokers[0].kill()
            await asyncio.to_thread(cluster.brokers[0].start)
    assert member.lives


@pytest.mark.nightly
async def test_so_does_a_network_that_is_silent_for_longer_than_the_session(away: Group, door: Proxy) -> None:
    member = await away.member("a")
    async with away.producing() as producer, recovering("network silent for 8 s", away, producer):
        door.hang()
        await asyncio.sleep(8)
        door.mend()
    assert member.lives


async def test_cut_off_for_good_it_ends_instead_of_staying_deaf(away: Group, door: Proxy) -> None:
    async with away.producing() as producer:
        await away.send(producer, 20)
    member = await away.member("a", DEAF_SECONDS=8)
    await away.all_applied()
    door.cut()
    assert await member.end_by_itself() == 1
    assert "has not been heard for" in str(member.said()[-1]["why"])
    door.mend()


async def test_with_another_database_a_member_of_the_same_name_is_found_out_by_the_group(
    group: Group, database: MakeDatabase
) -> None:
    """Nothing but Kafka could tell the two: they take the seat from each other, until one of them has enough."""
    other = await database(SCHEMA)
    first = await group.member("a")
    await until(lambda: bool(seats(first)))
    pair = [first, await group.member("a", DATABASE=other.dsn(SCHEMA))]
    await until(lambda: not all(member.lives for member in pair))
    [left] = [member for member in pair if not member.lives]
    [stays] = [member for member in pair if member.lives]
    assert await left.ended == 1
    assert "another live process has its name, with another database" in str(left.said()[-1]["why"])
    ended = await stays.end()  # each may have had enough at the same moment: then the other one says the same
    assert ended == 0 or "another live process has its name" in str(stays.said()[-1].get("why")), stays.said()


class Servers:
    """A primary, a standby without which nothing is committed, and a door that leads to whichever is in office."""

    def __init__(self, one: postgres.Server, other: postgres.Server, door: Proxy) -> None:
        self.one, self.other, self.door = one, other, door

    async def fail_over(self) -> None:
        await asyncio.to_thread(self.one.kill)
        connection = await asyncpg.connect(self.other.address)
        for statement in (
            "select pg_promote()",
            "alter system reset synchronous_standby_names",
            "select pg_reload_conf()",
        ):
            await connection.execute(statement)
        await connection.close()
        self.door.server_port = int(self.other.address.rsplit(":", 1)[1].split("/")[0])

    def dsn(self) -> str:
        name = self.one.address.rsplit("/", 1)[1]
        return f"postgresql://{SCHEMA.role}@{self.door.address}/{name}"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the servers' own user can reach it."""
    path = Path(tempfile.mkdtemp(prefix="millrace-failover-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def servers(folder: Path) -> AsyncIterator[Servers]:
    try:
        both = [postgres.Server.new(folder / name, print) for name in ("one", "other")]
    except StackError as problem:
        pytest.skip(f"no PostgreSQL of our own to lose: {problem}")
    await asyncio.to_thread(both[0].start, print)
    for schema in (outbox.SCHEMA, SCHEMA):
        await pg.migrate(both[0].address, schema)
    await stands_by(both, synchronous=True)
    port = int(both[0].address.rsplit(":", 1)[1].split("/")[0])
    async with before(port) as door:
        yield Servers(both[0], both[1], door)
    for server in both:
        await asyncio.to_thread(server.kill)


async def test_postgres_fails_over_to_its_standby(
    stack: Stack, servers: Servers, topics: MakeTopic, nursery: Nursery
) -> None:
    group = Group(stack.kafka, servers.dsn(), await topics("tally", partitions=3), nursery)
    member = await group.member("a")
    async with group.producing() as producer, recovering("PostgreSQL failed over", group, producer):
        await servers.fail_over()
    assert member.lives


@pytest.mark.nightly
async def test_of_three_brokers_the_coordinator_dies_and_the_next_one_too(
    db: Database, nursery: Nursery
) -> None:
    with own.cluster(3) as cluster:
        group = Group(cluster.address, db.dsn(SCHEMA), "tally", nursery)
        admin = AIOKafkaAdminClient(bootstrap_servers=cluster.address)
        await admin.start()
        await admin.create_topics([NewTopic("tally", 6, 3)])
        await admin.close()
        members = [await group.member(seat) for seat in "ab"]
        async with group.producing() as producer:
            for _ in range(2):
                async with recovering("coordinator killed and started", group, producer):
                    node = await coordinator(cluster.address, "tally-tally")
                    cluster.brokers[node - 1].kill()
                    await asyncio.sleep(5)
                    await asyncio.to_thread(cluster.brokers[node - 1].start)
        assert all(member.lives for member in members)


async def coordinator(address: str, group: str) -> int:
    client = AIOKafkaClient(bootstrap_servers=address)
    await client.bootstrap()
    node = int(await client.coordinator_lookup(CoordinationType.GROUP, group))
    await client.close()
    return node
