"""What a running stripe-mock refuses is refused here, and what is asked here is accepted there.

The bad requests are made from Stripe's description: to each operation, each of its parameters in turn with a
value of the wrong kind, one that nobody knows, and the required ones left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millrace_lab.api import Reply
from millrace_lab.api.refusals import read
from millrace_lab.composition import OPERATIONS
from millrace_lab.errors import StripeError
from millrace_lab.operations import Operation
from tests.support.double import Double
from tests.support.stripe_mock import StripeMock, running
from tests.support.stripe_spec import operation, operations, route_shape
from tests.unit.millrace_lab.edge.shop import whole_story

Body = dict[str, Any]
DESCRIBED = [each for each in OPERATIONS if (each.method, route_shape(each.path)) in operations()]

# What an operation needs in fact although its description does not say so.
NEEDED: dict[str, Body] = {
    "POST /v1/accounts": {"type": "express"},  # where Stripe makes an account without a type, we have none
    "POST /v1/checkout/sessions": {"mode": "payment"},
    "POST /v1/payment_methods": {"type": "card"},
    "POST /v1/subscriptions": {"customer": "cus_1", "items": [{"price": "price_1"}]},
    "POST /v1/subscription_items": {"price": "price_1"},
    "POST /v1/billing_portal/sessions": {"customer": "cus_1"},
    "POST /v1/promotion_codes": {"promotion": {"type": "coupon", "coupon": "c"}},
    "POST /v1/billing/credit_grants": {
        "customer": "cus_1",
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": "100"}},
    },
    "GET /v1/billing/credit_balance_summary": {"customer": "cus_1"},
    "GET /v1/billing/credit_balance_transactions": {"customer": "cus_1"},
}


@pytest.fixture(scope="module")
def mock() -> Iterator[StripeMock]:
    with running() as found:
        yield found


def test_what_the_mock_refuses_is_refused_here_by_the_same_name(mock: StripeMock) -> None:
    taken, asked = [], 0
    for each in DESCRIBED:
        described = _described(each)
        least = {name: _good(name, by) for name, by in described.items() if name in _required(each)}
        least |= NEEDED.get(each.route, {})
        for name, value in _bad(each, described):
            given = {key: inner for key, inner in {**least, name: value}.items() if inner is not None}
            if mock.call(each.method, _path(each), given)[0] == 400:
                asked += 1
                if not _refused(each, given, name):
                    taken.append((each.route, name, value))
    assert taken == []
    assert asked > 1000


def _path(each: Operation) -> str:
    return "/".join("x_1" if part.startswith("{") else part for part in each.path.split("/"))


def _refused(each: Operation, given: Body, name: str) -> bool:
    """Whether our reading of the parameters stops at this one. A parameter that is absent answers 501."""
    try:
        read(each, given)
    except StripeError as refusal:
        return refusal.status == 501 or (refusal.param or "").split("[")[0] == name
    return False


def _described(each: Operation) -> dict[str, Body]:
    found = operation(each.method, each.path)
    query = {p["name"]: p["schema"] for p in found.get("parameters", ()) if p["in"] == "query"}
    form: dict[str, Body] = _form(each).get("properties", {})
    return query | form


def _form(each: Operation) -> Body:
    content = operation(each.method, each.path).get("requestBody", {}).get("content", {})
    schema: Body = content.get("application/x-www-form-urlencoded", {}).get("schema", {})
    return schema


def _required(each: Operation) -> set[str]:
    found = operation(each.method, each.path)
    query = {p["name"] for p in found.get("parameters", ()) if p["in"] == "query" and p.get("required")}
    return query | set(_form(each).get("required", ()))


def _bad(each: Operation, described: dict[str, Body]) -> Iterator[tuple[str, Any]]:
    """(parameter, a value that its description does not allow); None leaves it out."""
    yield "no_such_parameter", "1"
    for name in _required(each):
        yield name, None
    for name, by in described.items():
        if name == "expand":
            continue
        for value in _wrong(by):
            yield name, value


def _wrong(by: Body) -> Iterator[Any]:
    kinds = {choice.get("type") for choice in by.get("anyOf", [by])}
    if kinds == {"integer"}:
        yield from ("abc", "1.5")
    if kinds == {"boolean"}:
        yield "perhaps"
    if "enum" in by and not by.get("x-stripeBypassValidation"):
        yield "no_such_choice"
    if kinds <= {"object", "array"}:
        yield "text"
    if kinds == {"string"}:
        yield {"a": "1"}
    if kinds == {"object"} and "properties" in by:
        yield {"no_such_parameter": "1"}


def _good(name: str, by: Body) -> Any:
    """The least value that a description allows."""
    if name == "currency":
        return "usd"
    choice = by["anyOf"][0] if "anyOf" in by else by
    if "enum" in choice:
        return next(value for value in choice["enum"] if value)
    match choice.get("type"):
        case "integer":
            return "1"
        case "number":
            return "1.5"
        case "boolean":
            return "true"
        case "array":
            return [_good(name, choice["items"])]
        case "object":
            inner = choice.get("properties", {})
            return {key: _good(key, inner[key]) for key in choice.get("required", ())}
    return "x"


# What is asked here is accepted there.


class Witnessed(Double):
    """A double whose every accepted request is put to the mock as well."""

    def __init__(self, mock: StripeMock) -> None:
        super().__init__()
        self.mock, self.seen = mock, 0

    def call(self, method: str, path: str, **params: Any) -> Reply:
        reply = super().call(method, path, **params)
        if reply.status < 400 and path.startswith("/v1/"):
            status, message = self.mock.call(method, path, params)
            assert status == 200, f"{method} {path} {params}: the mock says {status} {message}"
            self.seen += 1
        return reply


def test_what_a_shop_asks_is_what_stripe_takes(mock: StripeMock) -> None:
    stripe = Witnessed(mock)
    whole_story(stripe)
    assert stripe.seen > 40
