"""What is turned away: how it is answered, that nothing of it is kept, and that its neighbour is served.

Each case is a request over real HTTP; after each, an honest event goes through the same door.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.domain.signature import sign
from tests.integration.ingest.edge import AT, OLD_SECRET, SECRET, Edge, body_of, event

BODY = body_of("evt_bad")

MALFORMED = "Stripe-Signature header is malformed"
WRONG = "no signature matches the body, the time and this endpoint's secrets"
NOT_JSON = "body is not JSON"
TOO_DEEP = "body is nested too deeply"
DUPLICATE_KEY = "body has a key twice in one object"


@dataclass(frozen=True)
class Bad:
    """A request, and the answer it must get."""

    status: int
    reason: str
    raw: bytes = BODY
    method: str = "POST"
    path: str = "/webhooks/stripe/main"
    signature: bytes | None = b"good"  # signs the body as Stripe would
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, client: httpx.AsyncClient) -> httpx.Request:
        signature = sign(self.raw, SECRET, AT).encode() if self.signature == b"good" else self.signature
        given = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        if signature is not None:
            given.append((b"stripe-signature", signature))
        return client.build_request(self.method, self.path, content=self.raw, headers=given)


def says(**changes: object) -> bytes:
    return body_of("evt_bad", **changes)


def by(secret: bytes, at: int = AT, raw: bytes = BODY) -> bytes:
    return sign(raw, secret, at).encode()


DEEP = b'{"id":"evt_bad","object":"event","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
TWICE = BODY.replace(b'"type":', b'"livemode":false,"type":')

BAD = {
    # who sent it
    "missing signature": Bad(400, "Stripe-Signature header is missing", signature=None),
    "empty signature": Bad(400, MALFORMED, signature=b""),
    "signature of nothing": Bad(400, MALFORMED, signature=b"t=1,v0=abc"),
    "signature without a time": Bad(400, MALFORMED, signature=b"v1=" + b"0" * 64),
    "two times": Bad(400, MALFORMED, signature=b"t=1," + by(SECRET)),
    "time that is none": Bad(400, MALFORMED, signature=b"t=1e9,v1=" + b"0" * 64),
    "a hundred signatures": Bad(
        400, MALFORMED, signature=by(SECRET) + b",v1=00" * 99
    ),
    "non-ASCII header": Bad(
        400, MALFORMED, signature=by(SECRET) + ",v1=é".encode()
    ),
    "wrong signature": Bad(
        400, WRONG, signature=by(SECRET)[:-4] + b"0000"
    ),
    "wrong secret": Bad(
        400, WRONG, signature=by(b"whsec_x")
    ),
    "another endpoint's secret": Bad(
        400, WRONG, path="/webhooks/stripe/live"
    ),
    "body changed on the way": Bad(
        400, WRONG, signature=by(SECRET, raw=BODY + b" ")
    ),
    "expired signature": Bad(400, WRONG, signature=by(SECRET, AT - 301)),
    "future signature": Bad(400, WRONG, signature=by(SECRET, AT + 301)),
    # what it says
    "empty body": Bad(400, "body is empty", raw=b""),
    "non-UTF-8 body": Bad(400, "body is not UTF-8", raw=BODY.replace(b"in_1", b"in_\xff")),
    "not JSON": Bad(400, NOT_JSON, raw=b"{'id': 1}"),
    "cut JSON": Bad(400, NOT_JSON, raw=BODY[:-5]),
    "NaN": Bad(400, NOT_JSON, raw=BODY.replace(b"2900", b"NaN")),
    "Infinity": Bad(400, NOT_JSON, raw=BODY.replace(b"2900", b"-Infinity")),
    "byte-order mark": Bad(400, NOT_JSON, raw=b"\xef\xbb\xbf" + BODY),
    "array body": Bad(400, "body is not a JSON object", raw=b"[" + BODY + b"]"),
    "duplicate keys": Bad(400, DUPLICATE_KEY, raw=TWICE),
    "duplicate keys, one escaped": Bad(
        400, DUPLICATE_KEY, raw=TWICE.replace(b'"livemode":false,"t', b'"\\u006civemode":false,"t')
    ),
    "nesting 10,000 deep": Bad(400, TOO_DEEP, raw=DEEP),
    "nesting 300 deep": Bad(400, TOO_DEEP, raw=says(a=1).replace(b':1}', b":" + b"[" * 300 + b"]" * 300 + b"}")),
    # whether it is ours
    "not an event": Bad(400, "object is neither 'event' nor 'v2.core.event'", raw=says(object="invoice")),
    "no id": Bad(400, "id is missing or not an id", raw=says().replace(b'"evt_bad"', b"null")),
    "id with NUL": Bad(400, "id is missing or not an id", raw=body_of("evt\0bad")),
    "endless id": Bad(400, "id is missing or not an id", raw=body_of("e" * 256)),
    "no type": Bad(400, "type is missing or not a type", raw=says(type=None)),
    "no created": Bad(400, "created is missing or not a time", raw=says(created=None)),
    "created beyond the calendar": Bad(400, "created is missing or not a time", raw=says(created=2**62)),
    "created true": Bad(400, "created is missing or not a time", raw=says(created=True)),
    "no data.object": Bad(400, "data.object is missing or not an object", raw=says(data={})),
    "wrong livemode": Bad(400, "livemode is missing or not this endpoint's", raw=says(livemode=True)),
    "livemode 0": Bad(400, "livemode is missing or not this endpoint's", raw=says(livemode=0)),
    "another account": Bad(400, "account is not this endpoint's", raw=says(account="acct_other")),
    # how and where it came
    "unknown endpoint": Bad(404, "no such endpoint", path="/webhooks/stripe/nobody"),
    "slash at the end": Bad(404, "no such endpoint", path="/webhooks/stripe/main/"),
    "another path": Bad(404, "no such endpoint", path="/"),
    "GET": Bad(405, "only POST", method="GET", raw=b""),
    "PUT": Bad(405, "only POST", method="PUT"),
    "gzip": Bad(415, "Content-Encoding is not accepted", headers={"content-encoding": "gzip"}),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_it_is_refused_by_name_and_its_neighbour_is_served(edge: Edge, bad: Bad) -> None:
    answer = await edge.client.send(bad.request(edge.client))
    assert (answer.status_code, answer.json()) == (bad.status, {"error": bad.reason})
    assert (await edge.post(body_of("evt_good"))).status_code == 200
    assert await edge.stored() == ["evt_good"] == await edge.published()


async def test_a_signature_at_the_edge_of_the_tolerance_is_good(edge: Edge) -> None:
    for id, at in (("evt_late", AT - 300), ("evt_early", AT + 300)):
        assert (await edge.post(body_of(id), at=at)).status_code == 200


async def test_while_a_secret_is_rolled_both_open_the_door(edge: Edge) -> None:
    raw = body_of("evt_1")
    both = f"{sign(raw, b'whsec_retired', AT)},{sign(raw, OLD_SECRET, AT).split(',')[1]}"
    assert (await edge.post(raw, signature=both)).status_code == 200
    assert (await edge.post(body_of("evt_2"), secret=SECRET)).status_code == 200
    assert await edge.stored() == ["evt_1", "evt_2"]


async def test_refusals_are_told_on_405_and_never_quote_the_body(edge: Edge) -> None:
    answer = await edge.client.get("/webhooks/stripe/main")
    assert answer.headers["allow"] == "POST"
    answer = await edge.post(body_of("evt_1", type=["secret-in-body"]))
    assert "secret-in-body" not in answer.text


async def test_nobody_unsigned_reaches_the_parser(edge: Edge) -> None:
    """The signature is judged first: of an unsigned body that is also broken, only the signature is said."""
    for raw in (b"", b"\xff", DEEP, TWICE, b"[]"):
        answer = await edge.post(raw, secret=b"whsec_stranger")
        assert answer.json() == {"error": WRONG}


async def raw_answer(edge: Edge, head: str, body: AsyncIterator[bytes]) -> bytes:
    """What a hand-made request is answered, up to the end of its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    try:
        writer.write(head.encode())
        async for piece in body:
            writer.write(piece)
            await writer.drain()
        return await asyncio.wait_for(reader.readuntil(b"}"), 10)
    finally:
        writer.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


