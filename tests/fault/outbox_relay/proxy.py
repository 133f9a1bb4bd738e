"""A TCP proxy that misbehaves on request, as networks do: it cuts, falls silent, delays, or stops half-way.

For PostgreSQL the relay is given the proxy's port. Kafka tells its clients where to go, so there the broker has to
advertise the proxy: `broker.ports = replace(broker.ports, advertised=proxy.port)` before the cluster starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Flag, auto

CHUNK = 65_536


class Way(Flag):
    """Which of the two directions."""

    TO_SERVER = auto()
    TO_CLIENT = auto()
    BOTH = TO_SERVER | TO_CLIENT


class Proxy:
    """Stands before one server. Every fault lasts until `mend`.

    cut()     resets every connection and every new one
    hang()    keeps connections, takes new ones, and carries nothing any more in this direction
    slow()    every chunk waits for so long
    stop_after()  carries so many more bytes in this direction, then hangs there: an answer lost half-way
    mend()    as if nothing had been; what was held back in a hang is carried then
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.server_port, self.port = host, port, 0
        self.connections: set[asyncio.StreamWriter] = set()
        self.carried = {Way.TO_SERVER: 0, Way.TO_CLIENT: 0}  # bytes
        self._refusing, self._delay_seconds = False, 0.0
        self._left: dict[Way, int | None] = {Way.TO_SERVER: None, Way.TO_CLIENT: None}  # None: no limit
        self._mended = asyncio.Event()
        self._mended.set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def cut(self) -> None:
        self._refusing = True
        for writer in self.connections:
            writer.transport.abort()

    def hang(self, way: Way = Way.BOTH) -> None:
        self.stop_after(0, way)

    def stop_after(self, size: int, way: Way) -> None:
        self._mended.clear()
        self._left.update({one: size for one in self._left if one in way})

    def slow(self, seconds: float) -> None:
        self._delay_seconds = seconds

    def mend(self) -> None:
        self._refusing, self._delay_seconds = False, 0.0
        self._left = dict.fromkeys(self._left)
        self._mended.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, for as long as either side keeps it."""
        if self._refusing:
            return writer.transport.abort()
        try:
            server_reader, server_writer = await asyncio.open_connection(self.host, self.server_port)
        except OSError:
            return writer.transport.abort()
        both = {writer, server_writer}
        self.connections |= both
        ways = (
            asyncio.create_task(self._carry(reader, server_writer, Way.TO_SERVER)),
            asyncio.create_task(self._carry(server_reader, writer, Way.TO_CLIENT)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in both:
                end.transport.abort()
            self.connections -= both

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await asyncio.sleep(self._delay_seconds)
                while chunk:
                    chunk = await self._some(chunk, writer, way)

    async def _some(self, chunk: bytes, writer: asyncio.StreamWriter, way: Way) -> bytes:
        """Carry what may be carried, and return the rest when that may go on."""
        left = self._left[way]
        now = chunk if left is None else chunk[:left]
        if left is not None:
            self._left[way] = left - len(now)
        writer.write(now)
        await writer.drain()
        self.carried[way] += len(now)
        if len(now) < len(chunk):
            await self._mended.wait()
        return chunk[len(now) :]


@asynccontextmanager
async def before(port: int, at: int = 0, host: str = "127.0.0.1") -> AsyncIterator[Proxy]:
    """A proxy before the server at this port, listening at the port `at`, or at `proxy.port`, a free one."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, host, at)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        proxy.mend()
