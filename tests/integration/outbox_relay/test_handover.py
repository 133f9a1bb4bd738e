"""From one leader to the next: how long nothing is published. The figures are printed; the bounds are a shared
machine's."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, until

BOUND_SECONDS = 10.0  # alone on a machine: 2 s after a kill, 0.5 s after a request


@asynccontextmanager
async def reader(it: Arena) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        it.topic, bootstrap_servers=it.kafka, isolation_level="read_committed", enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


@pytest.mark.parametrize(
    ("of", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)], ids=["killed", "asked"]
)
async def test_the_standby_leads_at_once(
    arena: MakeArena, tmp_path: Path, capsys: pytest.CaptureFixture[str], of: signal.Signals, code: int
) -> None:
    it = await arena(lease_seconds=15)
    leader = await RelayProcess.start(it, tmp_path / "leader.log")
    await leader.said("leading")
    standby = await RelayProcess.start(it, tmp_path / "standby.log", RELAY_HEALTH_PORT="0")
    try:
        async with reader(it) as consumer:
            await it.insert(rows=1)
            await asyncio.wait_for(consumer.getone(), 30)
            await until(lambda: both_ask(it))
            leader.process.send_signal(of)
            began = time.monotonic()
            await it.insert(rows=1)
            await asyncio.wait_for(consumer.getone(), 60)
            seconds = time.monotonic() - began
        assert await leader.ended() == code
        await standby.said("leading")
    finally:
        await leader.kill()
        await standby.kill()
    with capsys.disabled():
        print(f"\n[hand-over after {of.name}: {seconds:.2f} s]", end="")  # noqa: T201 what this test is for
    assert seconds < BOUND_SECONDS
    assert await it.account() == Account(rows=2)


async def both_ask(it: Arena) -> bool:
    return await asking(it) == 2


async def asking(it: Arena) -> int:
    """Sessions that ask for the lease: the leader's, and those of whoever stands by."""
    async with it.connection() as connection:
        return int(await connection.fetchval(ASKING))


ASKING = """
select count(*) from pg_stat_activity
 where datname = current_database() and application_name like 'millrace-relay-lease%'
"""
