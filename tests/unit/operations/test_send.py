"""What `millrace send` reads, and how it behaves when the door is shut."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest
import stripe

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
        (b'"evt_1"', "events: holds neither events nor a list of them"),
    ],
)
def test_a_mistake_in_the_file_names_its_place_and_what_was_expected(text: bytes, sentence: str) -> None:
    with pytest.raises(Misconfigured) as problem:
        events_in(text, "events")
    assert str(problem.value) == sentence


def sender(answer: Callable[[httpx.Request], httpx.Response]) -> Sender:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Sender(http, "http://localhost/hook", SECRET, FrozenClock(NOW), give_up_seconds=5)


async def test_every_attempt_is_signed_for_the_clock_in_use() -> None:
    def check(request: httpx.Request) -> httpx.Response:
        header = request.headers["stripe-signature"]
        assert header.startswith(f"t={int(NOW.timestamp())},")
        stripe.WebhookSignature.verify_header(request.content.decode(), header, SECRET)
        return httpx.Response(200)

    made = sender(check)
    await made.send(b'{"id":"evt_1"}', "evt_1")
    assert made.sent.acknowledged == {"evt_1"}
    await made.http.aclose()


async def test_503_and_a_broken_connection_are_tried_again_until_acknowledged() -> None:
    answers: list[httpx.Response | Exception] = [
        httpx.Response(503),
        httpx.ConnectError("refused"),
        httpx.Response(200),
    ]

    def answer(_: httpx.Request) -> httpx.Response:
        following = answers.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    made = sender(answer)
    await made.send(b"{}", "evt_1")
    assert (made.sent.acknowledged, made.sent.retries, made.sent.deliveries) == ({"evt_1"}, 2, 3)
    await made.http.aclose()


async def test_400_is_final_and_its_reason_is_kept() -> None:
    made = sender(lambda _: httpx.Response(400, text='{"error": "no signature matches"}'))
    await made.send(b"{}", "evt_1")
    assert made.sent.refused == [("evt_1", 400, '{"error": "no signature matches"}')]
    assert made.sent.acknowledged == set()
    await made.http.aclose()


async def test_a_door_that_stays_shut_is_an_error_and_not_a_silence() -> None:
    made = sender(lambda _: httpx.Response(503))
    made.give_up_seconds = 0.2
    with pytest.raises(TimeoutError):
        await made.send(b"{}", "evt_1")
    await made.http.aclose()
