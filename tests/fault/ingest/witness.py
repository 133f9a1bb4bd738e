"""Stripe for the fault tests: sends until it hears 200, and remembers what it sent and what it heard.

Its list is the witness: it knows nothing of the edge's insides. `account_for` holds the tables against it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
import orjson
import zstandard

from ingest import store
from ingest.domain.signature import sign
from millrace.sealing import Keys, key_id, untoken
from tests.integration.ingest.edge import SECRET, event, opening, until
from tests.support.database import Database

ANSWER_SECONDS = 30.0  # an edge that has not answered by then never will
CURSED = "in_cursed"  # an object that a test may have the database refuse


class Heard(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]


class Line:
    """A connection to an edge, kept while it works."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, raw: bytes, signature: str, path: str = "/webhooks/stripe/main") -> Heard | None:
        """The answer; None when nobody is there, or when it went away without one."""
        head = f"POST {path} HTTP/1.1\r\nhost: edge\r\ncontent-length: {len(raw)}\r\nstripe-signature: {signature}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self.streams is None:
                    self.streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self.streams
                writer.write(head.encode() + b"\r\n\r\n" + raw)
                return await _answer(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            await self.close()
            return None

    async def close(self) -> None:
        streams, self.streams = self.streams, None
        if streams:
            streams[1].close()
            with suppress(ConnectionError):
                await streams[1].wait_closed()


async def _answer(reader: asyncio.StreamReader) -> Heard:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    await reader.readexactly(int(headers["content-length"]))
    return Heard(int(first.split()[1]), headers)


def signature(raw: bytes, *secrets: bytes) -> str:
    """Stripe's header, with one v1 for each secret that is active there."""
    first, *others = [sign(raw, secret, int(time.time())) for secret in secrets]
    return ",".join([first, *(other.split(",")[1] for other in others)])


Make = Callable[[int], tuple[str, bytes]]


def business(name: str, customers: int = 3) -> Make:
    """Events of a company, by number: a customer begins, with an address to find it by, and then pays."""

    def make(number: int) -> tuple[str, bytes]:
        id, customer = f"evt_{name}_{number}", f"cus_{name}_{number // customers}"
        object_id = CURSED if number % 7 == 5 else f"in_{number}"
        thing = {"id": object_id, "object": "invoice", "customer": customer, "description": f"for {customer}"}
        if number % customers == 0:
            thing = {
                "id": customer,
                "object": "customer",
                "email": f"{customer}@example.com",
                "name": customer,
            }
        return id, orjson.dumps(event(id, type=f"{thing['object']}.changed", data={"object": thing}))

    return make


@dataclass
class Stripe:
    """Sends over several connections until everything is acknowledged; what fails comes again.

    more()    waits until so many more are acknowledged
    finish()  makes no new events, waits until every one is acknowledged, and hangs up
    """

    port: int
    make: Make
    secrets: Callable[[], Sequence[bytes]] = lambda: [SECRET]
    again_seconds: float = 0.02  # after something else than 200; Stripe takes its time, we have less
    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: dict[str, float] = field(default_factory=dict)  # when, by the monotonic clock
    answers: Counter[int] = field(default_factory=Counter)
    unavailable: list[Heard] = field(default_factory=list)
    waiting: deque[str] = field(default_factory=deque)
    fresh: bool = True
    turn: bool = False
    stopped: bool = False

    @asynccontextmanager
    async def sending(self, connections: int = 8) -> AsyncIterator[None]:
        self.stopped = False
        tasks = [asyncio.create_task(self._work()) for _ in range(connections)]
        try:
            yield
        finally:
            self.stopped = True
            await asyncio.gather(*tasks)

    async def more(self, events: int, seconds: float = 20.0) -> None:
        goal = len(self.acknowledged) + events

        async def enough() -> bool:
            return len(self.acknowledged) >= goal

        await until(enough, seconds)

    async def finish(self, seconds: float = 20.0) -> None:
        self.fresh = False

        async def all_acknowledged() -> bool:
            return len(self.acknowledged) == len(self.sent)

        await until(all_acknowledged, seconds)
        self.stopped = True

    async def _work(self) -> None:
        line = Line(self.port)
        while not self.stopped:
            id = self._next()
            if id is None or not await self._deliver(line, id):
                await asyncio.sleep(self.again_seconds)
        await line.close()

    def _next(self) -> str | None:
        """What waits longest to be sent again and something new, in turns: what is refused for ever starves nobody."""
        self.turn = not self.turn
        if self.waiting and (not self.fresh or self.turn):
            return self.waiting.popleft()
        return self.event() if self.fresh else None

    def event(self) -> str:
        id, raw = self.make(len(self.sent))
        self.sent[id] = raw
        return id

    async def _deliver(self, line: Line, id: str) -> bool:
        raw = self.sent[id]
        heard = await line.post(raw, signature(raw, *self.secrets()))
        if heard and heard.status == 200:
            self.acknowledged.setdefault(id, time.monotonic())
        else:
            self.waiting.append(id)
        if heard:
            self.answers[heard.status] += 1
            self.unavailable += [heard] * (heard.status == 503)
        return bool(heard and heard.status == 200)


# --- what the tables say ---

STORED = "select id, account, customer, type, raw from ingest.event where id = any($1)"
CLAIMED = "select id from ingest.event_id where id = any($1)"
PUBLISHED = """
select headers->>'ce_id' as id, payload from outbox.event where headers->>'ce_id' = any($1)
"""
INDEXED = "select customer from sealing.blind_index where customer = any($1)"
COUNTS = """
select (select count(*) from ingest.event) as events, (select count(*) from ingest.event_id) as ids,
       (select count(*) from outbox.event) as published
"""


async def account_for(db: Database, sent: dict[str, bytes], acknowledged: Sequence[str]) -> set[str]:
    """Every acknowledged event is stored; and what is stored is whole: an event, an id and an outbox row, once
    each; it opens and is what was sent; and who has an address is found by it. Returns what is stored."""
    connection = await asyncpg.connect(db.owner)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            asked = list(sent)
            rows = await connection.fetch(STORED, asked)
            claimed = await connection.fetch(CLAIMED, asked)
            published = await connection.fetch(PUBLISHED, asked)
            indexed = await connection.fetch(INDEXED, [row["customer"] for row in rows])
            counts = await connection.fetchrow(COUNTS)
    finally:
        await connection.close()
    stored = [row["id"] for row in rows]
    assert len(stored) == len(set(stored))
    assert sorted(stored) == sorted(row["id"] for row in claimed) == sorted(row["id"] for row in published)
    assert counts and counts["events"] == counts["ids"] == counts["published"]
    assert set(acknowledged) <= set(stored), set(acknowledged) - set(stored)
    assert {r["customer"] for r in rows if r["type"] == "customer.changed"} <= {
        r["customer"] for r in indexed
    }
    async with opening(db) as keys:
        await _opens(keys, rows, sent)
        await _sealed_with_known_keys(keys, [zstandard.decompress(row["payload"]) for row in published])
    return set(stored)


async def _opens(keys: Keys, rows: Sequence[asyncpg.Record], sent: dict[str, bytes]) -> None:
    held = await keys.by_id({key_id(row["raw"]) for row in rows})
    for row in rows:
        raw = store.raw_bytes(row["account"], row["id"], held[key_id(row["raw"])], row["raw"])
        assert raw == sent[row["id"]]


async def _sealed_with_known_keys(keys: Keys, payloads: Sequence[bytes]) -> None:
    """Whoever may open what was published finds the keys."""
    texts = [text for payload in payloads for text in orjson.loads(payload)["data"]["object"].values()]
    sealed = [raw for text in texts if isinstance(text, str) and (raw := untoken(text))]
    assert {key_id(raw) for raw in sealed} <= (await keys.by_id({key_id(raw) for raw in sealed})).keys()
