"""Thousands of odd but well-formed requests on a living shop: whatever is asked, the answer is never a 500.

The requests are made from Stripe's description with ids of the shop's own, right and wrong ones, and from a
seed: the same every time.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from millrace_lab.api import Request
from millrace_lab.composition import OPERATIONS
from millrace_lab.operations import Operation
from tests.support.double import Double
from tests.support.stripe_spec import operation, operations, route_shape
from tests.unit.millrace_lab.edge.shop import whole_story

Body = dict[str, Any]
DESCRIBED = [each for each in OPERATIONS if (each.method, route_shape(each.path)) in operations()]
REQUESTS = 2500
TEXTS = ("x", "", "12", "1.5", "-7", "usd", "ada@example.com", "DE", "pm_card_visa", "tok_visa")
NUMBERS = (0, 1, 2, 7, 100, 1000, -1, -500, 99_999_999)
LATER = (-86_400, 0, 1, 3_600, 864_000, 34_560_000)


class Stranger:
    """Someone who reads Stripe's description and asks at random."""

    def __init__(self, seed: int, stripe: Double) -> None:
        self.luck, self.stripe = random.Random(seed), stripe

    def request(self) -> Request:
        each = self.luck.choice(DESCRIBED)
        described = _described(each)
        given = {
            name: self.value(by, 0)
            for name, by in described.items()
            if name != "expand" and name not in each.absent and self.luck.random() < 0.35
        }
        path = "/".join(self.id() if part.startswith("{") else part for part in each.path.split("/"))
        version = self.luck.choice([None, "2024-06-20"])
        return Request(each.method, path, given, "sk_test_lab", version)

    def id(self) -> str:
        return self.luck.choice(list(self.stripe.account.objects))

    def value(self, by: Body, depth: int) -> Any:
        choice = self.luck.choice(by["anyOf"]) if "anyOf" in by else by
        if "enum" in choice:
            return self.luck.choice(choice["enum"])
        match choice.get("type"):
            case "integer" | "number":
                return self.luck.choice(NUMBERS) if self.luck.random() < 0.6 else self._time()
            case "boolean":
                return self.luck.choice(["true", "false"])
            case "array":
                return [self.value(choice["items"], depth + 1) for _ in range(self.luck.randrange(3))]
            case "object" if depth < 4:
                parts = choice.get("properties", {})
                return {
                    name: self.value(part, depth + 1)
                    for name, part in parts.items()
                    if self.luck.random() < 0.4
                }
        return self.id() if self.luck.random() < 0.7 else self.luck.choice(TEXTS)

    def _time(self) -> int:
        return self.stripe.now + self.luck.choice(LATER)


def _described(each: Operation) -> dict[str, Body]:
    found = operation(each.method, each.path)
    query = {p["name"]: p["schema"] for p in found.get("parameters", ()) if p["in"] == "query"}
    content = found.get("requestBody", {}).get("content", {})
    form: dict[str, Body] = (
        content.get("application/x-www-form-urlencoded", {}).get("schema", {}).get("properties", {})
    )
    return query | form


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_is_asked_is_answered(seed: int) -> None:
    stripe = Double()
    whole_story(stripe)
    stranger = Stranger(seed, stripe)
    statuses: dict[int, int] = {}
    for number in range(REQUESTS):
        request = stranger.request()
        status = stripe.api.call(request).status
        assert status != 500, f"{request.method} {request.path} {request.params}"
        statuses[status] = statuses.get(status, 0) + 1
        if number % 100 == 0:
            stripe.wait("5d")
    assert statuses[200] > REQUESTS / 20
