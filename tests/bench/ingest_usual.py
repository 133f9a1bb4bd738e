"""The webhook handler that most teams write with the same libraries: a transaction for each request.

python -m tests.bench.ingest_usual DSN   makes its tables, listens, and says on which port

It checks the signature, reads the JSON and commits a row and an outbox row of the bytes that ours would keep
without sealing. It refuses nothing else and counts nothing: what it leaves out is in its favour.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time

import asyncpg
import orjson
import uvicorn
import uvloop
import zstandard
from starlette.types import Receive, Scope, Send

from ingest.domain import signature
from millrace.events.stripe import customer_of
from tests.bench.ingest_body import SECRET

CONNECTIONS = 32  # fewer than 16 are slower; from there to 64 it makes no difference
TABLES = """
create table event (
    id text primary key, type text not null, created timestamptz not null, object_id text, customer text,
    received_at timestamptz not null default now(), raw bytea not null, signature text not null
);
create table published (
    id bigint generated always as identity primary key, key text not null, headers jsonb not null,
    payload bytea not null
);
alter table event alter raw set storage external;
alter table published alter payload set storage external;
"""
EVENT = """
insert into event (id, type, created, object_id, customer, raw, signature)
values ($1, $2, to_timestamp($3), $4, $5, $6, $7) on conflict do nothing
"""
OUTBOX = "insert into published (key, headers, payload) values ($1, $2::text::jsonb, $3)"


class Usual:
    """The ASGI application."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool
        self.compress = zstandard.ZstdCompressor(level=1).compress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw, signed = await self.body(receive), dict(scope["headers"]).get(b"stripe-signature")
        if refused := self.refusal(signed, raw):
            await self.answer(send, 400, {"error": refused})
            return
        await self.store(raw, (signed or b"").decode())
        await self.answer(send, 200, {"received": True})

    async def body(self, receive: Receive) -> bytes:
        raw, more = b"", True
        while more:
            message = await receive()
            raw += message.get("body", b"")
            more = message.get("more_body", False)
        return raw

    def refusal(self, signed: bytes | None, raw: bytes) -> str:
        stamp, _, given = (signed or b"").removeprefix(b"t=").partition(b",v1=")
        at = int(stamp or 0)
        good = signature.sign(raw, SECRET, at).encode().partition(b",v1=")[2]
        return "" if given == good and abs(time.time() - at) < 300 else "signature"

    async def store(self, raw: bytes, signed: str) -> None:
        event = orjson.loads(raw)
        obj = event["data"]["object"]
        customer = customer_of(obj)
        row = (
            event["id"],
            event["type"],
            event["created"],
            obj.get("id"),
            customer,
            self.compress(raw),
            signed,
        )
        headers = orjson.dumps({"ce_id": event["id"], "ce_type": event["type"]}).decode()
        async with self.pool.acquire() as connection, connection.transaction():
            if await connection.execute(EVENT, *row) != "INSERT 0 0":
                await connection.execute(OUTBOX, customer, headers, raw)

    async def answer(self, send: Send, status: int, words: dict[str, object]) -> None:
        body = orjson.dumps(words)
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


async def main(dsn: str) -> None:
    async with asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(TABLES)
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
            print(json.dumps({"message": "listening", "port": listening.getsockname()[1]}), flush=True)  # noqa: T201
            config = uvicorn.Config(
                Usual(pool), http="httptools", lifespan="off", log_config=None, access_log=False
            )
            await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main(sys.argv[1]))
