"""Acknowledged webhooks per second at 64 connections, beside what they are to be compared with.

    ours             the group commit
    one transaction  the same server and rows, a transaction for each request
    floor            single-row inserts of the same bytes, one commit each, 64 clients, no HTTP at all

All in one run, one after another in rounds; the ratios count, the rates are this machine's.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import orjson
import pytest
import uvloop

from ingest import store
from ingest.domain import Arrival, admit
from ingest.domain.signature import sign
from ingest.http import Commit
from ingest.jobs import GroupCommit
from ingest.store import SCHEMA
from tests.integration.ingest.edge import AT, ENDPOINTS, NOW, SECRET, edge_on, event
from tests.support.database import Database, MakeDatabase

CONNECTIONS = 64
ROUNDS = 3
SECONDS = 4.0
RESULT = Path(__file__).parents[2] / ".millrace" / "bench" / "ingest.json"


def invoice(id: str) -> bytes:
    """An event of the size that Stripe's have: an invoice with three lines, 6 KB."""
    line = {
        "id": "il_1", "object": "line_item", "amount": 2900, "currency": "usd", "description": "Team",
        "discounts": [], "livemode": False, "metadata": {"note": "x" * 200}, "period": {"end": 2, "start": 1},
        "parent": {"type": "subscription_item_details", "subscription_item_details": {"subscription": "sub_1"}},
        "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}, "type": "price_details"},
        "subtotal": 2900, "taxes": [], "quantity": 1,
    }  # fmt: skip
    fields = {f"field_{n:02}": f"what field number {n} says" for n in range(90)}
    lines = {"object": "list", "data": [line] * 3, "has_more": False}
    obj = {"id": "in_1", "object": "invoice", "customer": "cus_1", "lines": lines, **fields}
    return orjson.dumps(event(id, data={"object": obj}))


class PerRequest:
    """The usual way: each request takes a connection and inserts its rows in a transaction of its own."""

    def __init__(self, commits: GroupCommit) -> None:
        self.pool = commits.pool

    async def commit(self, arrival: Arrival) -> bool:
        row = store.row(arrival)
        async with self.pool.acquire() as connection, connection.transaction():
            claimed = await connection.execute(CLAIM, row.account, row.id, row.received_at)
            if claimed == "INSERT 0 0":
                return False
            await connection.execute(EVENT, *row[:12])
            await connection.execute(OUTBOX, row.topic, row.key, row.headers, row.payload)
            return True


CLAIM = "insert into ingest.event_id (account, id, received_at) values ($1, $2, $3) on conflict do nothing"
EVENT = """
insert into ingest.event (account, id, type, created, api_version, livemode, object_id, customer, received_at,
                          source, raw, signature)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
OUTBOX = "insert into outbox.event (topic, key, headers, payload) values ($1, $2, $3::text::jsonb, $4)"


WAYS: dict[str, Callable[[GroupCommit], Commit]] = {
    "ours": lambda commits: commits.commit,
    "one transaction a request": lambda commits: PerRequest(commits).commit,
}


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_ingest_acknowledges_twice_what_a_transaction_per_request_does(database: MakeDatabase) -> None:
    rates: dict[str, list[float]] = {name: [] for name in (*WAYS, "floor")}
    for _ in range(ROUNDS):
        for way in WAYS:
            rates[way].append(await acknowledged(await database(SCHEMA), way))
        rates["floor"].append(await floor(await database(SCHEMA)))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    report(medians, rates)
    assert medians["ours"] >= 2 * medians["one transaction a request"]


def report(medians: dict[str, float], rates: dict[str, list[float]]) -> None:
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(
        json.dumps({"events_per_second": medians, "rounds": rates, "bytes": len(invoice("evt_1"))})
    )
    print(f"\nacknowledged webhooks/s, {len(invoice('evt_1'))} bytes, {CONNECTIONS} connections")  # noqa: T201
    for name, rate in medians.items():
        print(f"  {name:28} {rate:8,.0f}/s   {rate / medians['floor']:5.2f} of the floor")  # noqa: T201


async def acknowledged(db: Database, way: str) -> float:
    """200s per second of a server process under the connections of a generator process."""
    async with child("serve", db.owner, db.name, way) as port, child("load", port) as rate:
        return float(rate)


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[str]:
    """This file as a process of its own; yields the first line that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.test_ingest", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def serve(owner: str, name: str, way: str) -> None:
    """The edge until it is terminated. A transaction a request gets a connection for every sender."""
    size = 1 if way == "ours" else CONNECTIONS
    async with edge_on(Database(owner, name), wrap=WAYS[way], pool_size=size) as edge:
        print(edge.port, flush=True)  # noqa: T201
        await asyncio.Event().wait()


async def load(port: str) -> None:
    """Post over keep-alive sockets, one request at a time each, and print the rate of 200s."""
    numbers = count()
    ends = time.perf_counter() + SECONDS
    done = await asyncio.gather(*(sender(int(port), numbers, ends) for _ in range(CONNECTIONS)))
    print(sum(done) / SECONDS, flush=True)  # noqa: T201


async def sender(port: int, numbers: count[int], ends: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < ends:
        raw = BODY.replace(b"evt_NUMBER", b"evt_%06d" % next(numbers))
        writer.write(HEAD % (len(raw), sign(raw, SECRET, AT).encode()) + raw)
        answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        done += 1
    writer.close()
    return done


BODY = invoice("evt_NUMBER")
HEAD = (
    b"POST /webhooks/stripe/main HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nstripe-signature: %s\r\n\r\n"
)

FLOOR = "insert into floor (id, raw, payload) values ($1, $2, $3)"


async def floor(db: Database) -> float:
    """Commits per second of one-row inserts of the bytes that the event and its outbox row hold."""
    owner = await asyncpg.connect(db.owner)
    await owner.execute("create table floor (id text primary key, raw bytea, payload bytea)")
    await owner.execute(
        "alter table floor alter raw set storage external, alter payload set storage external"
    )
    await owner.close()
    raw = invoice("evt_1")
    arrival = admit(ENDPOINTS["main"], sign(raw, SECRET, AT).encode(), raw, now=NOW, trace="")
    assert isinstance(arrival, Arrival)
    numbers = count()
    ready = asyncio.Barrier(CONNECTIONS)
    clients = (inserter(db, ready, numbers, store.row(arrival).raw, raw) for _ in range(CONNECTIONS))
    return sum(await asyncio.gather(*clients)) / SECONDS


async def inserter(
    db: Database, ready: asyncio.Barrier, numbers: count[int], raw: bytes, payload: bytes
) -> int:
    connection = await asyncpg.connect(db.owner)
    statement = await connection.prepare(FLOOR)
    await ready.wait()
    ends = time.perf_counter() + SECONDS
    done = 0
    while time.perf_counter() < ends:
        await statement.fetch(f"evt_{next(numbers)}", raw, payload)
        done += 1
    await connection.close()
    return done


if __name__ == "__main__":
    roles: dict[str, Callable[..., Coroutine[None, None, None]]] = {"serve": serve, "load": load}
    uvloop.run(roles[sys.argv[1]](*sys.argv[2:]))
