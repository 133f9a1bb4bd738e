"""The door: HTTP/1.1 as a webhook needs it. httptools reads it; the limits are ours.

    connection ─▶ idle ─▶ head ─▶ body ─▶ idle …        a row of slots: answers leave in the order
                    │       │       │                   of the requests, each when it is ready
                    └───────┴───────┴─▶ closing ─▶ gone

A stranger can hold a connection open and say nothing, send a head a byte an hour or a body without end, or
put a thousand requests into one packet. So every state has a deadline, every size a bound, and a packet that
holds more than its turn waits until the other connections had theirs. Beyond the greatest number of
connections the one that has been without a request for longest makes room: who holds connections open
loses those first, and nobody else is shut out.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from ingest.domain import Refused
from millrace import tracing
from millrace.errors import Misconfigured

log = logging.getLogger("ingest.door")

SLICE_BYTES = 16 * 2**10  # of one connection before the others have their turn; most events fit
VERSION = b"HTTP/"  # stands in every request line: a packet that has it twice may hold two requests
PIPELINED_MAX = 64  # requests of one connection that wait for their answers
LINGER_SECONDS = 2.0  # for a sender to read the last answer before the connection is cut
LINGER_TIMES = 8  # how many times the largest body is read and dropped meanwhile
TICK_SECONDS = 0.25  # how often deadlines are looked at
ACCEPTED_MAX = 64  # new connections each time round the loop
TURNS_MAX = 16  # requests from among those that wait, each time round the loop
SPARE_FILES = 128  # descriptors kept for everything that is not a connection
GRACEFUL_SECONDS = 15.0  # for what is in flight when we are asked to stop

UPGRADE = Refused("upgrade", "no other protocol is spoken here", 400)
MALFORMED = Refused("http_malformed", "not a well-formed HTTP/1.1 request", 400)
LARGE_HEAD = Refused("head_too_large", "the head is too large", 431)
EXPECTATION = Refused("expectation", "only 100-continue may be expected", 417)
LARGE_BODY = Refused("body_too_large", "body is too large", 413)
SLOW_HEAD = Refused("head_too_slow", "the head came too slowly", 408)
SLOW_BODY = Refused("body_too_slow", "body came too slowly", 408)
MANY_BODIES = Refused("bodies_too_many", "too many bodies are coming in", 503)
BUG = Refused("bug", "try again", 503)
LAST = frozenset({408, 413, 417, 431})  # after these, what still comes on the connection means nothing


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered, and the outcome under which it is counted."""

    status: int
    body: bytes
    outcome: str
    headers: bytes = b""  # whole lines
    head: bytes = field(init=False, repr=False)  # status line and headers, up to where the date stands

    def __post_init__(self) -> None:
        lines = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(self.body)}\r\n"
        )
        object.__setattr__(self, "head", lines.encode() + self.headers)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is put up with; a head and a body each have their seconds for the whole of it."""

    head_bytes_max: int = 64 * 2**10
    headers_max: int = 100
    head_seconds_max: float = 10.0
    body_bytes_max: int = 2**20
    body_seconds_max: float = 10.0
    bodies_bytes_max: int = 64 * 2**20  # of all that are still coming in
    idle_seconds_max: float = 75.0
    connections_max: int = 4096


class Head:
    """A request as far as its body: what the application judges first."""

    __slots__ = ("began", "context", "headers", "keep_alive", "method", "path", "peer", "span", "trace")

    def __init__(self, began: float, peer: str) -> None:
        self.began, self.peer = began, peer  # by the loop's clock; the address at the other end
        self.method = self.path = b""
        self.headers: dict[bytes, bytes] = {}  # lower-case; one that came twice is a list with commas
        self.keep_alive = True
        self.context: object = None  # the application's own
        self.span, self.trace = tracing.NOTHING, ""


Reply = Callable[[Answer], None]


class App(Protocol):
    """What stands behind the door. None of these may raise or take long.

    head()    an answer refuses the request, None wants its body
    whole()   the body is there; calls `reply` once, now or later
    broken()  the answer to a request that the door itself refuses
    sent()    an answer has left, so long after the request began
    gone()    the sender hung up before the body was whole
    """

    def head(self, head: Head) -> Answer | None: ...
    def whole(self, head: Head, raw: bytes, reply: Reply) -> None: ...
    def broken(self, head: Head, problem: Refused) -> Answer: ...
    def sent(self, head: Head, answer: Answer, seconds: float) -> None: ...
    def gone(self, head: Head) -> None: ...


class State(Enum):
    """What a connection waits for."""

    IDLE = "the first byte of a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    CLOSING = "the sender to read the last answer"


class StopParsing(Exception):
    """Leaves httptools in the middle of a packet: the rest of it means nothing any more."""


class Slot:
    """A request's place in the row of its connection. Called with the answer."""

    __slots__ = ("answer", "connection", "head")

    def __init__(self, connection: Connection, head: Head) -> None:
        self.connection, self.head = connection, head
        self.answer: Answer | None = None

    def __call__(self, answer: Answer) -> None:
        if self.answer is None:
            self.answer = answer
            self.connection.flush()


