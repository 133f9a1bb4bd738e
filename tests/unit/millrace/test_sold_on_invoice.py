"""What is sold on an invoice, in every shape that its lines have had."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.events.stripe import sold_on_invoice

PRICE = {"id": "price_1", "object": "price", "lookup_key": "team_monthly", "product": "prod_1"}
PLAN = {"id": "plan_1", "object": "plan", "product": "prod_1"}

SHAPES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "since basil": (
        {"pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}},
        {"price_1", "prod_1"},
    ),
    "expanded": (
        {"pricing": {"price_details": {"price": PRICE, "product": "prod_1"}}},
        {"price_1", "team_monthly", "prod_1"},
    ),
    "before basil": ({"price": PRICE}, {"price_1", "team_monthly", "prod_1"}),
    "in the age of plans": ({"plan": PLAN}, {"plan_1", "prod_1"}),
    "a line of text": ({"pricing": None}, set()),
}


@pytest.mark.parametrize(("line", "sold"), SHAPES.values(), ids=SHAPES)
def test_prices_lookup_keys_and_products_are_found_in_every_shape(
    line: dict[str, Any], sold: set[str]
) -> None:
    assert sold_on_invoice({"lines": {"data": [line], "has_more": True}}) == sold


def test_an_invoice_without_lines_sells_nothing() -> None:
    assert sold_on_invoice({}) == frozenset()
