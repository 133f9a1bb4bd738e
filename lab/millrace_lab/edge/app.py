"""The API over HTTP, as a bare ASGI application: the first API speaks forms, the second JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from millrace_lab.api import Api, Reply, Request
from millrace_lab.edge.forms import nested

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """ASGI over one account."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        reply = self.api.call(_request(scope, await _body(receive)))
        await _answer(send, reply)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _request(scope: Scope, body: bytes) -> Request:
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    params = nested(scope["query_string"].decode())
    if body:
        as_json = headers.get("content-type", "").startswith("application/json")
        params |= orjson.loads(body) if as_json else nested(body.decode())
    return Request(
        method=scope["method"],
        path=scope["path"],
        params=params,
        key=headers.get("authorization", "").removeprefix("Bearer ") or None,
        version=headers.get("stripe-version"),
        idempotency=headers.get("idempotency-key"),
    )


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(reply.body, option=orjson.OPT_INDENT_2)})
