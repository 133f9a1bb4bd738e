"""What `millrace send` reads, and how it behaves when the door is shut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
import stripe
from aiohttp import web
from aiohttp.test_utils import TestServer

from millrace.clock import FrozenClock
from millrace.errors import Misconfigured
from operations.send import Sender, events_in

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECRET = "whsec_test"


@pytest.mark.parametrize(
    "text",
    [
        b'{"id": "evt_1"}\n{"id": "evt_2"}\n',
        b'\n{"id": "evt_1"}\n\n{"id": "evt_2"}',
        b'[{"id": "evt_1"}, {"id": "evt_2"}]',
        b'{"object": "list", "data": [{"id": "evt_1"}, {"id": "evt_2"}], "has_more": false}',
    ],
)
def test_events_are_read_from_lines_an_array_or_a_list(text: bytes) -> None:
    assert [event_id for _, event_id in events_in(text, "events")] == ["evt_1", "evt_2"]


def test_a_line_is_sent_exactly_as_it_stands() -> None:
    lines = [b'{ "id":"evt_1",  "x": 1.0 }', b'{"id":"evt_2"}']
    assert [body for body, _ in events_in(b"\n".join(lines), "events")] == lines


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            b'{"id": "evt_1"}\nnonsense\n',
            "events:2: is not JSON; expected one event a line, an array or a list",
        ),
        (
            b'{"id": "evt_1"}\n{"object": "event"}\n',
            "events:2: has no 'id'; a Stripe Event object is expected",
        ),
        (b'[{"id": "evt_1"}, 7]', "events: event 2: has no 'id'; a Stripe Event object is expected"),
        (b'"evt_1"', "events:1: has no 'id'; a Stripe Event object is expected"),
    ],
)
def test_a_mistake_in_the_file_names_its_place_and_what_was_expected(text: bytes, sentence: str) -> None:
    with pytest.raises(Misconfigured) as problem:
        events_in(text, "events")
    assert str(problem.value) == sentence


class Door:
    """A real HTTP server that answers what the test says, in order; the last answer stays."""

    def __init__(self, *answers: web.Response | None) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.headers["stripe-signature"], await request.read()))
        following = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if following is None:
            assert request.transport
            request.transport.abort()  # the connection breaks instead of an answer
            return web.Response()
        return web.Response(status=following.status, text=following.text)

    @asynccontextmanager
    async def sender(self, *, give_up_seconds: float = 5) -> AsyncIterator[Sender]:
        application = web.Application()
        application.router.add_post("/hook", self.answer)
        async with TestServer(application) as server, aiohttp.ClientSession() as http:
            clock = FrozenClock(NOW)
            yield Sender(http, str(server.make_url("/hook")), SECRET, clock, give_up_seconds=give_up_seconds)


async def test_every_delivery_is_signed_for_the_clock_in_use() -> None:
    door = Door(web.Response())
    async with door.sender() as sender:
        await sender.send(b'{"id":"evt_1"}', "evt_1")
    assert sender.sent.acknowledged == {"evt_1"}
    [(header, body)] = door.requests
    assert header.startswith(f"t={int(NOW.timestamp())},")
    assert stripe.WebhookSignature.verify_header(body.decode(), header, SECRET)


async def test_503_and_a_broken_connection_are_tried_again_until_acknowledged() -> None:
    async with Door(web.Response(status=503), None, web.Response()).sender() as sender:
        await sender.send(b"{}", "evt_1")
    assert (sender.sent.acknowledged, sender.sent.retries, sender.sent.deliveries) == ({"evt_1"}, 2, 3)


async def test_400_is_final_and_its_reason_is_kept() -> None:
    async with Door(web.Response(status=400, text="no signature matches")).sender() as sender:
        await sender.send(b"{}", "evt_1")
    assert sender.sent.refused == [("evt_1", 400, "no signature matches")]
    assert sender.sent.acknowledged == set()


async def test_a_door_that_stays_shut_is_an_error_and_not_a_silence() -> None:
    async with Door(web.Response(status=503)).sender(give_up_seconds=0.2) as sender:
        with pytest.raises(TimeoutError):
            await sender.send(b"{}", "evt_1")


async def test_many_are_delivered_side_by_side_each_once() -> None:
    door = Door(web.Response())
    ids = [f"evt_{n}" for n in range(100)]
    async with door.sender() as sender:
        await sender.send_all([(b"{}", id_) for id_ in ids], at_once=8)
    assert (sender.sent.acknowledged, len(door.requests)) == (set(ids), 100)
