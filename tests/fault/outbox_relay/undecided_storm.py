"""The only broker, killed again and again under load, mostly at the moment when it ends a transaction.

python -m tests.fault.outbox_relay.undecided_storm --kills 300 [--random] [--unsettled] [--minutes 30] [--seed 1]

Prints a line for each death, and at the end the account as JSON: how many transactions were found without their
end, what was decided about them, and what a reader sees of it all. `--unsettled` leaves the remedy out.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
import prometheus_client
import pytest
from aiokafka.protocol.transaction import EndTxnRequest

from lab.stack import kafka, postgres
from millrace import outbox
from millrace.postgres import migrate
from outbox_relay import metrics
from outbox_relay.publisher import txn
from outbox_relay.publisher.client import Producer
from tests.fault.outbox_relay.torn import make_topics, unsettled
from tests.integration.outbox_relay.arena import Account, Arena, running, until
from tests.integration.outbox_relay.writers import Writers

AIM_SECONDS = 0.012  # from the request to end a transaction to the markers; a busy broker takes longer
PARTITIONS, KEYS = 24, 100  # the more markers a transaction has, the longer it takes to write them
FORGOTTEN = b"likely deleted already and hence can be skipped"  # what a broker logs when it writes no marker


@dataclass
class Storm:
    """`aimed` at the ends of transactions, or at random."""

    it: Arena
    broker: kafka.Broker
    chance: random.Random
    aimed: bool = True
    deaths: int = 0
    fire: Callable[[], None] | None = None
    before: Counter[str] = field(default_factory=lambda: verdicts())

    async def rage(self, kills: int, until_seconds: float = float("inf")) -> Account:
        """Raises: whatever the relay ended with, if it did."""
        writers, began = Writers(self.it, seed=3, keys=KEYS), time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            self._aim(patch)
            async with running(self.it.relay()) as relay:
                writing = asyncio.create_task(writers.run(4))
                while self.deaths < kills and time.monotonic() - began < until_seconds:
                    await self._death(relay)
                writers.stopping.set()
                await writing
                await self._quiet(relay)
                return await self.it.account()

    def settled(self) -> dict[str, int]:
        """What was decided since the beginning, and how often."""
        return dict(verdicts() - self.before)

    def _aim(self, patch: pytest.MonkeyPatch) -> None:
        """The broker dies a moment after it was asked to end a transaction, whose ever that is."""
        start = Producer.start

        async def starting(producer: Producer) -> None:
            await start(producer)
            sending = producer.client.send

            async def send(node: int, request: Any, **options: Any) -> Any:
                fire = self.fire if isinstance(request, EndTxnRequest) else None
                if not fire:
                    return await sending(node, request, **options)
                self.fire, answered = None, self.chance.random() < 0.3
                if not answered:  # before the end is decided, or while its markers are written
                    asyncio.get_running_loop().call_later(self.chance.uniform(0, AIM_SECONDS), fire)
                answer = await sending(node, request, **options)
                if answered:  # decided; the markers are on their way
                    fire()
                return answer

            producer.client.send = send

        patch.setattr(Producer, "start", starting)

    async def _death(self, relay: asyncio.Task[None]) -> None:
        pid, dead = self.broker.pid, asyncio.Event()

        def kill() -> None:
            os.kill(pid, signal.SIGKILL)
            dead.set()

        if self.aimed:
            self.fire = kill
            await asyncio.wait_for(dead.wait(), 60)
        else:
            await asyncio.sleep(self.chance.uniform(0.1, 0.5))  # to die at another moment each time
            kill()
        await asyncio.to_thread(self.broker.kill)
        published = rows()
        await asyncio.to_thread(self.broker.start)
        await until(lambda: rows() > published or relay.done(), 120)
        if relay.done():
            relay.result()
        self.deaths += 1
        say(f"{self.deaths} deaths, {rows():.0f} rows, {self.settled()}, forgotten {self.forgotten()}")

    async def _quiet(self, relay: asyncio.Task[None]) -> None:
        """Everything that was written has been published, or some of it more than once."""
        wanted = len(await self.it.committed())
        with suppress(TimeoutError):
            await until(lambda: rows() >= wanted or relay.done(), 60)
            await self.it.published(wanted)

    def forgotten(self) -> int:
        """How often a broker said that it leaves out a marker."""
        return self.broker.log.read_bytes().count(FORGOTTEN)


def rows() -> float:
    """What relays of this process have published."""
    return float(sum(it.value for it in samples(metrics.PUBLISHED)))


def verdicts() -> Counter[str]:
    """How often each was given in this process."""
    return Counter({it.labels["verdict"]: int(it.value) for it in samples(metrics.UNDECIDED)})


def samples(counter: prometheus_client.Counter) -> list[Any]:
    (metric,) = counter.collect()
    return [sample for sample in metric.samples if sample.name.endswith("_total")]


def main() -> None:
    wanted = _wanted()
    folder = Path(tempfile.mkdtemp(prefix="millrace-storm-", dir="/var/tmp"))
    folder.chmod(0o755)
    server, cluster = postgres.Server.new(folder, say), kafka.Cluster.new(folder, 1, say)
    try:
        server.start(say)
        cluster.start(say)
        asyncio.run(storm(wanted, server.address, cluster))
    finally:
        cluster.brokers[0].kill()
        server.kill()
        server.wipe()
        shutil.rmtree(folder, ignore_errors=True)


async def storm(wanted: argparse.Namespace, owner: str, cluster: kafka.Cluster) -> None:
    await migrate(owner, outbox.SCHEMA)
    it = Arena(owner, cluster.address, "billing", "cursor", {"deadline_seconds": 3})
    await make_topics(it.kafka, it.topic, it.cursor, PARTITIONS)
    if wanted.unsettled:
        vars(txn)["settled"] = unsettled
    raging = Storm(it, cluster.brokers[0], random.Random(wanted.seed), not wanted.random)
    account = await raging.rage(wanted.kills, wanted.minutes * 60)
    counts = {"deaths": raging.deaths, "forgotten": raging.forgotten(), "verdicts": raging.settled()}
    say(orjson.dumps({**counts, **asdict(account)}).decode())


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _wanted() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--random", action="store_true", help="at any moment, not at the ends of transactions"
    )
    parser.add_argument("--unsettled", action="store_true", help="without the remedy")
    return parser.parse_args()


if __name__ == "__main__":
    main()
