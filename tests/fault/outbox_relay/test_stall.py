"""Nothing fails, and nothing moves: the relay notices by itself, says why it is not ready, and goes on when it can.

Readiness is progress, so it does not matter what holds it up. The bound of 30 s is the alert's, and the relay's
`stalled_seconds` is shortened to leave the machine room.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from lab.stack import kafka, wire
from tests.fault.outbox_relay import own, proxy
from tests.fault.outbox_relay.proxy import Proxy, Way
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until
from tests.support.database import MakeDatabase

NOTICED_SECONDS = 30.0
AGAIN_SECONDS = 60.0  # within which it has to be ready after the fault
IMPATIENT = {"stalled_seconds": 1.5, "deadline_seconds": 3, "transaction_seconds": 5, "page_rows": 20}
numbers = itertools.count(1)

Fault = Callable[[], AbstractAsyncContextManager[None]]


async def stalls_and_recovers(it: Arena, fault: Fault, says: str) -> None:
    """Rows are published, the fault comes, more rows wait, the relay is not ready; then all of it undone."""
    await it.insert(rows=40)
    relay = it.relay()
    async with running(relay):
        await it.published()
        await until(lambda: relay.ready() == "")
        await it.insert(rows=40)
        async with fault():
            await until(lambda: says in relay.ready(), NOTICED_SECONDS)
        await it.insert(rows=40)
        await it.published()
        await until(lambda: relay.ready() == "", AGAIN_SECONDS)
    assert await it.account() == Account(rows=120)


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        pytest.param(
            "begin; lock table outbox.event in access exclusive mode",
            "commit",
            "no progress for",
            id="a lock",
        ),
        pytest.param(
            "revoke select on outbox.event from millrace_outbox",
            "grant select on outbox.event to millrace_outbox",
            "InsufficientPrivilegeError",
            id="a right revoked",
        ),
    ],
)
async def test_a_query_that_does_not_come_back(arena: MakeArena, begin: str, end: str, says: str) -> None:
    it = await arena(**IMPATIENT)

    @asynccontextmanager
    async def fault() -> AsyncIterator[None]:
        async with it.connection() as owner:
            await owner.execute(begin)
            yield
            await owner.execute(end)

    await stalls_and_recovers(it, fault, says)


def broken(between: Proxy, how: str) -> Fault:
    @asynccontextmanager
    async def fault() -> AsyncIterator[None]:
        WAYS[how](between)
        yield
        between.mend()

    return fault


WAYS: dict[str, Callable[[Proxy], None]] = {
    "silent": Proxy.hang,
    "deaf": lambda it: it.hang(Way.TO_SERVER),
    "dumb": lambda it: it.hang(Way.TO_CLIENT),
    "half an answer": lambda it: it.stop_after(10, Way.TO_CLIENT),
    "refused": Proxy.cut,
}


@pytest.mark.parametrize(
    "how", ["silent", "refused", *(pytest.param(how, marks=pytest.mark.nightly) for how in ("deaf", "dumb"))]
)
async def test_postgresql_does_not_answer(arena: MakeArena, how: str) -> None:
    it = await arena(**IMPATIENT)
    straight = urlsplit(it.dsn)
    async with proxy.before(straight.port or 5432) as between:
        it.overrides["database"] = it.dsn.replace(f":{straight.port}/", f":{between.port}/")
        await stalls_and_recovers(it, broken(between, how), "no progress for")


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[kafka.Cluster, int]]:
    """A broker, and the port that it sends its clients to."""
    (port,) = wire.free_ports(1)
    with own.cluster(1, advertised=port) as cluster:
        yield cluster, port


MakeBehind = Callable[..., Awaitable[Arena]]


@pytest.fixture
def hidden(behind: tuple[kafka.Cluster, int], database: MakeDatabase) -> MakeBehind:
    async def make(**overrides: object) -> Arena:
        n = next(numbers)
        owner, kafka = (await database()).owner, f"127.0.0.1:{behind[1]}"
        it = Arena(owner, kafka, f"billing.{n}", f"cursor.{n}", overrides)
        await own.make_topics(kafka, it.topic, cursor=it.cursor, copies=1)
        return it

    return make


@pytest.mark.parametrize("client", ["aiokafka", pytest.param("confluent", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "how",
    [
        "silent",
        "refused",
        *(pytest.param(how, marks=pytest.mark.nightly) for how in ("deaf", "dumb", "half an answer")),
    ],
)
async def test_kafka_does_not_answer(
    hidden: MakeBehind, behind: tuple[kafka.Cluster, int], how: str, client: str
) -> None:
    cluster, port = behind
    async with proxy.before(cluster.brokers[0].ports.clients, at=port) as between:
        it = await hidden(client=client, **IMPATIENT)
        await stalls_and_recovers(it, broken(between, how), "no progress for")
        assert between.carried[Way.TO_SERVER] > 0, "it went another way: this proved nothing"
