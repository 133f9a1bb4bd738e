"""Every answer a broker can give to a batch, and every way in which the end of a transaction can get lost.

The broker is real and so are both clients; the answers are changed on the wire. Each story ends with all rows in
the topic, once, without a gap, and with another producer than at its beginning.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from lab.stack import StackError, kafka, wire
from outbox_relay import metrics
from tests.fault.outbox_relay.frames import Api, FrameProxy, Lost, Request, Tamper, before, with_error
from tests.integration.outbox_relay.arena import COMPACT, Account, Arena, RelayProcess, running, until
from tests.support.database import MakeDatabase

HOW = {
    "aiokafka": {"client": "aiokafka"},
    "confluent": {"client": "confluent"},
    "idempotent": {"publish": "idempotent"},
}
ROWS = 30
# what the client makes of a code differs; what becomes of the rows must not
CODES = {
    10: "MESSAGE_TOO_LARGE",
    29: "TOPIC_AUTHORIZATION_FAILED",
    45: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    47: "INVALID_PRODUCER_EPOCH",
    48: "INVALID_TXN_STATE",
    87: "INVALID_RECORD",
}


@dataclass(frozen=True, slots=True)
class Behind:
    """A broker, and the port that it sends its clients to."""

    cluster: kafka.Cluster
    port: int


@pytest.fixture(scope="module")
def behind() -> Iterator[Behind]:
    folder = Path(tempfile.mkdtemp(prefix="millrace-answers-", dir="/var/tmp"))
    folder.chmod(0o755)
    (port,) = wire.free_ports(1)
    try:
        cluster = kafka.Cluster.new(folder, 1, print)
        cluster.brokers[0].ports = replace(cluster.brokers[0].ports, advertised=port)
        cluster.start(print)
    except StackError as problem:
        pytest.skip(f"no Kafka of our own to stand before: {problem}")
    yield Behind(cluster, port)
    cluster.brokers[0].kill()
    shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def tampered(
    behind: Behind, database: MakeDatabase, name: str, how: str
) -> AsyncIterator[tuple[Arena, FrameProxy]]:
    """An outbox whose way out leads past a proxy."""
    async with before(behind.cluster.brokers[0].ports.clients, behind.port) as proxy:
        yield await arena(behind, database, name, how), proxy


async def arena(behind: Behind, database: MakeDatabase, name: str, how: str) -> Arena:
    address = f"127.0.0.1:{behind.port}"
    topic, cursor = f"{name}.{how}", f"cursor.of.{name}.by.{how}"
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1), NewTopic(cursor, 1, 1, topic_configs=COMPACT)])
    await admin.close()
    settings = {"deadline_seconds": 3, "transaction_seconds": 5, **HOW[how]}
    return Arena((await database()).owner, address, topic, cursor, settings)


def fences() -> float:
    return sum(
        sample.value
        for metric in metrics.FENCES.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


async def replaced(known: float) -> None:
    """Wait for another producer than those that were."""
    await until(lambda: fences() > known, 60)


def refusing(topic: str, code: int) -> Tamper:
    """The next Produce for this topic is taken by the broker, and its answer says that it was not."""
    tamper = Tamper()

    def answered(request: Request, answer: bytes) -> bytes | None:
        if request.api != Api.PRODUCE or tamper.done.is_set():
            return answer
        if (changed := with_error(request, answer, topic, code)) is None:
            return answer
        tamper.done.set()
        return changed

    tamper.answered = answered
    return tamper


LONG = pytest.mark.nightly


@pytest.mark.parametrize("how", ["aiokafka", "confluent", pytest.param("idempotent", marks=LONG)])
async def test_whatever_a_broker_answers_to_a_batch_nothing_is_lost(
    behind: Behind, database: MakeDatabase, how: str
) -> None:
    async with tampered(behind, database, "codes", how) as (it, proxy):
        async with running(it.relay()):
            for number, code in enumerate(CODES, start=1):
                proxy.tamper, known = refusing(it.topic, code), fences()
                await it.insert(ROWS)
                async with asyncio.timeout(30):
                    await proxy.tamper.done.wait()
                await replaced(known)
                await it.published(ROWS * number)
        account = await it.account()
    rows = ROWS * len(CODES)
    if how == "idempotent":
        assert (account.rows, account.lost, account.strange) == (rows, 0, 0)  # at least once
    else:
        assert account == Account(rows=rows)


def swallowed() -> Tamper:
    """The request never arrives."""
    return on_end(lambda tamper, request: None)


def cut() -> Tamper:
    """The connection is reset under it."""

    def lost(tamper: Tamper, request: Request) -> bytes:
        raise Lost

    return on_end(lost)


def unanswered() -> Tamper:
    """The broker does as it was asked, and nobody is told."""
    tamper = Tamper()

    def answered(request: Request, answer: bytes) -> bytes | None:
        if request.api != Api.END_TXN or tamper.done.is_set():
            return answer
        tamper.done.set()
        return None

    tamper.answered = answered
    return tamper


def on_end(deed: Callable[[Tamper, Request], bytes | None]) -> Tamper:
    tamper = Tamper()

    def asked(request: Request) -> bytes | None:
        if request.api != Api.END_TXN or tamper.done.is_set():
            return request.body
        tamper.done.set()
        return deed(tamper, request)

    tamper.asked = asked
    return tamper


@pytest.mark.parametrize("how", ["aiokafka", pytest.param("confluent", marks=LONG)])
async def test_an_end_that_gets_lost_loses_and_doubles_nothing(
    behind: Behind, database: MakeDatabase, how: str
) -> None:
    async with tampered(behind, database, "ends", how) as (it, proxy):
        async with running(it.relay()):
            for number, fault in enumerate((swallowed, unanswered, cut), start=1):
                proxy.tamper, known = fault(), fences()
                await it.insert(ROWS)
                async with asyncio.timeout(30):
                    await proxy.tamper.done.wait()
                await it.published(ROWS * number)
                if how == "aiokafka" or fault is not cut:  # librdkafka asks again over another connection
                    await replaced(known)
        account = await it.account()
    assert account == Account(rows=ROWS * 3)


@pytest.mark.parametrize("how", ["aiokafka", pytest.param("confluent", marks=LONG)])
async def test_an_end_that_arrives_after_the_successor_has_begun_ends_nothing(
    behind: Behind, database: MakeDatabase, how: str
) -> None:
    """A delayed EndTxn may end a later transaction of the same producer; ours is of another epoch by then."""
    async with tampered(behind, database, "late", how) as (it, proxy):
        async with running(it.relay()):
            proxy.tamper = swallowed()
            await it.insert(ROWS)
            async with asyncio.timeout(30):
                await proxy.tamper.done.wait()
            known = fences()
            await replaced(known)
            await proxy.send_kept()
            assert len(proxy.tamper.kept) == 1
            await it.published(ROWS)
            await it.insert(ROWS)
            await it.published(2 * ROWS)
        account = await it.account()
    assert account == Account(rows=2 * ROWS)


@LONG
@pytest.mark.timeout(240)
async def test_an_outage_does_not_fill_the_log(
    behind: Behind, database: MakeDatabase, tmp_path: Path
) -> None:
    """A client has a line for every try; few of them are written. The last story of this broker: it is killed."""
    async with before(behind.cluster.brokers[0].ports.clients, behind.port):
        places = [await arena(behind, database, "storm", how) for how in ("aiokafka", "confluent")]
        relays = [await RelayProcess.start(it, tmp_path / f"{it.topic}.log") for it in places]
        try:
            for it in places:
                await it.insert(ROWS)
                await it.published(ROWS)
            await asyncio.to_thread(behind.cluster.brokers[0].kill)
            for relay in relays:
                await wrote(relay, 6)
            await until(lambda: held_back(relays[0], "aiokafka") > 0, 90)
        finally:
            for relay in relays:
                await relay.kill()
    for relay, name in zip(relays, ("aiokafka", "confluent"), strict=True):
        lines = logged(relay, name)
        assert 0 < len(lines) < 60


def held_back(relay: RelayProcess, logger: str) -> int:
    return sum(int(str(line.get("held_back", 0))) for line in logged(relay, logger))


async def wrote(relay: RelayProcess, lines: int) -> None:
    await until(lambda: len(logged(relay, "outbox_relay")) >= lines, 90)


def logged(relay: RelayProcess, logger: str) -> list[Mapping[str, object]]:
    return [line for line in relay.logged() if str(line.get("logger")).startswith(logger)]
