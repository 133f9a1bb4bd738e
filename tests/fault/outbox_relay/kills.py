"""SIGKILL at each point of the relay's way, many times: nothing is lost, doubled, or out of order.

    python -m tests.fault.outbox_relay.kills --runs 100 [--client confluent] [--points before_commit,…]

prints one JSON line for each point, and ends with 1 unless all of them are clean. One process forks for every life,
so that a death costs a life and not a start of Python.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from os import kill
from pathlib import Path
from signal import SIGKILL
from typing import IO

import orjson

from lab.stack import owned
from lab.stack.jars import CHECKOUT
from outbox_relay.commands import quarantine
from outbox_relay.commands.quarantine import Wanted
from tests.fault.outbox_relay.dying import AT_THE_START, OF_DECISIONS, POINTS
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, arenas, until
from tests.support.database import databases
from tests.support.kafka import making

DEATH_SECONDS = 60.0  # within which the point is passed
SMALL = {"page_rows": 20, "claim_bytes": 300, "claim_bytes_max": 600}
PUT = """
insert into outbox.event (topic, key, headers, payload)
values ($1, 'acct_1/cus_claimed', '{}', convert_to(repeat('c', 400), 'UTF8')),
       ($1, 'acct_1/cus_parked', '{}', convert_to(repeat('p', 700), 'UTF8'))
"""


@dataclass
class Lives:
    """One relay after the other, forked by one process."""

    process: subprocess.Popen[bytes]
    log: Path

    @asynccontextmanager
    async def life(self, it: Arena, **more: object) -> AsyncIterator[asyncio.Task[bytes]]:
        """A relay that lives until it ends, or until this does."""
        own = {name.upper(): str(value) for name, value in more.items()}
        given = {**it.environment, "RELAY_HEALTH_PORT": "0", "LIFE_LOG": str(self.log), **own}
        into, out = self._pipes
        into.write(orjson.dumps(given, option=orjson.OPT_APPEND_NEWLINE))
        into.flush()
        pid = int(await asyncio.to_thread(out.readline))
        end = asyncio.create_task(asyncio.to_thread(out.readline))
        try:
            yield end
        finally:
            if not end.done():
                with suppress(ProcessLookupError):
                    kill(pid, SIGKILL)
            await end

    async def dies(self, it: Arena, point: str, passage: int, **more: object) -> None:
        """Raises: TimeoutError when it does not come to the point."""
        async with self.life(it, die_at=point, die_at_passage=passage, **more) as end:
            async with asyncio.timeout(DEATH_SECONDS):
                assert int(await asyncio.shield(end)) == -SIGKILL, f"it ended otherwise; see {self.log}"

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin and self.process.stdout
        return self.process.stdin, self.process.stdout


@contextmanager
def lives(folder: Path) -> Iterator[Lives]:
    command = [sys.executable, "-m", "tests.fault.outbox_relay.dying"]
    log = folder / "lives.log"
    pipe = subprocess.PIPE
    with log.open("ab") as err, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=err) as process:
        yield Lives(process, log)
        assert process.stdin
        process.stdin.close()


@dataclass
class Slaughter:
    """Deaths at one point, in one outbox. Every life has rows to claim and rows to park."""

    it: Arena
    lives: Lives
    point: str
    chance: random.Random

    async def run(self, deaths: int) -> Account:
        for _ in range(deaths):
            await self.it.insert(rows=60)
            async with self.it.connection() as connection:
                await connection.execute(PUT, self.it.topic)
            await self._death()
        await self._settle()
        return await self.it.account()

    async def _death(self) -> None:
        if self.point not in OF_DECISIONS:
            once = self.point in AT_THE_START or self.point in ("after_claim", "after_park")
            return await self.lives.dies(self.it, self.point, 1 if once else self.chance.randint(1, 4))
        async with self.lives.life(self.it):
            await until(self._parked, DEATH_SECONDS)
        await self._retry()
        await self.lives.dies(self.it, self.point, 1, relay_claim_bytes_max=10_000)
        return None

    async def _settle(self) -> None:
        """One that does not die publishes everything, and what was parked after it."""
        async with self.lives.life(self.it):
            await until(self._parked, DEATH_SECONDS)
        await self._retry()
        async with self.lives.life(self.it, relay_claim_bytes_max=10_000):
            await self.it.published(deadline_seconds=120)

    async def _parked(self) -> bool:
        """Whether all rows of the outbox have been parked that are to be."""
        async with self.it.connection() as connection:
            return bool(await connection.fetchval(
                "select count(*) = 0 from outbox.event e where octet_length(payload) > 600 "
                "and not exists (select from outbox.quarantine q where q.id = e.id)"
            ))  # fmt: skip

    async def _retry(self) -> None:
        async with self.it.connection() as connection, connection.transaction():
            await quarantine.decide(connection, Wanted(), "retry", "ada", "the limit was raised")


async def slaughters(
    make: MakeArena, lives: Lives, points: Sequence[str], deaths: int, client: str, seed: int
) -> AsyncIterator[dict[str, object]]:
    """An account of each point."""
    for point in points:
        began = time.monotonic()
        it = await make(client=client, **SMALL)
        account = await Slaughter(it, lives, point, random.Random(f"{seed}{point}")).run(deaths)
        yield {
            "point": point, "client": client, "kills": deaths, "seconds": round(time.monotonic() - began, 1),
            **{name: getattr(account, name) for name in Account.__slots__}, "clean": account.clean,
        }  # fmt: skip


async def main(runs: int, points: Sequence[str], client: str, seed: int) -> int:
    dirty = 0
    stack_folder = CHECKOUT / ".millrace" / "test-stack"
    with tempfile.TemporaryDirectory() as folder, owned(stack_folder, fresh=True) as stack:
        async with databases(stack) as database, making(stack.kafka) as topics:
            make = arenas(stack.kafka, database, topics)
            with lives(Path(folder)) as each:
                async for report in slaughters(make, each, points, runs, client, seed):
                    sys.stdout.write(orjson.dumps(report).decode() + "\n")
                    sys.stdout.flush()
                    dirty += not report["clean"]
    return bool(dirty)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="deaths at each point")
    parser.add_argument("--points", default=",".join((*POINTS, *OF_DECISIONS)), help="comma-separated")
    parser.add_argument("--client", default="aiokafka", choices=["aiokafka", "confluent"])
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    sys.exit(asyncio.run(main(asked.runs, asked.points.split(","), asked.client, asked.seed)))
