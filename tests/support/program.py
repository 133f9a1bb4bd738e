"""A consumer's program as its users start it: a file, an environment, a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from aiokafka import AIOKafkaProducer

from lab.stack import Stack
from millrace.events import Event, headers
from tests.support.database import Database

DEADLINE_SECONDS = 60.0


@dataclass(slots=True)
class Program:
    """`python FILE`, as the consumer NAME of one database and one topic. Ended, at the latest, by its context."""

    file: Path
    environment: dict[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    async def start(self, *words: str) -> None:
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, str(self.file), *words, env=self.environment, stdout=out, stderr=out
            )

    async def ended(self) -> int:
        assert self.process
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()

    async def migrate(self) -> str:
        """Build its schema; returns what it said."""
        await self.start("migrate")
        assert await self.ended() == 0, self.log.read_text()
        return self.log.read_text()

    async def stop(self) -> None:
        """As Kubernetes would, and expect it to end well."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        code = await self.ended()
        assert code == 0, f"{code}: {self.log.read_text()[-3000:]}"

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a condition while it runs. Fails with its log when it ends first, or at the deadline."""
        assert self.process
        for _ in range(int(DEADLINE_SECONDS / 0.05)):
            if await holds():
                return
            assert self.process.returncode is None, self.log.read_text()
            await asyncio.sleep(0.05)
        raise AssertionError(f"not within {DEADLINE_SECONDS} s: {self.log.read_text()[-3000:]}")


@asynccontextmanager
async def program(
    name: str, file: Path, stack: Stack, db: Database, topic: str, log: Path, **more: str
) -> AsyncIterator[Program]:
    """Not started yet. `more` are settings of its own."""
    given = {
        "DATABASE": db.dsn(f"millrace_{name}"),
        "KAFKA": stack.kafka,
        "TOPICS": topic,
        "INSTANCE": topic,
        **more,
    }
    named = {f"{name}_{setting}".upper(): value for setting, value in given.items()}
    made = Program(file, {**os.environ, "MILLRACE_DATABASE": db.owner, **named}, log)
    try:
        yield made
    finally:
        if made.process and made.process.returncode is None:
            made.process.kill()
            await made.process.wait()


async def send(kafka: str, topic: str, events: Iterable[Event]) -> None:
    """Records as the relay writes them, without a relay."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for event in events:
            named = [(name, text.encode()) for name, text in headers(event).items()]
            value = orjson.dumps(dict(event.data))
            await producer.send_and_wait(topic, value, event.key.encode(), headers=named)
    finally:
        await producer.stop()
