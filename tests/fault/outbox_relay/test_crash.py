"""A relay that dies anywhere, or only seems to: every row arrives once, in order, and a zombie commits nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from outbox_relay.publisher import Mirrored
from tests.fault.outbox_relay.dying import OF_DECISIONS, POINTS
from tests.fault.outbox_relay.kills import SMALL, Lives, Slaughter, lives
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.integration.outbox_relay.writers import Writers
from tests.support.kafka import read_all

RUNS = int(os.environ.get("FAULT_RUNS", "1"))  # deaths at each point
COMMITTING = ("page_read", "partial_send", "full_send", "before_commit", "during_commit", "after_commit")
DYING = "tests.fault.outbox_relay.dying"
BOTH_CLIENTS = ["aiokafka", pytest.param("confluent", marks=pytest.mark.nightly)]


@pytest.fixture(scope="module", name="lives")
def _lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    with lives(tmp_path_factory.mktemp("lives")) as made:
        yield made


@pytest.mark.timeout(120 + 20 * RUNS)
@pytest.mark.parametrize("client", BOTH_CLIENTS)
@pytest.mark.parametrize(
    "point", [*POINTS, *(pytest.param(it, marks=pytest.mark.nightly) for it in OF_DECISIONS)]
)
async def test_killed_at_any_point_it_loses_and_doubles_nothing(
    arena: MakeArena, lives: Lives, point: str, client: str
) -> None:
    it = await arena(client=client, **SMALL)
    account = await Slaughter(it, lives, point, random.Random(point)).run(deaths=RUNS)
    assert account == Account(rows=62 * RUNS)


@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_killed_again_and_again_while_sixteen_write(
    arena: MakeArena, lives: Lives, client: str
) -> None:
    it = await arena(page_rows=20, client=client)
    chance, writers = random.Random(5), Writers(it, seed=5)
    work = asyncio.create_task(writers.run())
    for _ in range(max(3, RUNS)):
        await lives.dies(it, chance.choice(COMMITTING), chance.randint(1, 9))
    async with lives.life(it):
        writers.stopping.set()
        await work
        await it.published()
    account = await it.account()
    assert account == Account(rows=account.rows)
    assert account.rows > 0


@pytest.mark.parametrize("client", BOTH_CLIENTS)
@pytest.mark.parametrize(
    "point",
    ["before_commit", *(pytest.param(it, marks=pytest.mark.nightly) for it in ("full_send", "page_read"))],
)
async def test_a_zombie_commits_nothing_and_leaves(
    arena: MakeArena, tmp_path: Path, point: str, client: str
) -> None:
    """It is stopped in mid-work, a standby takes over, and it comes back believing that it leads."""
    it = await arena(page_rows=20, client=client)
    await it.insert(rows=200)
    zombie = await RelayProcess.start(
        it, tmp_path / "zombie.log", DYING, DIE_AT=point, DIE_AT_PASSAGE="3", DIE_OF="SIGSTOP"
    )
    try:
        await until(lambda: stopped(zombie), 60)
        standby = await RelayProcess.start(it, tmp_path / "standby.log")
        try:
            await it.published()
            await it.insert(rows=50)
            before = len(await read_all(it.kafka, it.topic))
            zombie.process.send_signal(signal.SIGCONT)
            assert await zombie.ended(60) not in (0, None)
            assert any("Deposed" in str(line.get("error")) for line in zombie.logged())
            await it.published()
            assert standby.process.returncode is None
            assert before >= 200
        finally:
            await standby.kill()
    finally:
        await zombie.kill()
    assert await it.account() == Account(rows=250)


def stopped(relay: RelayProcess) -> bool:
    stat = Path(f"/proc/{relay.process.pid}/stat").read_text()
    return stat.rpartition(") ")[2].startswith("T")


@pytest.mark.nightly
async def test_a_zombie_of_a_minute(arena: MakeArena, tmp_path: Path) -> None:
    """Longer than any transaction may take: the coordinator has given it up as well."""
    it = await arena(page_rows=20)
    await it.insert(rows=200)
    more = {"DIE_AT": "before_commit", "DIE_AT_PASSAGE": "3", "DIE_OF": "SIGSTOP"}
    zombie = await RelayProcess.start(it, tmp_path / "zombie.log", DYING, **more)
    standby: RelayProcess | None = None
    try:
        await until(lambda: stopped(zombie), 60)
        until_then = time.monotonic() + 60
        standby = await RelayProcess.start(it, tmp_path / "standby.log")
        writers = Writers(it, seed=7)
        work = asyncio.create_task(writers.run(4))
        await until(lambda: time.monotonic() > until_then, 90)
        zombie.process.send_signal(signal.SIGCONT)
        assert await zombie.ended(60) not in (0, None)
        writers.stopping.set()
        await work
        await it.published()
    finally:
        for relay in filter(None, (zombie, standby)):
            await relay.kill()
    account = await it.account()
    assert account == Account(rows=account.rows)


@pytest.mark.parametrize(
    ("standby", "transaction_seconds", "within_seconds"),
    [
        pytest.param(True, 60, 50, id="by the next relay"),
        pytest.param(False, 3, 30, id="by the coordinator", marks=pytest.mark.nightly),
    ],
)
async def test_readers_do_not_wait_for_a_dead_relays_transaction(
    arena: MakeArena,
    lives: Lives,
    capsys: pytest.CaptureFixture[str],
    standby: bool,
    transaction_seconds: float,
    within_seconds: float,
) -> None:
    """Until the next relay fences it or the coordinator's time is up, whichever comes first. The coordinator looks
    every 10 s, so that long after the time-out at most."""
    it = await arena(page_rows=20, transaction_seconds=transaction_seconds)
    await it.insert(rows=60)
    await lives.dies(it, "before_commit", 2)
    began = time.monotonic()
    assert await blocked(it), "nothing was left open: this proved nothing"
    async with lives.life(it) if standby else nullcontext():
        await until(lambda: unblocked(it), within_seconds)
    with capsys.disabled():
        print(f"\n[readers waited {time.monotonic() - began:.1f} s]", end="")  # noqa: T201 what was asked
    async with lives.life(it):
        await it.published()
    assert await it.account() == Account(rows=60)


async def blocked(it: Arena) -> bool:
    """Whether a transaction is open in the topic: then readers stand before it."""
    ends = [await ends_of(it, isolation) for isolation in ("read_committed", "read_uncommitted")]
    return ends[0] != ends[1]


async def unblocked(it: Arena) -> bool:
    return not await blocked(it)


async def ends_of(it: Arena, isolation: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=it.kafka, isolation_level=isolation, enable_auto_commit=False
    )
    await consumer.start()
    try:
        await consumer._client.fetch_all_metadata()
        parts = [TopicPartition(it.topic, number) for number in range(3)]
        found: dict[TopicPartition, int] = await consumer.end_offsets(parts)
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("client", BOTH_CLIENTS)
async def test_two_leaders_forced_past_the_lease_double_nothing(arena: MakeArena, client: str) -> None:
    """Even without the lock, the fence alone decides."""

    class Always:
        lost = asyncio.Event()

        async def confirm(self) -> None: ...

        async def release(self) -> None: ...

    async def always() -> Always:
        return Always()

    it = await arena(page_rows=20, client=client)
    await it.insert(rows=300)
    one, two = it.relay(), it.relay()
    one.lease = two.lease = always
    async with running(one), running(two):
        await it.published()
    assert await it.account() == Account(rows=300)


async def test_nobody_is_fenced_without_the_lease(arena: MakeArena) -> None:
    """A leader that was deposed must not disturb its successor before it has noticed."""

    class Gone:
        lost, asked = asyncio.Event(), 0

        async def confirm(self) -> None:
            self.asked += 1
            raise ConnectionError

        async def release(self) -> None: ...

    gone = Gone()

    async def lease() -> Gone:
        return gone

    relay = (await arena()).relay()
    relay.lease = lease
    async with running(relay):
        await until(lambda: gone.asked > 2)
        assert isinstance(relay.publisher, Mirrored)
        assert vars(relay.publisher.inner)["producer"] is None


async def test_a_lost_lease_ends_publishing_and_is_taken_again(arena: MakeArena) -> None:
    it = await arena()
    relay = it.relay()
    async with running(relay):
        await it.insert(rows=20)
        await it.published()
        async with it.connection() as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                "and application_name like 'millrace-relay%'"
            )
        await it.insert(rows=20)
        await it.published()
    assert await it.account() == Account(rows=40)