POST = f"POST /webhooks/stripe/main HTTP/1.1\r\nhost: edge\r\nstripe-signature: t={AT},v1=00\r\n"


async def test_a_declared_oversize_is_refused_before_its_body_is_read(edge: Edge) -> None:
    answer = await raw_answer(edge, POST + f"content-length: {2**20 + 1}\r\n\r\n", pieces())
    assert answer.startswith(b"HTTP/1.1 413") and b'{"error":"body is too large"}' in answer


async def test_a_chunked_oversize_is_refused_at_the_limit(edge: Edge) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = await raw_answer(
        edge, POST + "transfer-encoding: chunked\r\n\r\n", pieces(*[chunk] * 16, b"1\r\nx\r\n")
    )
    assert answer.startswith(b"HTTP/1.1 413")
    assert (await edge.post(body_of("evt_good"))).status_code == 200
    assert await edge.stored() == ["evt_good"]


async def test_a_body_of_just_the_limit_is_stored(edge: Edge) -> None:
    whole = event("evt_large", padding="")
    whole["padding"] = "x" * (2**20 - len(orjson.dumps(whole)))
    assert (await edge.post(orjson.dumps(whole))).status_code == 200
    whole["padding"] += "x"
    assert (await edge.post(orjson.dumps(whole))).status_code == 413
    assert await edge.stored() == ["evt_large"]


HEADER = re.compile(rb"[!-~\x80-\xff]([ -~\x80-\xff]*[!-~\x80-\xff])?")
KEYS = st.sampled_from([*sorted(event()), "account"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    st.lists,
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    raw=st.binary(max_size=300)
    | st.dictionaries(KEYS, VALUES).map(lambda odd: orjson.dumps({**event("evt_odd"), **odd}))
)
async def test_no_signed_bytes_whatever_are_answered_5xx_or_3xx(edge: Edge, raw: bytes) -> None:
    assert (await edge.post(raw)).status_code in (200, 400)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(signature=st.binary(max_size=200).filter(HEADER.fullmatch))
async def test_no_signature_whatever_is_answered_anything_but_400(edge: Edge, signature: bytes) -> None:
    assert (await edge.post(BODY, signature=signature)).status_code == 400
