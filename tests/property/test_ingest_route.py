"""Whatever is posted, the door answers below 500 and stays up: 100,000 hostile requests to the real process.

Requests go over lasting connections, many in one packet; the last of a packet may be broken HTTP. Each is made
from one number, so a run is repeated by its seed, which a failure prints.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.domain.signature import sign
from ingest.store import SCHEMA
from tests.fault.ingest.hostile import CLOSED, MARK, PATH, Door, Post, chunked, door_on, hang_up, parsed, talk
from tests.integration.ingest.edge import SECRET, event
from tests.support.database import MakeDatabase

TRIES = int(os.environ.get("INGEST_FUZZ_TRIES", "30000"))
PACKET = 50  # requests
CONNECTIONS = 8
FINE = {200, 400, 403, 404, 405, 408, 413, 415, 417, 431}


@pytest.fixture
async def door(database: MakeDatabase, tmp_path: Path) -> AsyncIterator[Door]:
    async with door_on(await database(SCHEMA), tmp_path) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Try:
    """A request and what it may be answered; `whole` when the next one can be told from it."""

    raw: bytes
    fine: frozenset[int]
    whole: bool = True


# --- bodies ---

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, -(2**63), 2**63, 2**64, "", "\0", " ", "x" * 300, "é", "\u202e", "𝄞",
    [], {}, [[]], [None], {"": None}, "evt_1", "2026-02-30T00:00:00Z", "+999999-01-01T00:00:00Z", "1e5",
    "4242 4242 4242 4242", "4242-4242\n4242\t4242", "sealed:", "sealed:AAAA", {"$sealed": 1}, "__proto__",
]  # fmt: skip
RAW = [
    b"NaN", b"-Infinity", b"1e400", b"-0", b"0x1", b"01", b"9" * 400, b"1" + b"0" * 5000, b'"\\ud800"',
    b'"\\udc00\\ud800"', b'"\xff"', b'"\\u0000"', b"[" * 2000, b"[" * 200 + b"]" * 200, b"{}{}", b'{"a":1,"a":2}',
    b'{"a\\u003a":1,"a:":2}', b"/**/1",
    b"'x'", b"undefined", b'"\n"', b"", b"\xef\xbb\xbf1", b"1e-400", b"1.", b'"' + b"x" * 70_000 + b'"',
]  # fmt: skip
KEYS = [
    *event(),
    "account",
    "context",
    "related_object",
    "reason",
    "changes",
    "customer",
    "",
    "$sealed",
    "id",
]


def document(chance: random.Random) -> bytes:
    """An event with some of its places changed, and then perhaps some of its bytes."""
    body = event(f"evt_{chance.getrandbits(40)}", pending_webhooks=MARK)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        place: dict[str, Any] = chance.choice((body, body, body["data"], body["data"].get("object")))
        if isinstance(place, dict):
            place[chance.choice(KEYS)] = chance.choice(ODD)
        if not isinstance(body.get("data"), dict):
            break
    raw = orjson.dumps(body, default=str) if _small(body) else b"{}"
    return chance.choice(BYTES)(chance, raw)


def _small(body: Any) -> bool:
    """What orjson can write: no whole number beyond 64 bits."""
    try:
        orjson.dumps(body)
    except TypeError:
        return False
    return True


def spliced(chance: random.Random, raw: bytes) -> bytes:
    """One value replaced by bytes that no encoder would write."""
    at = raw.find(b":", chance.randrange(len(raw))) + 1
    return raw[:at] + chance.choice(RAW) + raw[at + chance.randrange(8) :]


def flipped(chance: random.Random, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.randrange(1, 6)):
        changed[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(changed)


def same(_: random.Random, raw: bytes) -> bytes:
    return raw


BYTES: list[Callable[[random.Random, bytes], bytes]] = [
    same, same, same, spliced, spliced, flipped,
    lambda chance, raw: raw[: chance.randrange(len(raw))],
    lambda chance, raw: raw + raw[: chance.randrange(len(raw))],
    lambda chance, raw: raw.replace(b"{", b"{" + raw[1:-1] + b",", 1),  # every key twice
    lambda chance, _: chance.randbytes(chance.choice((0, 1, 10, 300, 5000))),
    lambda chance, _: chance.choice(RAW),
]  # fmt: skip


# --- requests ---

TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALUE = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t "
FRAMES = {b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade", b"stripe-signature"}


def header(chance: random.Random) -> bytes:
    name = bytes(chance.choices(TOKEN, k=chance.randrange(1, 20)))
    if name.lower() in FRAMES:
        name = b"x-" + name
    return name + b": " + bytes(chance.choices(VALUE, k=chance.choice((0, 1, 5, 60))))


def signature(chance: random.Random, body: bytes) -> tuple[bytes, bool]:
    """A Stripe-Signature header's value, and whether it is good."""
    now = int(time.time())
    good = sign(body, SECRET, now).encode()
    if chance.random() < 0.7:
        return good, True
    bad = [
        sign(body, b"whsec_x", now).encode(), *(sign(body, SECRET, now + off).encode() for off in (-400, 400)),
        good[:-1], good.replace(b"v1", b"v0"), good.replace(b"t=", b"t=-"), good.replace(b",", b",t=1,"),
        b"t=%b,v1=" % (b"9" * 30), b"," * 50, b"t==,v1", b"", b"v1=" + b"0" * 2000,
        bytes(chance.choices(VALUE, k=80)).strip(),
        good + b",v1=00" * 20,
    ]  # fmt: skip
    return chance.choice(bad), False


