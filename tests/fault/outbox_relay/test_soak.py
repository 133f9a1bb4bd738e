"""An hour, or as long as SOAK_MINUTES says: writers write, relays die, freeze and are cut off at random, brokers too.

Two relays stand in for each other the whole time. Whatever comes is printed with the seed and the second, so that a
run that ends badly can be told.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest

from lab.stack import kafka
from tests.fault.outbox_relay import own
from tests.integration.outbox_relay.arena import Account, Arena, RelayProcess
from tests.integration.outbox_relay.writers import Writers
from tests.support.database import MakeDatabase

SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "2"))
SEED = int(os.environ.get("SEED", "1"))
DOWN_SECONDS = min(900.0, SECONDS / 4)  # of all brokers, once
pytestmark = pytest.mark.nightly


@pytest.fixture
def three() -> Iterator[kafka.Cluster]:
    with own.cluster(3) as cluster:
        yield cluster


class Steady(Writers):
    """Slow enough for one reader to count an hour of it."""

    async def transaction(
        self, connection: asyncpg.Connection[asyncpg.Record], chance: random.Random
    ) -> None:
        await super().transaction(connection, chance)
        await asyncio.sleep(0.3)


@dataclass
class Soak:
    """What happens to two relays and three brokers."""

    it: Arena
    cluster: kafka.Cluster
    folder: Path
    chance: random.Random
    relays: list[RelayProcess] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    faults: int = 0

    async def run(self) -> None:
        outage_at = SECONDS / 2
        while (now := time.monotonic() - self.began) < SECONDS:
            await self.staffed()
            if now > outage_at:
                outage_at = SECONDS
                await self.outage()
            else:
                await self.fault()
            await asyncio.sleep(
                self.chance.uniform(1, 10)
            )  # the next one comes at any moment of what goes on
        await self.staffed()

    async def staffed(self) -> None:
        """A relay that ended, as a deposed one does, is started again, as an orchestrator does."""
        self.relays = [relay for relay in self.relays if relay.process.returncode is None]
        while len(self.relays) < 2:
            self.relays.append(await RelayProcess.start(self.it, self.folder / "relays.log"))

    async def fault(self) -> None:
        self.faults += 1
        relay, broker = self.chance.choice(self.relays), self.chance.choice(self.cluster.brokers)
        name = self.chance.choice(("kill", "freeze", "terminate", "broker"))
        self.tell(f"{name} {broker.node if name == 'broker' else relay.process.pid}")
        if name == "broker":
            await asyncio.to_thread(broker.kill)
            await asyncio.sleep(self.chance.uniform(0, 5))
            await asyncio.to_thread(broker.start, wait=False)
        elif name == "freeze":
            relay.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(self.chance.uniform(1, 20))
            relay.process.send_signal(signal.SIGCONT)
        else:
            relay.process.send_signal(signal.SIGKILL if name == "kill" else signal.SIGTERM)
            await relay.ended(60)

    async def outage(self) -> None:
        self.tell(f"all brokers down for {DOWN_SECONDS:.0f} s")
        for broker in self.cluster.brokers:
            await asyncio.to_thread(broker.kill)
        await asyncio.sleep(DOWN_SECONDS)
        for broker in self.cluster.brokers:
            await asyncio.to_thread(broker.start, wait=False)

    def tell(self, what: str) -> None:
        print(f"soak {time.monotonic() - self.began:7.1f} s  {what}", flush=True)  # noqa: T201

    async def end(self) -> None:
        for relay in self.relays:
            with suppress(ProcessLookupError):
                relay.process.send_signal(signal.SIGCONT)
            await relay.kill()


@pytest.mark.timeout(SECONDS + DOWN_SECONDS + 900)
async def test_whatever_comes_nothing_is_lost_or_doubled(
    three: kafka.Cluster, database: MakeDatabase, tmp_path: Path
) -> None:
    it = Arena((await database()).owner, three.address, "billing", "cursor", {"lease_seconds": 5})
    await own.make_topics(it.kafka, it.topic, cursor=it.cursor, copies=3)
    soak, writers = Soak(it, three, tmp_path, random.Random(SEED)), Steady(it, seed=SEED, keys=50)
    soak.tell(f"SEED={SEED}, {SECONDS:.0f} s")
    work = asyncio.create_task(writers.run(8))
    try:
        await soak.run()
        writers.stopping.set()
        await work
        await it.published(deadline_seconds=600)
    finally:
        writers.stopping.set()
        await soak.end()
    account = await it.account()
    soak.tell(f"{soak.faults} faults, {account}")
    assert account == Account(rows=account.rows)
    assert soak.faults > 3
