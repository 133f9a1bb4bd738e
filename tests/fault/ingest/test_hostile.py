"""Whatever strangers send, the door answers 4xx or hangs up, keeps nothing of it, and serves the next one.

Every request here is signed as Stripe would sign it unless the case is about the signature: only its form is
hostile, so that whatever slips through is stored and told by the count of rows.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from ingest.store import SCHEMA
from lab.stack import Stack
from millrace import service
from tests.fault.ingest.hostile import (
    CLOSED,
    DEADLINE_SECONDS,
    MARK,
    PATH,
    Door,
    Post,
    Step,
    allow_many_files,
    chunked,
    door_on,
    endlessly,
    fin,
    first,
    genuine,
    hang_up,
    rst,
    slowly,
    talk,
)  # fmt: skip
from tests.fault.ingest.test_faults import database_gone
from tests.integration.ingest.edge import SECRET, body_of, until
from tests.integration.ingest.test_storing import commits_held, flush_waits
from tests.support.database import MakeDatabase, databases

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT = {"head_seconds_max": 1, "body_seconds_max": 1, "idle_seconds_max": 1}
MIB = 2**20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def make(stack: Stack) -> AsyncIterator[MakeDatabase]:
    async with databases(stack) as make:
        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(make: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """One process for the whole table: it must stand all of it."""
    async with door_on(await make(SCHEMA), tmp_path_factory.mktemp("door"), **SHORT) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """A script, the ends it may come to, and how many answers are waited for (None: all, until the close)."""

    script: list[Step]
    ends: set[int]
    answers: int | None = 1


def case(*script: Step, ends: set[int], answers: int | None = 1) -> Case:
    return Case(list(script), ends, answers)


def to(path: bytes, method: bytes = b"POST", version: bytes = b"HTTP/1.1") -> Post:
    return Post(path=path, method=method, version=version)


def lines(*headers: bytes) -> Post:
    return Post(headers=headers)


def framed(*framing: bytes) -> Post:
    return Post(framing=framing)


def chunks(wire: bytes | Callable[[bytes], bytes] = chunked, secret: bytes = SECRET) -> Post:
    """A request in chunks, honest or not."""
    how = wire if callable(wire) else lambda _: wire
    return Post(framing=(b"transfer-encoding: chunked",), wire=how, secret=secret)


def transfer(value: bytes, version: bytes = b"HTTP/1.1") -> Post:
    """Honest chunks, said otherwise."""
    return Post(framing=(b"transfer-encoding" + value,), wire=chunked, version=version)


def trailed(trailer: bytes, secret: bytes = SECRET) -> Post:
    """A request with something behind its last chunk."""
    return chunks(lambda body: chunked(body)[:-2] + trailer, secret)


def odd(old: bytes, new: bytes) -> Post:
    """A genuine request with one thing replaced, however often."""
    return Post(change=lambda raw: raw.replace(old, new))


BAD = {400, CLOSED}
SLOW = {408, CLOSED}
LARGE_HEAD = {400, 431, CLOSED}
LONG_PATH = {400, 404, 414, 431, CLOSED}
NOT_HERE = {400, 404, CLOSED}
NOT_SO = {400, 404, 405, CLOSED}
START = b"POST " + PATH + b" HTTP/1.1\r\n"
LONG = b"x" * MIB
ENOUGH = {413, *LARGE_HEAD}
HEX = b"stripe-signature: t=1,v1=" + b"0" * 64

TIME = {
    "nothing is said": case(ends=SLOW),
    "half a head": case(Post(change=first(60)), ends=SLOW),
    "a head without its last byte": case(Post(body=b"", change=first(-1)), ends=SLOW),
    "a head that never ends": case(Post(change=first(60)), slowly(b"x"), ends=SLOW),
    "a head a byte at a time": case(*[slowly(b"P")], ends={408, *BAD}),
    "headers without end": case(START, slowly(b"x: y\r\n"), ends=SLOW),
    "empty lines without end": case(slowly(b"\r\n"), ends={408, *BAD}),
    "no body": case(Post(wire=first(0)), ends=SLOW),
    "half a body": case(Post(wire=first(50)), ends=SLOW),
    "a body a byte at a time": case(Post(wire=first(10)), slowly(b"x"), ends=SLOW),
    "a chunk's size without end": case(chunks(b""), slowly(b"0"), ends={408, 413, *BAD}),
    "half a chunk": case(chunks(b"64\r\nabc"), ends=SLOW),
    "a chunk a second": case(chunks(b""), slowly(b"1\r\nx\r\n"), ends=SLOW),
    "chunks that never end": case(chunks(lambda b: chunked(b)[:-5]), ends=SLOW),
    "trailers without end": case(trailed(b""), slowly(b"x: y\r\n"), ends={408, 431, *BAD}),
    "half a head behind a genuine request": case(Post(), Post(change=first(60)), ends={200, 408}, answers=None),
    "half a body behind a genuine request": case(Post(), Post(wire=first(9)), ends={200, 408}, answers=None),
}  # fmt: skip

GOING_AWAY = {
    "goodbye at once": case(fin, ends=BAD),
    "goodbye within the head": case(Post(change=first(60)), fin, ends=BAD),
    "goodbye after the head": case(Post(wire=first(0)), fin, ends=BAD),
    "goodbye within the body": case(Post(wire=first(50)), fin, ends=BAD),
    "goodbye within a chunk": case(chunks(b"64\r\nabc"), fin, ends=BAD),
    "goodbye before the last chunk": case(chunks(lambda b: chunked(b)[:-5]), fin, ends=BAD),
    "goodbye after the request": case(Post(), fin, ends={200}),
    "reset at once": case(rst, ends={CLOSED}),
    "reset within the head": case(Post(change=first(60)), rst, ends={CLOSED}),
    "reset within the body": case(Post(wire=first(50)), rst, ends={CLOSED}),
    "reset within a chunk": case(chunks(b"64\r\nabc"), rst, ends={CLOSED}),
}  # fmt: skip

LOOKS_LIKE_MANY = body_of(
    "evt_lookalike", data={"object": {"id": "in_1", "memo": "POST / HTTP/1.1\r\n\r\n" * 2000}}
)
LENGTHS = {
    "with what look like requests in the body": case(Post(body=LOOKS_LIKE_MANY), ends={200}),
    "no length": case(framed(), ends={400, 411, CLOSED}),
    "length 0": case(framed(b"content-length: 0"), ends=BAD),
    "shorter than the body": case(framed(b"content-length: 10"), ends=BAD, answers=None),
    "longer than the body": case(framed(b"content-length: 9999"), ends=SLOW),
    "negative": case(framed(b"content-length: -1"), ends=BAD),
    "with a plus": case(framed(b"content-length: +%d"), ends=BAD),
    "not a number": case(framed(b"content-length: many"), ends=BAD),
    "hexadecimal": case(framed(b"content-length: 0x10"), ends=BAD),
    "empty": case(framed(b"content-length: "), ends=BAD),
    "a list": case(framed(b"content-length: %d, 5"), ends=BAD),
    "beyond 64 bits": case(framed(b"content-length: " + b"9" * 25), ends={413, *BAD}),
    "a thousand digits": case(framed(b"content-length: " + b"9" * 1000), ends={413, *BAD}),
    "a gigabyte": case(framed(b"content-length: 1073741824"), ends={413}),
    "one byte too many": case(framed(b"content-length: 1048577"), ends={413}),
    "twice the same": case(framed(b"content-length: %d", b"content-length: %d"), ends=BAD),
    "twice, not the same": case(framed(b"content-length: %d", b"content-length: 5"), ends=BAD),
    "with chunks": case(Post(framing=(b"content-length: %d", b"transfer-encoding: chunked"), wire=chunked), ends=BAD),
    "with chunks, the other way": case(Post(framing=(b"transfer-encoding: chunked", b"content-length: %d")), ends=BAD),
    "a space before the colon": case(framed(b"content-length : %d"), ends=BAD),
    "folded": case(framed(b"content-length:\r\n %d"), ends=BAD),
}  # fmt: skip

CHUNKS = {
    "honest": case(chunks(), ends={200}),
    "a byte each": case(chunks(lambda b: chunked(b, 1)), ends={200}),
    "with trailers": case(trailed(b"x-after: y\r\n\r\n"), ends={200, *BAD}),
    "with a trailer that would replace the signature": case(trailed(HEX + b"\r\n\r\n", b"whsec_x"), ends=BAD),
    "with 10,000 trailers": case(trailed(b"x: y\r\n" * 10_000 + b"\r\n"), ends={200, *LARGE_HEAD}),
    "with a trailer of a mebibyte": case(trailed(b"x: " + LONG + b"\r\n\r\n"), ends=ENOUGH),
    "with an extension": case(chunks(lambda b: b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(b), b)), ends={200, *BAD}),
    "with an endless extension": case(chunks(lambda b: b"%x;%b\r\n%b\r\n" % (len(b), LONG, b)), ends=ENOUGH),
    "with an extension each": case(chunks(b"1;abcdefgh=ijklmnop\r\n \r\n" * 5000), ends=ENOUGH),
    "a size that is none": case(chunks(b"xyz\r\nabc\r\n0\r\n\r\n"), ends=BAD),
    "a negative size": case(chunks(b"-5\r\nabcde\r\n0\r\n\r\n"), ends=BAD),
    "a size beyond 64 bits": case(chunks(b"f" * 17 + b"\r\nabc"), ends={413, *BAD}),
    "a size of a gigabyte": case(chunks(b"40000000\r\nabc"), ends={408, 413, *BAD}),
    "a size of a thousand zeros": case(chunks(b"0" * 1000 + b"5\r\nabcde\r\n0\r\n\r\n"), ends={413, *BAD}),
    "a size with 0x": case(chunks(b"0x5\r\nabcde\r\n0\r\n\r\n"), ends=BAD),
    "a size that is too small": case(chunks(b"3\r\nabcde\r\n0\r\n\r\n"), ends=BAD),
    "a size that is too large": case(chunks(b"9\r\nabcde\r\n0\r\n\r\n"), ends={408, *BAD}),
    "without its line's end": case(chunks(lambda b: b"%x\n%b\n0\n\n" % (len(b), b)), ends={408, *BAD}),
    "gzip, chunked": case(transfer(b": gzip, chunked"), ends={415, *BAD}),
    "chunked twice": case(transfer(b": chunked, chunked"), ends=BAD),
    "chunked, then identity": case(transfer(b": chunked, identity"), ends={408, *BAD}),
    "a transfer that nobody knows": case(transfer(b": xchunked"), ends={408, *BAD}),
    "a space before the colon": case(transfer(b" : chunked"), ends=BAD),
    "a tab before the word": case(transfer(b":\x0bchunked"), ends={408, *BAD}),
    "in HTTP/1.0": case(transfer(b": chunked", b"HTTP/1.0"), ends={200, *BAD}),
}  # fmt: skip

HEADERS = {
    "gzip": case(lines(b"content-encoding: gzip"), ends={415}),
    "a bomb": case(Post(body=gzip.compress(bytes(10 * MIB)), headers=(b"content-encoding: gzip",)), ends={415}),
    "br": case(lines(b"content-encoding: br"), ends={415}),
    "identity": case(lines(b"content-encoding: identity"), ends={200, 415}),
    "identity, then gzip": case(lines(b"content-encoding: identity", b"content-encoding: gzip"), ends={415}),
    "gzip, then identity": case(lines(b"content-encoding: gzip", b"content-encoding: identity"), ends={415}),
    "gzip, then nothing": case(lines(b"content-encoding: gzip", b"content-encoding: "), ends={415}),
    "10,000 of them": case(lines(*[b"x-%d: y" % n for n in range(10_000)]), ends=LARGE_HEAD),
    "10,000 times the same": case(lines(*[b"x: y"] * 10_000), ends=LARGE_HEAD),
    "one of a mebibyte": case(lines(b"x: " + LONG), ends=LARGE_HEAD),
    "a name of a mebibyte": case(lines(LONG + b": y"), ends=LARGE_HEAD),
    "a signature of a mebibyte": case(lines(b"stripe-signature: " + b"v1=0," * 200_000), ends=LARGE_HEAD),
    "ten mebibytes": case(START, endlessly(b"x: " + b"y" * 1000 + b"\r\n", 10 * MIB), ends=LARGE_HEAD),
    "a signature twice": case(Post(signatures=2), ends={400}),
    "a good signature and a bad one": case(lines(HEX), ends={400}),
    "no signature": case(Post(signatures=0), ends={400}),
    "NUL in a name": case(lines(b"x\0y: z"), ends=BAD),
    "NUL in a value": case(lines(b"x: y\0z"), ends=BAD),
    "NUL in the signature": case(odd(b"v1=", b"v1=\0"), ends=BAD),
    "a bracket in a name": case(lines(b"x(y): z"), ends=BAD),
    "a letter beyond ASCII in a name": case(lines("é: z".encode()), ends=BAD),
    "a letter beyond ASCII in a value": case(lines("x: é".encode()), ends={200, *BAD}),
    "a name with a space": case(lines(b"x y: z"), ends=BAD),
    "no name": case(lines(b": z"), ends=BAD),
    "no colon": case(lines(b"xyz"), ends=BAD),
    "a folded line": case(lines(b"x: y", b" z"), ends={200, *BAD}),
    "a bare carriage return": case(lines(b"x: y\rz: w"), ends=BAD),
    "bare line feeds": case(odd(b"\r\n", b"\n"), ends=BAD),
    "bell and escape": case(lines(b"x: \x07\x1b[2J" + MARK.encode()), ends={200, *BAD}),
    "no host": case(odd(b"host: edge\r\n", b""), ends={200, *BAD}),
    "two hosts": case(lines(b"host: other"), ends={200, *BAD}),
    "asks for a continue": case(lines(b"expect: 100-continue"), ends={200}),
    "asks for a continue before its body": case(Post(headers=(b"expect: 100-continue",), wire=first(0)), ends=SLOW),
    "expects something else": case(lines(b"expect: 200-ok"), ends={417}),
    "upgrade to websocket": case(lines(b"connection: upgrade", b"upgrade: websocket"), ends={200, *BAD}),
    "upgrade to h2c": case(lines(b"connection: upgrade", b"upgrade: h2c"), ends={200, *BAD}),
    "a forwarded host and path": case(lines(b"x-forwarded-host: evil", b"x-original-url: /x"), ends={200}),
    "a forwarded address": case(lines(b"x-forwarded-for: ::1, not an address"), ends={200}),
    "another method, overridden": case(Post(method=b"GET", headers=(b"x-http-method-override: POST",)), ends={405}),
}  # fmt: skip

PATHS = {
    "none of ours": case(to(b"/" + MARK.encode()), ends={404}),
    "an unknown endpoint": case(to(b"/webhooks/stripe/" + MARK.encode()), ends={404}),
    "no endpoint": case(to(b"/webhooks/stripe/"), ends={404}),
    "two slashes": case(to(b"//"), ends=NOT_HERE),
    "two slashes before ours": case(to(b"/" + PATH), ends=NOT_HERE),
    "two slashes within ours": case(to(b"/webhooks//stripe/main"), ends={404}),
    "a slash behind ours": case(to(PATH + b"/"), ends={404}),
    "a NUL, escaped": case(to(PATH + b"%00"), ends=NOT_HERE),
    "a NUL": case(to(PATH + b"\0"), ends=NOT_HERE),
    "%ff": case(to(PATH + b"%ff"), ends=NOT_HERE),
    "a broken escape": case(to(PATH + b"%zz%"), ends=NOT_HERE),
    "ours, escaped": case(to(b"/webhooks/stripe/%6dain"), ends={200, 404}),
    "a slash, escaped": case(to(b"/webhooks/stripe%2fmain"), ends={404}),
    "up and down": case(to(b"/webhooks/x/../stripe/main"), ends=NOT_HERE),
    "up beyond the root": case(to(b"/../../../../etc/passwd"), ends=NOT_HERE),
    "up, escaped": case(to(b"/%2e%2e/%2e%2e/etc/passwd"), ends=NOT_HERE),
    "8 KiB": case(to(b"/" + b"x" * 8192), ends=LONG_PATH),
    "8 KiB of an endpoint": case(to(b"/webhooks/stripe/" + b"x" * 8192), ends=LONG_PATH),
    "a mebibyte": case(to(b"/" + LONG), ends=LONG_PATH),
    "absolute": case(to(b"http://edge" + PATH), ends={200, 400, 404}),
    "absolute, elsewhere": case(to(b"http://169.254.169.254/latest"), ends=NOT_HERE),
    "absolute, with a name and a port that are none": case(to(b"http://a:b@c:99999999/x"), ends=NOT_HERE),
    "an asterisk": case(to(b"*"), ends=NOT_SO),
    "nothing": case(to(b""), ends=BAD),
    "not from the root": case(to(b"webhooks/stripe/main"), ends=NOT_HERE),
    "beyond ASCII": case(to("/webhooks/stripe/mäin".encode()), ends=NOT_HERE),
    "bytes of no script": case(to(b"/webhooks/stripe/\xff\xfe"), ends=NOT_HERE),
    "a space": case(to(b"/webhooks/stripe/ma in"), ends=NOT_HERE),
    "with a query": case(to(PATH + b"?" + MARK.encode()), ends={200, 404}),
    "with a query only": case(to(b"?x"), ends=NOT_HERE),
    "with a fragment": case(to(PATH + b"#x"), ends={200, 400, 404, CLOSED}),
    "a line of its own": case(to(PATH + b"%0d%0aSet-Cookie:%20x"), ends=NOT_HERE),
}  # fmt: skip

METHODS = {
    **{m: case(to(PATH, m.encode()), ends={405}) for m in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")},
    "OPTIONS *": case(to(b"*", b"OPTIONS"), ends=NOT_SO),
    "CONNECT": case(to(b"169.254.169.254:443", b"CONNECT"), ends=NOT_SO),
    "CONNECT to ours": case(to(PATH, b"CONNECT"), ends=NOT_SO),
    "one of WebDAV's": case(to(PATH, b"PROPFIND"), ends=NOT_SO),
    "PRI": case(to(b"*", b"PRI", version=b"HTTP/2.0"), ends=NOT_SO),
    "BREW": case(to(PATH, b"BREW"), ends=NOT_SO),
    "in lower case": case(to(PATH, b"post"), ends=NOT_SO),
    "a kibibyte": case(to(PATH, b"X" * 1024), ends=NOT_SO),
    "none": case(to(PATH, b""), ends=NOT_SO),
    "with a NUL": case(to(PATH, b"PO\0ST"), ends=NOT_SO),
}  # fmt: skip

PROTOCOLS = {
    "HTTP/0.9": case(b"GET /\r\n", ends={408, *BAD}),
    "HTTP/0.9, with a POST": case(b"POST " + PATH + b"\r\n\r\n", ends={408, *BAD}),
    "HTTP/1.0": case(Post(version=b"HTTP/1.0"), ends={200}, answers=None),
    "HTTP/1.0, kept alive": case(Post(version=b"HTTP/1.0", headers=(b"connection: keep-alive",)), ends={200}),
    "HTTP/1.1, to be closed": case(Post(headers=(b"connection: close",)), ends={200}, answers=None),
    "HTTP/1.2": case(Post(version=b"HTTP/1.2"), ends={200, *BAD}),
    "HTTP/9.9": case(Post(version=b"HTTP/9.9"), ends=BAD),
    "HTTP/1.11": case(Post(version=b"HTTP/1.11"), ends=BAD),
    "ICE/1.0": case(Post(version=b"ICE/1.0"), ends=BAD),
    "in lower case": case(Post(version=b"http/1.1"), ends=BAD),
    "HTTP/2, preface and settings": case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", ends=NOT_SO),
    "TLS, hello": case(bytes.fromhex("16030100a5010000a10303") + bytes(range(160)), ends=BAD),
    "SSH, banner": case(b"SSH-2.0-OpenSSH_9.6\r\n", ends=BAD),
    "SMTP": case(b"EHLO " + MARK.encode() + b"\r\n", ends=BAD),
    "Redis": case(b"*1\r\n$4\r\nPING\r\n", ends=BAD),
    "PROXY, version 1": case(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", Post(), ends=BAD),
    "PROXY, version 2": case(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12), Post(), ends=BAD),
    "nothing but NUL": case(bytes(10_000), ends=BAD),
    "nothing but 0xff": case(b"\xff" * 10_000, ends=BAD),
    "an answer": case(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ends=BAD),
    "empty lines first": case(b"\r\n\r\n", Post(), ends={200, *BAD}),
    "another before a genuine one": case(b"GET / HTTP/1.1\r\n\r\n", Post(), ends={200, 404}, answers=2),
}  # fmt: skip

HOSTILE = {
    f"{family}: {name}": found
    for family, cases in {
        "time": TIME, "going away": GOING_AWAY, "length": LENGTHS, "chunks": CHUNKS, "headers": HEADERS,
        "path": PATHS, "method": METHODS, "protocol": PROTOCOLS,
    }.items()
    for name, found in cases.items()
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_it_is_answered_4xx_or_hung_up_on_and_the_next_one_is_served(door: Door, name: str) -> None:
    hostile, before = HOSTILE[name], await door.rows()
    heard = await talk(door.port, hostile.script, hostile.answers)
    assert {*heard.statuses, heard.end} <= hostile.ends, heard
    await door.stands(before, heard.statuses.count(200))


# --- what a table cannot tell ---


async def test_what_is_allowed_is_said_and_head_is_answered_without_a_body(door: Door) -> None:
    refused, _, served = (
        await talk(door.port, [Post(method=b"GET"), Post(method=b"PUT"), Post()], 3)
    ).answers
    assert (refused.status, refused.headers["allow"], served.status) == (405, "POST", 200)
    async with held(door, Post(method=b"HEAD"), Post()) as (reader, _):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405")
        assert (await reader.read(12)) in (b"HTTP/1.1 200", b"")  # the next answer, or a close; never a body


async def test_a_connection_that_is_done_is_kept_for_a_while_and_then_closed(door: Door) -> None:
    heard = await talk(door.port, [Post()], answers=None)
    assert heard.statuses == [200]
    assert SHORT["idle_seconds_max"] <= heard.seconds < DEADLINE_SECONDS


async def test_who_is_gone_before_the_answer_is_stored_once_at_most(door: Door) -> None:
    before = await door.rows()
    raw = genuine()
    await talk(door.port, [Post(body=raw), rst])
    assert (await talk(door.port, [Post(body=raw)])).statuses == [200]
    await door.stands(before, 1)


async def test_a_gigabyte_of_chunks_is_cut_off_and_never_held(door: Door) -> None:
    before, memory = await door.rows(), door.memory_bytes()
    taken = 0

    async def gigabyte(writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        for _ in range(1024):
            writer.write(b"100000\r\n" + bytes(MIB) + b"\r\n")
            await writer.drain()
            taken += MIB

    heard = await talk(door.port, [chunks(b""), gigabyte], None)
    assert heard.end in {413, CLOSED}
    assert taken < 64 * MIB  # what was read and dropped, and what the kernels hold
    assert door.memory_bytes("VmHWM") - memory < 64 * MIB
    await door.stands(before, 0)


async def test_who_asks_and_never_reads_is_hung_up_on(door: Door) -> None:
    """Answers that nobody takes are not kept: the door stops reading, and then waits no longer than for anybody."""
    memory = door.memory_bytes()
    async with never_reading(door) as writer:
        many = Post(method=b"GET", body=b"").raw() * 100
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(ConnectionError):
                while True:
                    writer.write(many)
                    await writer.drain()
    assert door.memory_bytes("VmHWM") - memory < 64 * MIB
    await door.stands(await door.rows(), 0)


@asynccontextmanager
async def never_reading(door: Door) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection that takes a few KiB of answers and no more."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.setblocking(False)
    await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", door.port))
    _, writer = await asyncio.open_connection(sock=link, limit=1)
    try:
        yield writer
    finally:
        await hang_up(writer)


# --- one after another on one connection ---


async def test_fifty_requests_in_one_segment_are_answered_in_their_order(door: Door) -> None:
    before = await door.rows()
    heard = await talk(door.port, [b"".join(Post().raw() for _ in range(50))], answers=50)
    assert heard.statuses == [200] * 50
    await door.stands(before, 50)


async def test_bad_ones_in_between_are_answered_in_their_places(door: Door) -> None:
    before = await door.rows()
    kinds = [
        (200, Post()),
        (404, Post(path=b"/")),
        (405, Post(method=b"PUT")),
        (400, Post(secret=b"whsec_x")),
    ]
    asked = [kinds[n * n % 7 % 4] for n in range(50)]
    heard = await talk(door.port, [b"".join(post.raw() for _, post in asked)], answers=50)
    assert heard.statuses == [status for status, _ in asked]
    await door.stands(before, heard.statuses.count(200))


async def test_behind_a_broken_one_nothing_is_served(door: Door) -> None:
    before = await door.rows()
    broken = Post(framing=(b"content-length: %d", b"content-length: 5"))
    asked = [*[Post()] * 25, broken, *[Post()] * 24]
    heard = await talk(door.port, [b"".join(post.raw() for post in asked)], answers=None)
    assert heard.statuses == [*[200] * 25, 400]
    await door.stands(before, 25)


async def test_a_request_cut_at_any_byte_is_served(door: Door) -> None:
    """The second part is sent when the first is sure to have been read: another request was served since."""
    before = await door.rows()
    asked = [Post().raw() for _ in range(len(Post().raw()) - 1)]
    for some in (range(at, min(at + 50, len(asked))) for at in range(0, len(asked), 50)):
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(held(door, asked[n][: n + 1])) for n in some]
            assert (await talk(door.port, [Post()])).statuses == [200]
            for n, (_, writer) in zip(some, opened, strict=True):
                writer.write(asked[n][n + 1 :])
            for reader, _ in opened:
                assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    await door.stands(before, len(asked) + len(range(0, len(asked), 50)))


async def test_a_request_byte_by_byte_is_served(door: Door) -> None:
    before = await door.rows()
    raw = Post().raw()
    heard = await talk(door.port, [raw[n : n + 1] for n in range(len(raw))])
    assert heard.statuses == [200]
    await door.stands(before, 1)


# --- many at once ---


@asynccontextmanager
async def held(door: Door, *script: Step) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has said something and stays."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        for step in script:
            assert not callable(step)
            writer.write(step.raw() if isinstance(step, Post) else step)
        yield reader, writer
    finally:
        await hang_up(writer)


HALF_A_HEAD = Post(change=first(60))
PATIENT = {"head_seconds_max": 60, "body_seconds_max": 60}  # so that it is not the deadlines that help
Held = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


@asynccontextmanager
async def many_held(door: Door, number: int, *script: Step) -> AsyncIterator[Held]:
    allow_many_files()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(held(door, *script)) for _ in range(number)]


async def hung_up_on(*held: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Wait until the door has hung up on these."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        for reader, _ in held:
            with suppress(ConnectionError):
                await reader.read()


async def test_two_thousand_half_open_connections_keep_nobody_out(make: MakeDatabase, tmp_path: Path) -> None:
    async with (
        door_on(await make(SCHEMA), tmp_path, **PATIENT) as door,
        many_held(door, 2000, HALF_A_HEAD) as open_,
    ):
        for served in range(20):
            await door.stands((served, served), 0)
        assert not any(reader.at_eof() for reader, _ in open_)


async def test_beyond_the_cap_the_stalest_without_a_head_makes_room(
    make: MakeDatabase, tmp_path: Path
) -> None:
    async with (
        door_on(await make(SCHEMA), tmp_path, connections_max=100, **PATIENT) as door,
        many_held(door, 100, HALF_A_HEAD) as open_,
    ):
        await door.stands((0, 0), 0)
        await hung_up_on(open_[0])
        assert not any(reader.at_eof() for reader, _ in open_[5:])
        async with many_held(door, 1000, HALF_A_HEAD):
            for served in range(1, 21):
                await door.stands((served, served), 0)


async def test_beyond_the_cap_a_request_in_flight_keeps_its_place(make: MakeDatabase, tmp_path: Path) -> None:
    async with door_on(await make(SCHEMA), tmp_path, connections_max=100, **PATIENT) as door:
        async with commits_held(door.edge):
            flying = [asyncio.create_task(talk(door.port, [Post()])) for _ in range(5)]
            await until(lambda: flush_waits(door.edge))
            async with many_held(door, 300, HALF_A_HEAD):
                assert (await talk(door.port, [Post(secret=b"whsec_x")])).statuses == [400]
        assert [(await one).statuses for one in flying] == [[200]] * 5


async def test_bodies_that_never_end_are_not_held_beyond_a_bound(make: MakeDatabase, tmp_path: Path) -> None:
    """A pod has 256 MiB; whoever cannot sign must not be able to fill them."""
    async with door_on(await make(SCHEMA), tmp_path, **PATIENT) as door:
        memory, body = door.memory_bytes(), b"x" * (MIB - 1)
        half = Post(body=body, framing=(b"content-length: 1048576",), secret=b"whsec_x").raw()
        async with AsyncExitStack() as stack:
            for _ in range(300):
                _, writer = await stack.enter_async_context(held(door, half))
                with suppress(ConnectionError):
                    await writer.drain()
            await door.stands((0, 0), 0)
            assert door.memory_bytes("VmHWM") - memory < 128 * MIB


# --- the end ---


async def test_asked_to_stop_it_answers_what_is_in_flight_and_hangs_up_on_the_others(
    make: MakeDatabase, tmp_path: Path
) -> None:
    async with (
        door_on(await make(SCHEMA), tmp_path, head_seconds_max=3) as door,
        many_held(door, 5, HALF_A_HEAD) as half,
        many_held(door, 5, Post()) as idle,
        many_held(door, 1) as late,
    ):
        for reader, _ in idle:
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
        late_raw = Post().raw()
        late[0][1].write(late_raw[:-5])
        async with commits_held(door.edge):
            flying = [asyncio.create_task(talk(door.port, [Post()], None)) for _ in range(5)]
            await until(lambda: flush_waits(door.edge))
            stopping = asyncio.create_task(door.running.stop())
            await hung_up_on(*idle)
            with pytest.raises(ConnectionRefusedError):
                await talk(door.port, [Post()])
            late[0][1].write(late_raw[-5:])
        assert [(await one).statuses for one in flying] == [[200]] * 5
        assert (await late[0][0].read()).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(service.DRAIN_SECONDS):
            assert await stopping == 0
            await hung_up_on(*half)
        assert await door.rows() == (11, 11)
        assert door.complaints() == []


async def test_who_cannot_sign_is_turned_away_without_a_database(
    make: MakeDatabase, stack: Stack, tmp_path: Path
) -> None:
    """Nothing asks the database before the signature is good: while it is away, only genuine ones are told so."""
    db = await make(SCHEMA)
    async with door_on(db, tmp_path) as door:
        await door.stands((0, 0), 0)
        async with database_gone(db, stack.postgres):
            strangers = [
                Post(secret=b"whsec_x"),
                Post(signatures=0),
                Post(path=b"/"),
                Post(method=b"GET"),
            ] * 50
            heard = await talk(door.port, [*strangers, Post()], answers=201)
            assert heard.statuses == [*[400, 400, 404, 405] * 50, 503]
            assert heard.answers[-1].headers["retry-after"].isdigit()
