"""The door: `POST /webhooks/stripe/{endpoint}`, a bare ASGI function, and the server around it.

Order of work: where to → how (method, encoding, size) → the body, within a limit and a deadline → whether it
is authentic and ours → the commit → the answer. Nothing is answered 2xx before the commit, nothing with 3xx.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ingest import metrics
from ingest.domain import Arrival, Endpoint, Refused, admit
from millrace import telemetry
from millrace.clock import Clock
from millrace.errors import Misconfigured, Retryable

log = logging.getLogger("ingest.http")

KEEP_ALIVE_SECONDS = 75  # longer than a gateway's, so that it is never us who hangs up on a request
LINGER_TIMES = 8  # how many times the largest body is read and dropped after a 413
GRACEFUL_SECONDS = 15  # for what is in flight when we are asked to stop

UNKNOWN = Refused("endpoint_unknown", "no such endpoint", 404)
NOT_POST = Refused("method", "only POST", 405)
ENCODED = Refused("content_encoding", "Content-Encoding is not accepted", 415)
TOO_LARGE = Refused("body_too_large", "body is too large", 413)
TOO_SLOW = Refused("body_too_slow", "body came too slowly", 408)
HEADERS_OF: dict[int, list[tuple[bytes, bytes]]] = {
    405: [(b"allow", b"POST")],
    408: [(b"connection", b"close")],
    413: [(b"connection", b"close")],
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, and how it is counted."""

    status: int
    body: bytes
    outcome: str
    headers: list[tuple[bytes, bytes]]


RECEIVED = b'{"received":true}'
STORED = Answer(200, RECEIVED, "stored", [])
DUPLICATE = Answer(200, RECEIVED, "duplicate", [])  # Stripe need not know the difference


class Commit(Protocol):
    """Returns when the arrival is committed: True when it was new. Raises Retryable."""

    def __call__(self, arrival: Arrival) -> Awaitable[bool]: ...


class GoneError(Exception):
    """The sender hung up before the body was whole."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """The route. Units: `body_seconds_max` for the whole body."""

    endpoints: Mapping[str, Endpoint]
    commit: Commit
    clock: Clock
    body_bytes_max: int
    body_seconds_max: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        endpoint = self.endpoints.get(scope["path_params"]["endpoint"])
        name = endpoint.name if endpoint else "unknown"
        try:
            answer = await self._answer(endpoint, name, scope, receive)
        except GoneError:
            metrics.REQUESTS.labels(name, "gone").inc()
            return
        await respond(send, answer, rest=self._rest(receive) if answer.status == TOO_LARGE.status else None)
        metrics.REQUESTS.labels(name, answer.outcome).inc()
        metrics.REQUEST_SECONDS.observe(time.perf_counter() - started)

    async def _answer(self, endpoint: Endpoint | None, name: str, scope: Scope, receive: Receive) -> Answer:
        headers = Headers(scope["headers"])
        if endpoint is None:
            return refused(UNKNOWN, name)
        if problem := self._head_problem(scope["method"], headers):
            return refused(problem, name)
        raw = await self._body(receive)
        if isinstance(raw, Refused):
            return refused(raw, name)
        now = self.clock.now()
        arrival = admit(endpoint, headers.signature, raw, now=now, trace=telemetry.new_trace())
        if isinstance(arrival, Refused):
            return refused(arrival, name)
        metrics.EVENT_AGE_SECONDS.observe(max(0.0, (now - arrival.event.time).total_seconds()))
        return await self._committed(arrival)

    def _head_problem(self, method: str, headers: Headers) -> Refused | None:
        if method != "POST":
            return NOT_POST
        if headers.encoding not in (b"", b"identity"):
            return ENCODED
        return TOO_LARGE if headers.length > self.body_bytes_max else None

    async def _body(self, receive: Receive) -> bytes | Refused:
        """The raw bytes. Never holds more than the limit, whatever the head said. Raises GoneError."""
        raw = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds_max):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise GoneError
                    raw += message.get("body", b"")
                    if len(raw) > self.body_bytes_max:
                        return TOO_LARGE
                    if not message.get("more_body", False):
                        return bytes(raw)
        except TimeoutError:
            return TOO_SLOW

    async def _rest(self, receive: Receive) -> None:
        """Let an oversize body come in for a while and drop it.

        Hanging up on a sender who is still sending resets the connection, and the answer is lost with it.
        """
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self.body_seconds_max):
                while dropped < LINGER_TIMES * self.body_bytes_max:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return

    async def _committed(self, arrival: Arrival) -> Answer:
        try:
            return STORED if await self.commit(arrival) else DUPLICATE
        except Retryable as problem:
            wait = str(math.ceil(problem.after)).encode()
            return Answer(503, _error(str(problem)), "unavailable", [(b"retry-after", wait)])


class Headers:
    """The three headers that matter here."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self.signature: bytes | None = None
        self.encoding = b""
        self.length = 0
        for name, value in raw:
            if name == b"stripe-signature":  # two of them read as one list, which then has two times
                self.signature = value if self.signature is None else self.signature + b"," + value
            elif name == b"content-encoding":
                self.encoding = value.strip().lower()
            elif name == b"content-length" and value.isdigit():
                self.length = int(value)


def refused(problem: Refused, endpoint: str) -> Answer:
    """The answer to what is turned away. It quotes nothing."""
    metrics.REFUSED.labels(endpoint, problem.name).inc()
    return Answer(problem.status, _error(problem.reason), "refused", HEADERS_OF.get(problem.status, []))


async def respond(send: Send, answer: Answer, rest: Coroutine[Any, Any, None] | None = None) -> None:
    """Send the answer; `rest` is awaited between its last byte and the end of the exchange."""
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": head + answer.headers})
    if rest:
        await send({"type": "http.response.body", "body": answer.body, "more_body": True})
        await rest
    await send({"type": "http.response.body", "body": b"" if rest else answer.body})


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Every other path."""
    await respond(send, refused(UNKNOWN, "unknown"))


def _error(reason: str) -> bytes:
    return orjson.dumps({"error": reason})


def application(webhook: Webhook) -> Starlette:
    """The ASGI application."""
    app = Starlette(routes=[Route("/webhooks/stripe/{endpoint}", webhook)])
    app.router.redirect_slashes = False  # Stripe counts a redirect as a failure
    app.router.default = nothing_here
    return app


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Serves the application; asked to stop, it takes no new connection and answers what is in flight.

    `closed` is called once nothing more can come.
    """

    name = "http"

    def __init__(self, app: Starlette, host: str, port: int, closed: Callable[[], None]) -> None:
        try:
            self.socket = socket.create_server((host, port), backlog=2048, reuse_port=False)
        except OSError as problem:
            raise Misconfigured(f"cannot listen on {host}:{port}: {problem.strerror}") from problem
        self.port: int = self.socket.getsockname()[1]
        self.closed = closed
        self.server = _Uvicorn(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
            )
        )

    def ready(self) -> str:
        return "" if self.server.started else "not listening yet"

    async def run(self, stop: asyncio.Event) -> None:
        serving = asyncio.create_task(self.server.serve(sockets=[self.socket]))
        stopping = asyncio.create_task(stop.wait())
        log.info("listening", extra={"port": self.port})
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            self.server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            self.socket.close()
            self.closed()
