"""Writers as services are: a lock on the key, savepoints, roll-backs, a commit that comes late.

A transaction takes its number, and only then waits for its keys: the number says nothing about the order.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import asyncpg

from tests.integration.outbox_relay.arena import Arena

INSERT = "insert into outbox.event (topic, key, headers, payload) values ($1, $2, '{}', $3)"


@dataclass
class Writers:
    """Sixteen of them, until they are told to stop."""

    it: Arena
    seed: int = 1
    keys: int = 5
    commits: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, count: int = 16) -> None:
        await asyncio.gather(*(self.writer(random.Random(self.seed * 1000 + n)) for n in range(count)))

    async def writer(self, chance: random.Random) -> None:
        async with self.it.connection() as connection:
            while not self.stopping.is_set():
                await self.transaction(connection, chance)

    async def transaction(
        self, connection: asyncpg.Connection[asyncpg.Record], chance: random.Random
    ) -> None:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select pg_current_xact_id()")  # the number first, the locks later
        for key in sorted(chance.sample(range(self.keys), chance.choice((1, 1, 2)))):
            await self.rows(connection, chance, key)
        await asyncio.sleep(chance.choice((0, 0, 0.001, 0.01, 0.05)))  # the commit comes when it comes
        if chance.random() < 0.1:
            await transaction.rollback()
        else:
            await transaction.commit()
            self.commits += 1

    async def rows(
        self, connection: asyncpg.Connection[asyncpg.Record], chance: random.Random, key: int
    ) -> None:
        await connection.execute("select pg_advisory_xact_lock(7, $1)", key)
        for _ in range(chance.choice((1, 1, 2, 5))):
            await connection.execute(INSERT, self.it.topic, f"acct_1/cus_{key}", chance.randbytes(50))
        if chance.random() < 0.3:
            inner = connection.transaction()  # a savepoint
            await inner.start()
            await connection.execute(INSERT, self.it.topic, f"acct_1/cus_{key}", b"inner")
            await (inner.rollback() if chance.random() < 0.5 else inner.commit())
