"""The API over HTTP, as a bare ASGI application: the first API speaks forms, the second JSON.

Whatever arrives is answered with Stripe's kind of error: odd bytes, headers and methods are a 4xx.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from millrace_lab.api import Api, Reply, Request
from millrace_lab.edge.forms import DEEPEST, nested
from millrace_lab.errors import StripeError, invalid

LARGEST = 1 << 20  # bytes of a body; Stripe's own limit is not published
FORM = "application/x-www-form-urlencoded"
NOT_A_FORM = (
    f"Invalid request (check that your POST content type is {FORM}). If you have any questions, we can help at "
    "https://support.stripe.com/."
)


class App:
    """ASGI over one account."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _answer(send, await self._reply(scope, receive))

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            request = _request(scope, await _body(receive))
        except StripeError as error:
            return Reply(error.status, error.body(), error.headers)
        return self.api.call(request)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes:
    """The whole body; of one that is too large the rest is read and thrown away."""
    parts, length = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise invalid("The request ended before its body did.")
        part = message.get("body", b"")
        length += len(part)
        if length <= LARGEST:
            parts.append(part)
        if not message.get("more_body"):
            break
    if length > LARGEST:
        raise StripeError(413, f"The request is too large: at most {LARGEST} bytes are read.")
    return b"".join(parts)


def _request(scope: Scope, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    second = scope["path"].startswith("/v2/")
    params = nested(_text(scope["query_string"]))
    if body:
        params |= _json(body) if second else _form(body, headers)
    return Request(
        method=scope["method"],
        path=scope["path"],
        params=params,
        key=key_of(headers.get("authorization", "")),
        version=headers.get("stripe-version"),
        idempotency=headers.get("idempotency-key"),
        at=time.monotonic(),
        account=headers.get("stripe-account"),
    )


def key_of(authorization: str) -> str | None:
    """The API key: as a bearer token, or as the user of basic authentication."""
    kind, _, rest = authorization.strip().partition(" ")
    if kind.lower() == "bearer":
        return rest.strip() or None
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _form(body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    if headers.get("content-type", FORM).partition(";")[0].strip().lower() != FORM:
        raise invalid(NOT_A_FORM)
    return nested(_text(body))


def _json(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise invalid("Invalid JSON in the body of the request.") from None
    if not isinstance(read, dict) or not _shallow(read, DEEPEST):
        raise invalid("The body of the request must be a JSON object that is not nested too deeply.")
    return read


def _shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not inner or (levels > 0 and all(_shallow(each, levels - 1) for each in inner))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise invalid("Invalid UTF-8 in the parameters of the request.") from None


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in reply.headers.items()
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(reply.body, option=orjson.OPT_INDENT_2)})
