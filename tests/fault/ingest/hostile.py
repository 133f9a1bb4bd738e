"""A sender without manners: raw sockets against the real process, and what must hold afterwards.

A script is a list of steps: bytes, a `Post` (signed at the moment it is said) or something to do with the
socket. `talk` plays it and hears the answers; a door that neither answers nor hangs up is heard as HUNG.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from ingest.domain.signature import sign
from tests.integration.ingest.edge import SECRET, Edge, Process, body_of, process_on
from tests.support.database import Database

DEADLINE_SECONDS = 10.0  # a door that has not answered or hung up by then hangs
HUNG, CLOSED = -1, 0  # beside the statuses: no end within the deadline, hung up without an answer
MARK = "what-only-the-sender-knows"  # in every body, header and path of ours; never in a log
ALARM = "card number cut out"  # told as an error, and rightly: somebody typed one where none belongs
PATH = b"/webhooks/stripe/main"

Do = Callable[[asyncio.StreamWriter], Awaitable[None]]
_numbers = count(1)


# --- what is said ---


def same(raw: bytes) -> bytes:
    return raw


def genuine() -> bytes:
    """A body that Stripe might send, never the same twice."""
    told = {"id": "in_1", "object": "invoice", "customer": "cus_1", "description": MARK}
    return body_of(f"evt_hostile_{next(_numbers)}", data={"object": told})


@dataclass(frozen=True)
class Post:
    """A genuine request, but for what is changed. `wire` turns the signed body into what travels."""

    body: bytes | None = None
    method: bytes = b"POST"
    path: bytes = PATH
    version: bytes = b"HTTP/1.1"
    headers: tuple[bytes, ...] = ()
    framing: tuple[bytes, ...] = (b"content-length: %d",)
    signatures: int = 1
    wire: Callable[[bytes], bytes] = same
    change: Callable[[bytes], bytes] = same  # of the whole request
    secret: bytes = SECRET

    def raw(self) -> bytes:
        body = genuine() if self.body is None else self.body
        signature = b"stripe-signature: " + sign(body, self.secret, int(time.time())).encode()
        framing = [line % len(body) if b"%d" in line else line for line in self.framing]
        lines = [b"host: edge", *[signature] * self.signatures, *framing, *self.headers]
        head = b"\r\n".join([b" ".join([self.method, self.path, self.version]), *lines, b"", b""])
        return self.change(head + self.wire(body))


Step = bytes | Post | Do


def chunked(body: bytes, size: int = 100) -> bytes:
    """A body as HTTP's chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def first(size: int) -> Callable[[bytes], bytes]:
    """Only the beginning; a negative size leaves off the end."""
    return lambda raw: raw[:size]


