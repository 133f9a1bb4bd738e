"""A relay that dies anywhere, or only seems to: every row arrives once, in order, and a zombie commits nothing."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from tests.fault.outbox_relay.dying import POINTS
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.integration.outbox_relay.writers import Writers
from tests.support.kafka import read_all

DYING = "tests.fault.outbox_relay.dying"
AT_THE_START = ("after_fence", "cursor_read")


async def dying(it: Arena, log: Path, point: str, passage: int, of: str = "SIGKILL") -> RelayProcess:
    passage = 1 if point in AT_THE_START else passage
    return await RelayProcess.start(it, log, DYING, DIE_AT=point, DIE_AT_PASSAGE=str(passage), DIE_OF=of)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_any_point_it_loses_and_doubles_nothing(
    arena: MakeArena, tmp_path: Path, point: str
) -> None:
    chance = random.Random(point)
    it = await arena(page_rows=20)
    for death in range(2):
        await it.insert(rows=150)
        relay = await dying(it, tmp_path / f"{death}.log", point, chance.randint(1, 6))
        assert await relay.ended() == -signal.SIGKILL
    async with running(it.relay()):
        await it.published()
    assert await it.account() == Account(rows=300)


async def test_killed_again_and_again_while_sixteen_write(arena: MakeArena, tmp_path: Path) -> None:
    it = await arena(page_rows=20)
    chance, writers = random.Random(5), Writers(it, seed=5)
    work = asyncio.create_task(writers.run())
    for death in range(4):
        point = chance.choice(POINTS[2:])
        relay = await dying(it, tmp_path / f"{death}.log", point, chance.randint(1, 9))
        assert await relay.ended(60) == -signal.SIGKILL
    async with running(it.relay()):
        writers.stopping.set()
        await work
        await it.published()
    account = await it.account()
    assert account == Account(rows=account.rows)
    assert account.rows > 0


@pytest.mark.parametrize("point", ["partial_send", "before_commit", "page_read"])
async def test_a_zombie_commits_nothing_and_leaves(arena: MakeArena, tmp_path: Path, point: str) -> None:
    """It is stopped in mid-work, a standby takes over, and it comes back believing that it leads."""
    it = await arena(page_rows=20)
    await it.insert(rows=200)
    zombie = await dying(it, tmp_path / "zombie.log", point, 3, of="SIGSTOP")
    try:
        await until(lambda: stopped(zombie), 30)
        standby = await RelayProcess.start(it, tmp_path / "standby.log")
        try:
            await it.published()
            await it.insert(rows=50)
            before = len(await read_all(it.kafka, it.topic))
            zombie.process.send_signal(signal.SIGCONT)
            assert await zombie.ended() not in (0, None)
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


async def test_two_leaders_forced_past_the_lease_double_nothing(arena: MakeArena) -> None:
    """Even without the lock, the fence alone decides."""

    class Always:
        lost = asyncio.Event()

        async def confirm(self) -> None: ...

        async def release(self) -> None: ...

    async def always() -> Always:
        return Always()

    it = await arena(page_rows=20)
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
        assert relay.publisher.producer is None


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
