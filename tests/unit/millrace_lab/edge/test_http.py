"""The API over HTTP: what a client may send, and what happens to everything else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import MutableMapping
from typing import Any

import orjson
import pytest

from millrace_lab.edge.app import LARGEST, App
from millrace_lab.edge.forms import nested
from millrace_lab.errors import StripeError
from tests.support.double import Double

KEY = {"authorization": "Bearer sk_test_lab"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


def send(
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    stripe: Double | None = None,
    chunks: int = 1,
) -> tuple[int, Any, dict[str, str]]:
    """One request through the application, as a server hands it over."""
    path, _, query = target.partition("?")
    given = {**KEY, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }
    size = -(-len(body) // chunks) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    incoming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    incoming[-1]["more_body"] = False
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def answer(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(App((stripe or Double()).api)(scope, receive, answer))
    names = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return sent[0]["status"], orjson.loads(sent[1]["body"]), names


def test_a_form_is_read_and_the_answer_has_stripes_headers() -> None:
    status, body, headers = send("POST", "/v1/products", b"name=Team&metadata[tier]=2&active=false", FORM)
    assert (status, body["name"], body["metadata"], body["active"]) == (200, "Team", {"tier": "2"}, False)
    assert headers["content-type"] == "application/json"
    assert headers["request-id"].startswith("req_")
    assert headers["stripe-version"] == "2026-10-28.endive"


def test_the_header_stripe_account_asks_for_a_connected_account() -> None:
    stripe = Double()
    id_ = stripe.post("/v1/accounts", type="express", country="FR")["id"]
    for own in (stripe.account.id, id_):
        status, body, headers = send("GET", "/v1/account", headers={"stripe-account": own}, stripe=stripe)
        assert (status, body["id"], headers.get("stripe-account", stripe.account.id)) == (200, own, own)


def test_a_body_may_come_in_pieces() -> None:
    assert send("POST", "/v1/products", b"name=Team&description=long", FORM, chunks=7)[1]["name"] == "Team"


def test_the_key_is_a_bearer_token_or_the_user_of_basic_authentication() -> None:
    basic = base64.b64encode(b"sk_test_lab:").decode()
    for given in ("Bearer sk_test_lab", "bearer sk_test_lab", f"Basic {basic}"):
        assert send("GET", "/v1/products", headers={"authorization": given})[0] == 200
    for given in ("", "Bearer", "Basic !!!", "Basic /w==", "Digest sk_test_lab", "sk_test_lab"):
        status, body, _ = send("GET", "/v1/products", headers={"authorization": given})
        assert (status, body["error"]["type"]) == (401, "invalid_request_error")


FORMS: tuple[tuple[str, Any], ...] = (
    ("a=1&b=", {"a": "1", "b": ""}),
    ("items[0][price]=p&items[0][quantity]=2", {"items": [{"price": "p", "quantity": "2"}]}),
    ("items[1][price]=q&items[0][price]=p", {"items": [{"price": "p"}, {"price": "q"}]}),
    ("expand[]=a&expand[]=b.c", {"expand": ["a", "b.c"]}),
    ("metadata[2]=x&metadata[a]=y", {"metadata": {"2": "x", "a": "y"}}),
    ("created[gte]=5", {"created": {"gte": "5"}}),
    ("name=caf%C3%A9+au+lait", {"name": "café au lait"}),
    ("", {}),
)


@pytest.mark.parametrize(("text", "read"), FORMS)
def test_brackets_nest(text: str, read: Any) -> None:
    assert nested(text) == read


DEEP = "a" + "[b]" * 20
ODD = ("a[b=1", "a]=1", "[a]=1", "=1", "a[b]c=1", "a=1&a[b]=2", "a[b]=2&a=1", "a[b]=1&a[b][c]=2", f"{DEEP}=1",
       "a=%FF", "&".join(f"a{n}=1" for n in range(2001)))  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=[text[:16] for text in ODD])
def test_odd_parameters_are_refused(text: str) -> None:
    with pytest.raises(StripeError) as refused:
        nested(text)
    assert refused.value.status == 400


HOSTILE: tuple[tuple[str, str, bytes, dict[str, str], int], ...] = (
    # method, target, body, headers, status
    ("POST", "/v1/products", b"\xff\xfe=1", FORM, 400),
    ("POST", "/v1/products", b"name=%FF", FORM, 400),
    ("GET", "/v1/products?limit=%FF", b"", {}, 400),
    ("POST", "/v1/products", b'{"name":"Team"}', JSON, 400),
    ("POST", "/v1/products", b"name=Team", {"content-type": "multipart/form-data; boundary=x"}, 400),
    ("POST", "/v1/products", b"name=" + b"x" * LARGEST, FORM, 413),
    ("POST", "/v1/products", b"name=" + b"x" * 6000, FORM, 400),
    ("POST", "/v1/products", b"name=Team&metadata[a][b]=1", FORM, 400),
    ("POST", "/v1/products", b"name[0]=Team", FORM, 400),
    ("GET", "/v1/products/%00", b"", {}, 404),
    ("GET", "/v1/products/../../etc/passwd", b"", {}, 501),
    ("GET", "/v1/products/" + "x" * 5000, b"", {}, 404),
    ("GET", "/v1//products", b"", {}, 501),
    ("GET", "/v1/", b"", {}, 501),
    ("GET", "/elsewhere", b"", {}, 404),
    ("OPTIONS", "/v1/products", b"", {}, 404),
    ("PATCH", "/v1/products", b"name=x", FORM, 404),
    ("GET", "/v1/products", b"", {"stripe-version": "\xff"}, 400),
    ("POST", "/v1/products", b"name=x", {**FORM, "idempotency-key": "\xe9" * 300}, 400),
    ("POST", "/v2/core/event_destinations", b"{", JSON, 400),
    ("POST", "/v2/core/event_destinations", b"[]", JSON, 400),
    ("POST", "/v2/core/event_destinations", b'"x"', JSON, 400),
    ("POST", "/v2/core/event_destinations", b'{"a":' * 500 + b"1" + b"}" * 500, JSON, 400),
    ("POST", "/v2/core/event_destinations", b"[" * 100_000, JSON, 400),
    ("POST", "/v2/core/event_destinations", b'{"name": "\\ud800"}', JSON, 400),
    ("POST", "/v2/core/event_destinations", b'{"name": 1e400}', JSON, 400),
    ("POST", "/v2/core/event_destinations", b"name=x", FORM, 400),
    ("GET", "/v2/core/events?limit=9999999999999999999999", b"", {}, 400),
)


@pytest.mark.parametrize(("method", "target", "body", "headers", "status"), HOSTILE)
def test_whatever_arrives_is_answered_with_an_error_of_its_kind(
    method: str, target: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    stripe = Double()
    answered, error, _ = send(method, target, body, headers, stripe)
    assert (answered, set(error)) == (status, {"error"})
    assert error["error"]["message"]
    assert stripe.told() == []


def test_a_request_that_breaks_off_does_nothing() -> None:
    stripe = Double()
    scope = {"type": "http", "method": "POST", "path": "/v1/products", "query_string": b"",
             "headers": [(b"authorization", b"Bearer sk_test_lab")]}  # fmt: skip
    incoming: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"name=Te", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def answer(_: MutableMapping[str, Any]) -> None:
        return None

    asyncio.run(App(stripe.api)(scope, receive, answer))
    assert stripe.told() == []