def slowly(piece: bytes, seconds: float = 0.1) -> Do:
    """A piece every so often, for ever."""

    async def say(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(seconds)

    return say


def endlessly(piece: bytes, bytes_max: int) -> Do:
    """As fast as it is taken."""

    async def say(writer: asyncio.StreamWriter) -> None:
        for _ in range(bytes_max // len(piece)):
            writer.write(piece)
            await writer.drain()

    return say


async def fin(writer: asyncio.StreamWriter) -> None:
    """Nothing more will be said; answers are still heard."""
    writer.write_eof()


async def rst(writer: asyncio.StreamWriter) -> None:
    """Away, without a goodbye."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


# --- what is heard ---


@dataclass(frozen=True)
class Answer:
    """One whole answer."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Heard:
    """The answers of a conversation and how it ended: `end` is CLOSED, HUNG, or the last status."""

    answers: list[Answer]
    end: int
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n((?:[a-z-]+: [ -~]*\r\n)*)\r\n", re.IGNORECASE)


def parsed(raw: bytes) -> tuple[list[Answer], bytes]:
    """The whole answers in what was heard, and what is left. An answer that is none fails the test."""
    found: list[Answer] = []
    at = 0
    while b"\r\n\r\n" in raw[at:]:
        match = HEAD.match(raw, at)
        assert match, raw[at : at + 500]
        pairs = (line.split(": ", 1) for line in match[2].decode().splitlines())
        headers = {name.lower(): value for name, value in pairs}
        status, body = int(match[1]), match.end()
        if status < 200:  # 100 Continue is not the answer yet
            at = body
            continue
        end = body + int(headers["content-length"])
        if len(raw) < end:
            break
        found.append(Answer(status, headers, orjson.loads(raw[body:end])))
        at = end
    return found, raw[at:]


async def talk(
    port: int, script: Iterable[Step], answers: int | None = 1, seconds: float = DEADLINE_SECONDS
) -> Heard:
    """Play a script on a connection of its own. Ends with so many answers, the door's close or the deadline.

    None: hears whatever comes until the door closes.
    """
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    saying = asyncio.create_task(_say(writer, script))
    heard = bytearray()
    try:
        ended = await _hear(reader, heard, answers, seconds)
    finally:
        saying.cancel()
        await asyncio.wait([saying])
        await hang_up(writer)
    found, rest = parsed(bytes(heard))
    assert ended == HUNG or not rest, rest
    return Heard(found, found[-1].status if found and ended != HUNG else ended, time.perf_counter() - started)


async def _say(writer: asyncio.StreamWriter, script: Iterable[Step]) -> None:
    with suppress(ConnectionError, RuntimeError):  # the door may have hung up, and that is its answer
        for step in script:
            if callable(step):
                await step(writer)
            else:
                writer.write(step.raw() if isinstance(step, Post) else step)
                await writer.drain()


async def _hear(reader: asyncio.StreamReader, heard: bytearray, answers: int | None, seconds: float) -> int:
    try:
        async with asyncio.timeout(seconds):
            while answers is None or len(parsed(bytes(heard))[0]) < answers:
                if not (more := await reader.read(2**16)):
                    break
                heard += more
    except TimeoutError:
        return HUNG
    except ConnectionError:
        pass
    return CLOSED


def allow_many_files() -> None:
    """For this process and those it starts: a socket is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 16384), hard), hard))


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


# --- the door, and what must hold ---


@dataclass
class Door:
    """The process under attack."""

    running: Process
    edge: Edge

    @property
    def port(self) -> int:
        return self.running.port

    async def rows(self) -> tuple[int, int]:
        """How many events are stored, and how many outbox rows."""
        (found,) = await self.edge.rows(
            "select (select count(*) from ingest.event) as events, (select count(*) from outbox.event) as rows"
        )
        return found["events"], found["rows"]

    async def stands(self, before: tuple[int, int], acknowledged: int) -> None:
        """A genuine request is served; besides it just what was acknowledged is kept; the log is clean."""
        served, rows = await talk(self.port, [Post()]), await self.rows()
        assert served.statuses == [200], served
        assert rows == (before[0] + acknowledged + 1, before[1] + acknowledged + 1), (
            before,
            acknowledged,
            rows,
        )
        assert self.running.process.returncode is None
        assert self.complaints() == [], self.complaints()[:3]

    def complaints(self) -> list[dict[str, Any]]:
        """Log lines that tell of a failure of ours, or that quote a sender."""
        return [
            line
            for line in self.running.log
            if MARK in str(line) or not (line.get("level") in ("info", "warning") or line["message"] == ALARM)
        ]

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """VmRSS now, VmHWM at its highest."""
        status = Path(f"/proc/{self.running.process.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024


@asynccontextmanager
async def door_on(
    db: Database, folder: Path, health_port: int = 0, **settings: object
) -> AsyncIterator[Door]:
    """The real process; `head_seconds_max=1` is INGEST_HEAD_SECONDS_MAX=1."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(f"INGEST_{name.upper()}", str(value))
        async with (
            process_on(db, folder, health_port) as running,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=60) as client,
        ):
            yield Door(running, Edge(running.port, db, client))
