"""A proxy before a Kafka broker that understands where a request begins and what it is, and tampers with one.

The broker has to advertise the proxy's port. Which answer belongs to which request is told by its number.
Source: Kafka's protocol guide, "Protocol Primitives" and "Request Header".
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum


class Api(IntEnum):
    """Kafka's numbers for the requests that matter here."""

    PRODUCE = 0
    INIT_PRODUCER_ID = 22
    END_TXN = 26


FLEXIBLE_PRODUCE = 9  # the first version of Produce with lengths of variable size


@dataclass(frozen=True, slots=True)
class Request:
    api: int
    version: int
    number: int
    body: bytes  # whole, with its header


class Lost(Exception):
    """This connection ends here."""


@dataclass
class Tamper:
    """What to do to the next of a kind; each is done once.

    asked     sees a request before the broker: returns it, or None to swallow it, or raises Lost
    answered  sees an answer before the client; the same
    """

    asked: Callable[[Request], bytes | None] = lambda request: request.body
    answered: Callable[[Request, bytes], bytes | None] = lambda _, answer: answer
    done: asyncio.Event = field(default_factory=asyncio.Event)
    kept: list[tuple[asyncio.StreamWriter, bytes]] = field(default_factory=list)


class FrameProxy:
    """Tampers as `tamper` says, and counts the requests that went through."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tamper = Tamper()
        self.counts: dict[int, int] = {}
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return writer.transport.abort()
        waiting: dict[int, Request] = {}
        both = {writer, server_writer}
        self.writers |= both
        ways = (
            asyncio.create_task(self._requests(reader, server_writer, waiting)),
            asyncio.create_task(self._answers(server_reader, writer, waiting)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in both - {kept for kept, _ in self.tamper.kept}:
                end.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: dict[int, Request]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, Lost):
            while True:
                body = await _frame(reader)
                api, version, number = struct.unpack_from(">hhi", body)
                request = Request(api, version, number, body)
                self.counts[request.api] = self.counts.get(request.api, 0) + 1
                waiting[request.number] = request
                if (passed := self.tamper.asked(request)) is None:
                    self.tamper.kept.append((writer, body))
                else:
                    writer.write(_sized(passed))
                    await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, waiting: dict[int, Request]
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, Lost):
            while True:
                body = await _frame(reader)
                request = waiting.pop(struct.unpack_from(">i", body)[0])
                if (passed := self.tamper.answered(request, body)) is not None:
                    writer.write(_sized(passed))
                    await writer.drain()

    async def send_kept(self) -> None:
        """What was swallowed arrives after all."""
        for writer, body in self.tamper.kept:
            with suppress(OSError):
                writer.write(_sized(body))
                await writer.drain()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def with_error(request: Request, answer: bytes, topic: str, code: int) -> bytes | None:
    """The answer to a Produce, with this error for the topic's first partition; None when it is of other topics."""
    name = topic.encode()  # which must not begin another topic's name
    if (found := answer.find(name)) < 0:
        return None
    count = 1 if request.version >= FLEXIBLE_PRODUCE else 4  # bytes of the number of partitions
    at = found + len(name) + count + 4
    return answer[:at] + struct.pack(">h", code) + answer[at + 2 :]


@asynccontextmanager
async def before(server_port: int, port: int) -> AsyncIterator[FrameProxy]:
    """A proxy at `port`, which the broker at `server_port` advertises."""
    proxy = FrameProxy(server_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    try:
        yield proxy
    finally:
        server.close()
        for writer in proxy.writers:
            writer.transport.abort()
        await asyncio.sleep(0)
