"""A place to watch the relay in: an outbox, a topic, a cursor topic, and the account at the end.

The account compares what is committed in PostgreSQL with what a `read_committed` reader sees, and trusts neither
the relay nor its commands.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import asyncpg
import orjson
import pytest

from lab.stack import Stack
from millrace import outbox, service
from outbox_relay import app
from outbox_relay.relay import Relay
from outbox_relay.relay.lanes import Lanes
from outbox_relay.settings import Settings
from tests.support.database import MakeDatabase
from tests.support.kafka import MakeTopic, read_all

COMPACT = {"cleanup.policy": "compact"}
INSERT = """
insert into outbox.event (topic, key, headers, payload)
select $1, 'acct_1/cus_' || (n % $3), jsonb_build_object('ce_id', 'evt_' || n), convert_to('{"n":' || n || '}', 'UTF8')
  from generate_series(1, $2) as n
"""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the rows. All but `rows` should be zero."""

    rows: int
    lost: int = 0
    strange: int = 0
    doubled: int = 0
    inverted: int = 0
    gaps: int = 0

    @property
    def clean(self) -> bool:
        return not (self.lost or self.strange or self.doubled or self.inverted or self.gaps)


@dataclass
class Arena:
    """One outbox and the way out of it."""

    owner: str
    kafka: str
    topic: str
    cursor: str
    overrides: dict[str, object] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a relay process is given."""
        given = {
            "database": self.dsn, "kafka": self.kafka, "cursor_topic": self.cursor,
            "lease_seconds": 2, "heartbeat_seconds": 0.3, "retry_seconds": 0.2,
        }  # fmt: skip
        return {f"RELAY_{name}".upper(): str(value) for name, value in {**given, **self.overrides}.items()}

    @property
    def dsn(self) -> str:
        return self.owner.replace("postgres@", f"{outbox.SCHEMA.role}@")

    def settings(self) -> Settings:
        given = {name.removeprefix("RELAY_").lower(): value for name, value in self.environment.items()}
        return Settings.model_validate(given)

    def relay(self) -> Relay:
        [only] = app.relays(self.settings())
        return only

    def lanes(self) -> Lanes:
        """What a process runs."""
        return Lanes(app.relays(self.settings()))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        connection = await asyncpg.connect(self.owner)
        try:
            yield connection
        finally:
            await connection.close()

    async def insert(self, rows: int, keys: int = 7, topic: str = "") -> None:
        async with self.connection() as connection:
            await connection.execute(INSERT, topic or self.topic, rows, keys)

    async def committed(self) -> list[int]:
        async with self.connection() as connection:
            found = await connection.fetch("select id from outbox.event where topic = $1", self.topic)
            return [row["id"] for row in found]

    async def account(self) -> Account:
        """Reads everything there is, and counts."""
        rows = await self.committed()
        records = await read_all(self.kafka, self.topic)
        ids = [int(dict(r.headers)["millrace-outbox-id"]) for r in records]
        by_key, by_partition = defaultdict(list), defaultdict(list)
        for record, row_id in zip(records, ids, strict=True):
            by_key[record.key].append(row_id)
            by_partition[record.partition].append(int(dict(record.headers)["millrace-pseq"]))
        return Account(
            rows=len(rows),
            lost=len(set(rows) - set(ids)),
            strange=len(set(ids) - set(rows)),
            doubled=sum(n - 1 for n in Counter(ids).values()),
            inverted=sum(a > b for group in by_key.values() for a, b in pairwise(group)),
            gaps=sum(group != list(range(1, len(group) + 1)) for group in by_partition.values()),
        )

    async def published(self, rows: int | None = None, deadline_seconds: float = 60) -> None:
        """Wait until a reader sees as many records as there are rows."""
        async with asyncio.timeout(deadline_seconds):
            while True:
                wanted = len(await self.committed()) if rows is None else rows
                if len(await read_all(self.kafka, self.topic)) >= wanted:
                    return
                await asyncio.sleep(0.2)


MakeArena = Callable[..., Awaitable[Arena]]


@pytest.fixture(name="arena")
def make_arena(stack: Stack, database: MakeDatabase, topics: MakeTopic) -> MakeArena:
    """`await arena(partitions=6, page_rows=50)` makes one; the rest are settings of the relay."""
    return arenas(stack.kafka, database, topics)


def arenas(kafka: str, database: MakeDatabase, topics: MakeTopic) -> MakeArena:
    """The same outside of a test."""

    async def make(partitions: int = 3, **overrides: object) -> Arena:
        made = Arena(
            owner=(await database()).owner,
            kafka=kafka,
            topic=await topics("billing", partitions=partitions),
            cursor=await topics("cursor", partitions=1, config=COMPACT),
            overrides=overrides,
        )
        for lane in made.settings().to_lead:
            if (cursor := lane.cursor_topic(made.cursor)) != made.cursor:
                await topics(cursor, partitions=1, config=COMPACT, exact=True)
        return made

    return make


@asynccontextmanager
async def running(part: service.Part) -> AsyncIterator[asyncio.Task[None]]:
    """The part in this process, drained at the end. A failure of its own is raised."""
    stop = asyncio.Event()
    task = asyncio.create_task(part.run(stop))
    try:
        yield task
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (problem := task.exception()):
        raise problem


@dataclass
class RelayProcess:
    """A relay in a process of its own, with what it logged."""

    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, arena: Arena, log: Path, module: str = "outbox_relay", **more: str) -> RelayProcess:
        environment = {**os.environ, **arena.environment, **more}
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, env=environment, stdout=out, stderr=out
            )
        return cls(process, log)

    def logged(self) -> list[Mapping[str, object]]:
        lines = []
        for line in self.log.read_bytes().splitlines():
            with suppress(orjson.JSONDecodeError):
                lines.append(orjson.loads(line))
        return lines

    async def said(self, message: str, deadline_seconds: float = 30) -> None:
        """Wait until it has logged this."""
        await until(
            lambda: any(message in str(line.get("message")) for line in self.logged()), deadline_seconds
        )

    async def ended(self, deadline_seconds: float = 30) -> int:
        async with asyncio.timeout(deadline_seconds):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()


async def until(holds: Callable[[], bool | Awaitable[bool]], deadline_seconds: float = 30) -> None:
    """Wait for a condition; raises TimeoutError at the deadline."""
    async with asyncio.timeout(deadline_seconds):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.02)