class Connection(asyncio.BufferedProtocol):
    """One connection: packets in, answers out. A packet is a slice at most, so that no connection holds more."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server, self.app, self.limits = server, server.app, server.limits
        self.time = server.loop.time
        self.parser = httptools.HttpRequestParser(self)
        self.slots: deque[Slot] = deque()
        self.unread = bytearray()  # has come, but it is not its turn yet
        self.turning = False  # it is in the server's row
        self.deaf = False  # nothing that still comes is a request
        self.ended = False  # the sender has said that nothing more will come
        self.full = self.paused = False
        self.dropped = 0  # bytes that came while deaf
        self.state, self.deadline, self.peer = State.IDLE, 0.0, ""
        self.on_message_begin()

    # --- the connection's own events ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._wait_for(State.IDLE, self.limits.head_seconds_max)
        self.server.take_in(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer  # one for all: what is in it is taken out before anybody reads again

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self.server.buffer[:nbytes])
        if self.deaf:
            self._drop(len(data))
        elif self.unread or data.count(VERSION) > 1:
            self.unread += data
            self._turn_soon()
            self._breathe()
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        """Half closed: the sender may still wait for its answers."""
        self.ended = True
        return bool(self.slots or self.unread)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.state is State.BODY:
            self.app.gone(self.head)
        self._taken()
        self.deaf, self.state = True, State.CLOSING
        self.unread.clear()
        self.server.let_go(self)

    def pause_writing(self) -> None:
        self.full = True
        self._breathe()

    def resume_writing(self) -> None:
        self.full = False
        self._breathe()

    # --- taking turns ---

    def _turn_soon(self) -> None:
        """After the other connections had theirs."""
        if not self.turning:
            self.turning = True
            self.server.turn_for(self)

    def turn(self) -> None:
        """One request, or one slice of a large one, of what waits."""
        self.turning = False
        if self.unread and len(self.slots) < PIPELINED_MAX:
            size = _first_request(self.unread)
            piece = bytes(memoryview(self.unread)[:size])
            del self.unread[:size]
            self._feed(piece)
            if self.unread:
                self._turn_soon()
        self._breathe()

    def _breathe(self) -> None:
        """Take in more only while there is room for it."""
        pause = self.full or bool(self.unread) or len(self.slots) >= PIPELINED_MAX
        if pause != self.paused and not self.transport.is_closing():
            self.paused = pause
            (self.transport.pause_reading if pause else self.transport.resume_reading)()

    def _drop(self, size: int) -> None:
        self.dropped += size
        if self.dropped > LINGER_TIMES * self.limits.body_bytes_max:
            self.transport.abort()

    # --- a request, as httptools meets it ---

    def _feed(self, data: bytes) -> None:
        if self.state is State.IDLE:
            self._wait_for(State.HEAD, self.limits.head_seconds_max)
        elif self.state is State.HEAD:
            self.head_bytes += len(data)
        elif self.state is State.BODY:
            self.wire_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(UPGRADE)
        except httptools.HttpParserCallbackError as problem:
            if not isinstance(problem.__context__, StopParsing):
                log.error("request not understood", exc_info=problem.__context__)
                self._break(BUG)
        except httptools.HttpParserError:
            if not self.deaf:
                self._break(MALFORMED)
        else:
            if excess := self._overdone():
                self._break(excess)
            self.server.make_room()

    def _overdone(self) -> Refused | None:
        """What a body is wrapped in (sizes of chunks, extensions, trailers) may be as much as a head."""
        if self.state is State.HEAD and self.head_bytes > self.limits.head_bytes_max:
            return LARGE_HEAD
        if self.state is State.BODY and self.wire_bytes - self.body_bytes > self.limits.head_bytes_max:
            return LARGE_BODY
        return None

    def on_message_begin(self) -> None:
        self.head = Head(self.time(), self.peer)
        self.head_bytes = self.header_count = self.body_bytes = 0
        self.wire_bytes = 0  # of the body with its chunks' sizes, extensions and trailers
        self.raw = bytearray()
        self.refused: Answer | None = None

    def on_url(self, url: bytes) -> None:
        self.head.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.header_count += 1
        if self.header_count > self.limits.headers_max:
            self._stop(LARGE_HEAD)
        found, name = self.head.headers, name.lower()
        found[name] = found[name] + b"," + value if name in found else value

    def on_headers_complete(self) -> None:
        head = self.head
        head.method, head.keep_alive = self.parser.get_method(), self.parser.should_keep_alive()
        self._wait_for(State.BODY, self.limits.body_seconds_max)
        self.refused = self.app.head(head)
        if head.headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            self._stop(MALFORMED)  # whatever else was done to the body, nobody here undoes it
        expected = head.headers.get(b"expect", b"").lower()
        if expected not in (b"", b"100-continue"):
            self._stop(EXPECTATION)
        if self.refused and (expected or self.refused.status in LAST):
            self._end_with(self.refused)
            raise StopParsing
        if expected and not self.slots:  # else it would be taken for the answer to the request before
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body_bytes > self.limits.body_bytes_max:
            self._stop(LARGE_BODY)
        if not self.refused:
            self.raw += body
            self.server.held_bytes += len(body)

    def on_message_complete(self) -> None:
        head, raw, refused = self.head, self._taken(), self.refused
        self.deaf = not head.keep_alive
        slot = Slot(self, head)
        self.slots.append(slot)
        self._wait_for(State.IDLE, self.limits.idle_seconds_max)
        if refused:
            slot(refused)
        else:
            self.app.whole(head, raw, slot)

    def _taken(self) -> bytes:
        """The body as far as it has come, no longer held."""
        raw, self.raw = bytes(self.raw), bytearray()
        self.server.held_bytes -= len(raw)
        return raw

    # --- answers ---

    def flush(self) -> None:
        """Send what is ready and whose turn it is."""
        while self.slots and (answer := self.slots[0].answer):
            self._send(self.slots.popleft().head, answer)
        if not self.slots and self.state in (State.IDLE, State.HEAD):
            self.server.waits(self)
        if self.unread:
            self._turn_soon()
        elif self.ended and not self.slots:
            self.close()
        elif self.paused:
            self._breathe()

    def _send(self, head: Head, answer: Answer) -> None:
        last = not head.keep_alive or answer.status in LAST or self.server.stopping
        end = b"connection: close\r\n\r\n" if last else b"\r\n"
        body = b"" if head.method == b"HEAD" else answer.body
        if not self.transport.is_closing():
            self.transport.write(b"".join((answer.head, self.server.date, end, body)))
        self.app.sent(head, answer, self.time() - head.began)
        if last:
            self.close()

    def _break(self, problem: Refused) -> None:
        """Refuse what is being read, after everything before it is answered, and hear nothing more."""
        self._end_with(self.app.broken(self.head, problem))

    def _stop(self, problem: Refused) -> None:
        """The same from within the parser."""
        self._break(problem)
        raise StopParsing

    def _end_with(self, answer: Answer) -> None:
        self.deaf, self.head.keep_alive = True, False
        self.unread.clear()
        self._taken()
        self._wait_for(State.IDLE, self.limits.idle_seconds_max)
        slot = Slot(self, self.head)
        self.slots.append(slot)
        slot(answer)

    # --- the end ---

    def close(self) -> None:
        """Nothing more is said. What still comes is dropped for a while: to hang up on somebody who is sending
        resets the connection, and the last answer is lost with it."""
        self.deaf = True
        self.slots.clear()
        self.unread.clear()
        if self.state is State.CLOSING or self.transport.is_closing():
            return
        self._wait_for(State.CLOSING, LINGER_SECONDS)
        if self.ended:
            self.transport.close()
            return
        with suppress(OSError, RuntimeError):  # the sender may be gone by now
            self.transport.write_eof()
        self._breathe()

    def give_up(self) -> None:
        """Somebody else needs the room."""
        self._break(MANY_BODIES)

    def expire(self) -> None:
        """The deadline has passed."""
        if self.state is State.CLOSING or self.full:
            self.transport.abort()
        elif self.state is State.HEAD:
            self._break(SLOW_HEAD)
        elif self.state is State.BODY:
            self._break(SLOW_BODY)
        elif not self.slots:
            self.close()

    def _wait_for(self, state: State, seconds: float) -> None:
        self.state, self.deadline = state, self.time() + seconds
        self.server.waits(self)


class Server:
    """Takes connections until it is asked to stop; then answers what is in flight and calls `closed`.

    A part of the service. Raises: Misconfigured when it cannot listen.
    """

    name = "http"

    def __init__(
        self,
        app: App,
        host: str,
        port: int,
        closed: Callable[[], None],
        *,
        limits: Limits = Limits(),  # noqa: B008 frozen
        shared: bool = False,
    ) -> None:
        try:
            self.socket = socket.create_server((host, port), backlog=2048, reuse_port=shared)
        except OSError as problem:
            raise Misconfigured(f"cannot listen on {host}:{port}: {problem.strerror}") from problem
        self.port: int = self.socket.getsockname()[1]
        self.app, self.closed, self.limits = app, closed, limits
        self.connections: set[Connection] = set()
        self.beginning: set[asyncio.Task[None]] = set()
        self.waiting: dict[Connection, None] = {}  # those without a whole head; the stalest first
        self.reading: dict[Connection, None] = {}  # those whose body is coming; the slowest first
        self.turns: deque[Connection] = deque()  # those with requests that wait for their turn
        self.turning = False  # it is on the loop's list
        self.held_bytes = 0  # of these bodies
        self.buffer = memoryview(bytearray(SLICE_BYTES))
        self.stopping = self.listening = False
        self.date = b""
        self.connections_max = min(limits.connections_max, _files() - SPARE_FILES)

    def ready(self) -> str:
        if self.stopping:
            return "is stopping"
        return "" if self.listening else "not listening yet"

    async def run(self, stop: asyncio.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._tell_the_date()
        self.socket.setblocking(False)
        self.loop.add_reader(self.socket, self._accept)
        ticking = asyncio.create_task(self._tick())
        self.listening = True
        log.info("listening", extra={"port": self.port})
        try:
            await stop.wait()
        finally:
            self.stopping = True
            self.loop.remove_reader(self.socket)
            self.socket.close()
            await self._drain()
            ticking.cancel()
            self.closed()

    def _accept(self) -> None:
        """Everyone who knocks. libuv takes one a turn of the loop: with a flood on old connections each turn is
        long, and new ones would wait for many."""
        for _ in range(ACCEPTED_MAX):
            try:
                link, _address = self.socket.accept()
            except OSError:  # nobody more, or gone again
                return
            task = self.loop.create_task(self._begin(link))
            self.beginning.add(task)
            task.add_done_callback(self.beginning.discard)

    async def _begin(self, link: socket.socket) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self), link)
        except OSError:  # hung up already
            link.close()

    def take_in(self, connection: Connection) -> None:
        """One more; when they are too many, the stalest of those without a request goes."""
        self.connections.add(connection)
        while len(self.connections) > self.connections_max and (row := self.waiting or self.reading):
            stalest = next(iter(row))
            self.let_go(stalest)
            stalest.transport.abort()

    def turn_for(self, connection: Connection) -> None:
        """Later: who asks one request at a time does not wait for those that have sent many."""
        self.turns.append(connection)
        if not self.turning:
            self.turning = True
            self.loop.call_soon(self._take_turns)

    def _take_turns(self) -> None:
        for _ in range(min(TURNS_MAX, len(self.turns))):
            self.turns.popleft().turn()
        self.turning = bool(self.turns)
        if self.turning:
            self.loop.call_soon(self._take_turns)

    def make_room(self) -> None:
        """Unfinished bodies share a bound; beyond it the slowest is given up: an honest one comes in at once."""
        while self.held_bytes > self.limits.bodies_bytes_max and self.reading:
            next(iter(self.reading)).give_up()

    def let_go(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.waiting.pop(connection, None)
        self.reading.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """Keep the rows of those that may have to make room. Who waits for an answer is in neither."""
        self.waiting.pop(connection, None)
        self.reading.pop(connection, None)
        if connection.state is State.BODY:
            self.reading[connection] = None
        elif not connection.slots:
            self.waiting[connection] = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._tell_the_date()
            now = self.loop.time()
            for connection in [c for c in self.connections if c.deadline < now]:
                connection.expire()

    def _tell_the_date(self) -> None:
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"

    async def _drain(self) -> None:
        """Idle connections end at once, the others with their answers."""
        for connection in list(self.connections):
            if connection.state is State.IDLE and not connection.slots:
                connection.close()
        ends = self.loop.time() + GRACEFUL_SECONDS
        while self.connections and self.loop.time() < ends:  # noqa: ASYNC110 connections tell nobody
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.transport.abort()


def _files() -> int:
    """How many files this process may have open, after asking for as many as it is allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        soft = max(soft, wanted)
    return 65536 if soft == resource.RLIM_INFINITY else soft


def _first_request(unread: bytearray) -> int:
    """How many bytes hold one request line at most: what may be read in one turn."""
    line = unread.find(VERSION, 0, SLICE_BYTES)
    second = unread.find(VERSION, line + len(VERSION), SLICE_BYTES) if line >= 0 else -1
    return second if second > 0 else SLICE_BYTES
