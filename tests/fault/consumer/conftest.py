"""`group`: a topic, a database, and members of one group that are started, stopped and killed at will."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from lab.stack import Stack
from lab.stack.jars import CHECKOUT
from millrace import postgres
from millrace.events import Event, headers
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic
from tests.support.tally import SCHEMA, event

PATIENCE_SECONDS = 120.0
numbers = itertools.count(1)


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Raises: TimeoutError at the deadline."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 another process is the signal
            await asyncio.sleep(0.05)


@dataclass
class Member:
    pid: int
    instance: str
    log: Path
    ended: asyncio.Future[int]  # the code it ended with
    stopped: bool = False  # by SIGSTOP

    def send(self, signal: Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal)

    @property
    def lives(self) -> bool:
        return not self.ended.done()

    async def end(self, signal: Signals = SIGTERM) -> int:
        if self.lives:
            self.send(signal)
            self.send(SIGCONT)
        return await asyncio.wait_for(asyncio.shield(self.ended), PATIENCE_SECONDS)

    async def end_by_itself(self) -> int:
        return await asyncio.wait_for(asyncio.shield(self.ended), PATIENCE_SECONDS)

    def said(self) -> list[dict[str, object]]:
        """What it logged; its last line may be half written."""
        lines: list[dict[str, object]] = []
        for line in self.log.read_bytes().splitlines() if self.log.exists() else []:
            with suppress(orjson.JSONDecodeError):
                lines.append(orjson.loads(line))
        return lines


def seats(member: Member) -> list[object]:
    """How many partitions it was given, each time."""
    return [line["partitions"] for line in member.said() if line.get("message") == "seat in the group"]


class Nursery:
    """Starts members: a process that forks one for each life."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.members: list[Member] = []
        self._started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = defaultdict(asyncio.get_running_loop().create_future)
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, folder: Path) -> Nursery:
        words = (sys.executable, "-m", "tests.fault.consumer.members")
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT,
            start_new_session=True,
        )  # fmt: skip
        return cls(process, folder)

    async def start(self, **environment: object) -> Member:
        log = self.folder / f"member-{next(numbers)}.log"
        given = {**{name: str(value) for name, value in environment.items()}, "log": str(log)}
        assert self.process.stdin
        self.process.stdin.write(orjson.dumps(given, option=orjson.OPT_APPEND_NEWLINE))
        pid = await asyncio.wait_for(self._started.get(), PATIENCE_SECONDS)
        self.members.append(Member(pid, given["MEMBER_INSTANCE"], log, self._ended[pid]))
        return self.members[-1]

    async def close(self) -> None:
        for member in self.members:
            if member.lives:
                await member.end(SIGKILL)
        self._reading.cancel()
        self.process.kill()
        await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            told = orjson.loads(line)
            if "started" in told:
                self._started.put_nowait(told["started"])
            else:
                self._ended[told["ended"]].set_result(told["code"])


@dataclass
class Group:
    """One group over one topic, and what it must have done in the end."""

    kafka: str
    database: str
    topic: str
    nursery: Nursery
    sent: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # key → event ids, in order
    settings: dict[str, object] = field(default_factory=dict)

    async def member(self, instance: str, **more: object) -> Member:
        given = {
            "DATABASE": self.database, "KAFKA": self.kafka, "TOPIC": self.topic, "GROUP": f"tally-{self.topic}",
            "INSTANCE": instance, **self.settings, **more,
        }  # fmt: skip
        return await self.nursery.start(**{f"MEMBER_{name}": value for name, value in given.items()})

    @asynccontextmanager
    async def producing(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka, acks="all", enable_idempotence=True)
        await producer.start()
        yield producer
        await producer.stop()

    async def send(self, producer: AIOKafkaProducer, events: int, *, keys: int = 40) -> None:
        """So many more events, spread over the keys in turn, numbered by key."""
        futures = []
        for n in range(events):
            key = f"k{n % keys}"
            one = event("add", f"{key}.{len(self.sent[key])}", of=key)
            futures.append(
                await producer.send(
                    self.topic, orjson.dumps(one.data), one.key.encode(), headers=_headers(one)
                )
            )
            self.sent[key].append(one.id)
        await asyncio.gather(*futures)

    async def applied(self) -> dict[str, list[str]]:
        connection = await asyncpg.connect(self.database, timeout=10)
        rows = await connection.fetch("select key, applied from tally.tally")
        await connection.close()
        return {row["key"]: list(row["applied"]) for row in rows}

    async def count(self) -> int:
        """How many events are applied; -1 while the database is away."""
        try:
            return sum(map(len, (await self.applied()).values()))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return -1

    async def reached(self, events: int, seconds: float = PATIENCE_SECONDS) -> None:
        async with asyncio.timeout(seconds):
            while await self.count() < events:  # noqa: ASYNC110 the database is the signal
                await asyncio.sleep(0.05)

    async def all_applied(self) -> None:
        """Everything that was sent is applied: once, and for each key in the order of sending."""
        await self.reached(sum(map(len, self.sent.values())))
        assert await self.applied() == dict(self.sent)


def _headers(one: Event) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in headers(one).items()]


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    made = await Nursery.open(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def db(database: MakeDatabase) -> Database:
    return await database(SCHEMA)


@pytest.fixture
async def group(stack: Stack, db: Database, topics: MakeTopic, nursery: Nursery) -> Group:
    return Group(stack.kafka, db.dsn(SCHEMA), await topics("tally", partitions=6), nursery)


@pytest.fixture
async def pool(db: Database) -> AsyncIterator[postgres.Pool]:
    async with await postgres.pool(db.dsn(SCHEMA)) as made:
        yield made
