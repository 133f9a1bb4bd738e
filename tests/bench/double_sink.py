"""A receiver that does nothing: reads a request's head and body, answers 200. Prints its port.

`constant` serves, through uvicorn, an application that answers a constant: the floor of any API behind it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from typing import Any

import uvicorn

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class Sink(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.read = transport, b""

    def data_received(self, data: bytes) -> None:
        self.read += data
        while (end := self.read.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(self.read, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.read) < whole:
                return
            self.read = self.read[whole:]
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def sink() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


async def constant(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while scope["type"] == "http" and (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}" * 300})


def serve_constant() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)  # noqa: T201
    config = uvicorn.Config(constant, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:] == ["constant"]:
        serve_constant()
    else:
        asyncio.run(sink())
