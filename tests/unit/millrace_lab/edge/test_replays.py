"""Idempotency keys: the same request twice is done once."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.api import Api
from millrace_lab.errors import StripeError
from tests.support.double import Double
from tests.unit.millrace_lab.edge.asking import ask, message, with_run

CREATE = "POST /v1/products"


def test_the_second_time_the_first_answer_is_given_and_nothing_is_done() -> None:
    stripe = Double()
    first = ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team")
    again = ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team")
    assert again.body == first.body
    assert stripe.types() == ["product.created"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    assert first.headers["Idempotency-Key"] == "k1"
    assert stripe.told()[0].request == {"id": first.headers["Request-Id"], "idempotency_key": "k1"}


def test_a_key_is_for_one_request_only() -> None:
    stripe = Double()
    ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team")
    other = ask(stripe, "POST", "/v1/products", idempotency="k1", name="Solo")
    elsewhere = ask(stripe, "POST", "/v1/customers", idempotency="k1", name="Team")
    for reply in (other, elsewhere):
        assert (reply.status, reply.body["error"]["type"]) == (400, "idempotency_error")
    assert "same parameters" in message(other)
    assert "same endpoint" in message(elsewhere)


def test_keys_are_forgotten_after_a_day_of_the_account() -> None:
    stripe = Double()
    first = ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team").body["id"]
    stripe.wait("23h")
    assert ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team").body["id"] == first
    stripe.wait("1h")
    assert ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team").body["id"] != first


def test_a_key_has_at_most_255_characters() -> None:
    stripe = Double()
    assert ask(stripe, "POST", "/v1/products", idempotency="k" * 255, name="Team").status == 200
    assert ask(stripe, "POST", "/v1/products", idempotency="k" * 256, name="Team").status == 400


def test_an_answer_of_500_is_replayed_and_the_failed_request_did_nothing() -> None:
    stripe = Double()
    times: list[int] = []

    def fails(step: Any, *_: Any) -> Any:
        times.append(1)
        step.add({"id": "prod_half", "object": "product"})
        raise ZeroDivisionError("secret details")

    with_run(stripe, CREATE, fails)
    for _ in range(2):
        reply = ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team")
        assert reply.status == 500
        assert reply.body["error"]["type"] == "api_error"
        assert "secret" not in str(reply.body)
    assert len(times) == 1
    assert stripe.account.find("prod_half") is None


def test_a_refusal_while_it_was_done_is_replayed_one_before_is_not() -> None:
    stripe = Double()
    assert ask(stripe, "POST", "/v1/products", idempotency="k1").status == 400  # no name: nothing began
    assert ask(stripe, "POST", "/v1/products", idempotency="k1", name="Team").status == 200

    def declines(*_: Any) -> Any:
        raise StripeError(402, "Your card was declined.", type="card_error", code="card_declined")

    with_run(stripe, CREATE, declines)
    assert ask(stripe, "POST", "/v1/products", idempotency="k2", name="Team").status == 402
    stripe = _mended(stripe)
    again = ask(stripe, "POST", "/v1/products", idempotency="k2", name="Team")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (402, "true")


def _mended(stripe: Double) -> Double:
    stripe.api = Api(stripe.account)
    return stripe


DESTINATION: dict[str, Any] = {
    "name": "ours",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["*"],
    "webhook_endpoint": {"url": "https://example.com/hook"},
}
PATH = "/v2/core/event_destinations"


def test_the_second_api_replays_successes_and_does_failures_again() -> None:
    stripe = Double()

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    with_run(stripe, f"POST {PATH}", fails)
    assert ask(stripe, "POST", PATH, idempotency="k1", **DESTINATION).status == 500
    stripe = _mended(stripe)
    first = ask(stripe, "POST", PATH, idempotency="k1", **DESTINATION)
    stripe.wait("29d")
    again = ask(stripe, "POST", PATH, idempotency="k1", **DESTINATION)
    assert (first.status, again.body["id"]) == (200, first.body["id"])
    stripe.wait("1d")
    assert ask(stripe, "POST", PATH, idempotency="k1", **DESTINATION).body["id"] != first.body["id"]


def test_a_long_kept_key_does_not_keep_the_shorter_ones() -> None:
    stripe = Double()
    ask(stripe, "POST", PATH, idempotency="long", **DESTINATION)
    first = ask(stripe, "POST", "/v1/products", idempotency="short", name="Team").body["id"]
    stripe.wait("1d")
    assert ask(stripe, "POST", "/v1/products", idempotency="short", name="Team").body["id"] != first


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_reads_and_deletions_of_the_first_api_have_no_key(method: str) -> None:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team")["id"]
    reply = ask(stripe, method, f"/v1/products/{product}", idempotency="k1")
    assert reply.status == 200
    assert "k1" not in stripe.account.replays