def whole(chance: random.Random) -> Try:
    """A request whose end can be told, whatever is in it."""
    body = document(chance)
    signed, good = signature(chance, body)
    path = PATH if chance.random() < 0.9 else PATH[: chance.randrange(1, len(PATH))]
    method = b"POST" if chance.random() < 0.95 else chance.choice((b"GET", b"PUT", b"DELETE", b"OPTIONS"))
    in_chunks = chance.random() < 0.2
    framing = b"transfer-encoding: chunked" if in_chunks else b"content-length: %d" % len(body)
    lines = [b"host: edge", b"stripe-signature: " + signed, framing]
    lines += [header(chance) for _ in range(chance.choice((0, 0, 1, 5)))]
    chance.shuffle(lines)
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), *lines, b"", b""])
    genuine = good and path == PATH and method == b"POST"
    fine = frozenset({200, 400}) if genuine else frozenset(FINE - {200})
    size = max(1 + len(body) // 100, chance.choice((1, 7, 1000, 100_000)))
    return Try(head + (chunked(body, size) if in_chunks else body), fine)


BREAKS = [
    b"\0", b"\r", b"\n", b"\r\n", b" ", b":", b"\xff", b"\r\n x", b"x" * 5000, b"\r\ncontent-length: 5",
    b"\r\nconnection: close", b"\r\ntransfer-encoding: chunked", b"\r\nupgrade: x\r\nconnection: upgrade",
    b"\r\nexpect: x",
]  # fmt: skip


def broken(chance: random.Random) -> Try:
    """HTTP itself is broken, or says that the connection ends: nothing can be told behind it."""
    raw = whole(chance).raw
    cut = raw.find(b"\r\n\r\n")
    changed = bytearray(raw)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(cut + 4)
        changed[at : at + chance.randrange(3)] = chance.choice(BREAKS)
    return Try(bytes(changed), frozenset(FINE), whole=False)


def packet(seed: int) -> list[Try]:
    chance = random.Random(seed)
    return [
        *(whole(chance) for _ in range(PACKET - 1)),
        broken(chance) if chance.random() < 0.5 else whole(chance),
    ]


# --- the runs ---


async def sent(door: Door, tries: list[Try]) -> list[int]:
    """The answers to a packet, in order; the connection is half closed behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    try:
        writer.write(b"".join(each.raw for each in tries))
        writer.write_eof()
        async with asyncio.timeout(60):
            heard = await reader.read()
    except ConnectionError:  # hung up while there was something left to send
        return []
    finally:
        await hang_up(writer)
    answers, rest = parsed(heard)
    assert not rest, rest[:200]
    return [answer.status for answer in answers]


async def judged(door: Door, seed: int) -> Counter[int]:
    """Send one packet and judge each answer; how many of each status there were."""
    tries = packet(seed)
    statuses = await sent(door, tries)
    wrong = [
        (status, each.raw[:300])
        for status, each in zip(statuses, tries, strict=False)
        if status not in each.fine
    ]
    assert not wrong, wrong[:3]
    assert set(statuses) <= FINE, statuses
    stopped = statuses and statuses[-1] in {408, 413, 417, 431}
    assert stopped or len(statuses) >= sum(each.whole for each in tries), (len(statuses), statuses[-3:])
    return Counter(statuses)


async def all_judged(door: Door, seed: int, tries: int) -> Counter[int]:
    """Packet after packet over some connections at once, until so many requests were answered."""
    total: Counter[int] = Counter()
    seeds = iter(range(seed * 10**6, (seed + 1) * 10**6))

    async def sender() -> None:
        while total.total() < tries:
            number = next(seeds)
            try:
                total.update(await judged(door, number))
            except AssertionError as problem:
                raise AssertionError(f"packet {number}: {problem}") from problem

    async with asyncio.TaskGroup() as senders:
        for _ in range(CONNECTIONS):
            senders.create_task(sender())
    return total


async def stored(door: Door) -> int:
    events, published = await door.rows()
    assert events == published
    return events


@pytest.mark.timeout(600)
async def test_tens_of_thousands_of_hostile_requests_find_nothing_but_refusals(door: Door) -> None:
    """INGEST_FUZZ_SEED repeats a run, INGEST_FUZZ_TRIES makes it longer."""
    seed = int(os.environ.get("INGEST_FUZZ_SEED") or time.time_ns() % 10**9)
    try:
        total = await all_judged(door, seed, TRIES)
        assert total.total() >= TRIES
        assert set(total) >= {200, 400, 404, 405}  # each kind was tried: neither all junk nor all genuine
        assert 0 < await stored(door) <= total[200]
        await door.stands(await door.rows(), 0)
    except* AssertionError as problems:
        again = f"INGEST_FUZZ_SEED={seed} python -m pytest tests/property/test_ingest_route.py -k tens"
        raise AssertionError(f"{problems.exceptions[0]}\n\nrepeat: {again}") from None


LINES = st.lists(st.binary(max_size=40).filter(lambda line: b"%" not in line), max_size=2).map(tuple)
POSTS = st.builds(
    Post,
    body=st.binary(max_size=300) | st.integers(0, 2**32).map(lambda seed: document(random.Random(seed))),
    method=st.sampled_from([b"POST"] * 5 + [b"GET", b"post", b"", b"PRI"]),
    path=st.just(PATH) | st.binary(max_size=60),
    headers=st.lists(st.binary(max_size=60), max_size=3).map(tuple),
    framing=st.just((b"content-length: %d",)) | LINES,
    signatures=st.sampled_from([1, 1, 1, 0, 2]),
    secret=st.sampled_from([SECRET, b"whsec_x"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(post=POSTS)
async def test_no_single_request_is_answered_5xx(door: Door, post: Post) -> None:
    """The same on a smaller scale, where a failure shrinks to the least that fails."""

    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(post.raw())
        writer.write_eof()

    heard = await talk(door.port, [say], answers=None)
    assert {*heard.statuses, heard.end} <= FINE | {CLOSED}
    assert door.complaints() == []
