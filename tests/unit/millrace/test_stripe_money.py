"""Fields about money, found wherever an API version put them."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.errors import Poison
from millrace.events import stripe


@pytest.mark.parametrize(
    ("obj", "taxes"),
    [
        ({"total_taxes": [{"amount": 190, "tax_behavior": "exclusive"}]}, [(190, False)]),
        ({"taxes": [{"amount": 160, "tax_behavior": "inclusive"}]}, [(160, True)]),
        ({"total_tax_amounts": [{"amount": 190, "inclusive": False}]}, [(190, False)]),
        ({"tax_amounts": [{"amount": 1, "inclusive": True}, {"amount": 2}]}, [(1, True), (2, False)]),
        ({"tax": 190}, [(190, False)]),
        ({"tax": None}, []),
        ({}, []),
        ({"total_taxes": [], "tax": 190}, []),
    ],
)  # fmt: skip
def test_taxes_are_found_in_every_shape(obj: dict[str, Any], taxes: list[tuple[int, bool]]) -> None:
    assert stripe.taxes_of(obj) == taxes


def test_a_tax_without_an_amount_is_named() -> None:
    with pytest.raises(Poison, match="amount is missing"):
        stripe.taxes_of({"total_taxes": [{"amount": None}]})


@pytest.mark.parametrize(
    ("obj", "seconds"),
    [
        ({"status_transitions": {"voided_at": 5}, "voided_at": 6}, 5),
        ({"status_transitions": {"voided_at": None}, "voided_at": 6}, 6),
        ({"voided_at": 6}, 6),
        ({"voided_at": "soon"}, None),
        ({}, None),
    ],
)
def test_a_transition_is_found_wherever_it_stands(obj: dict[str, Any], seconds: int | None) -> None:
    assert stripe.transition(obj, "voided_at") == seconds


def test_discounts_are_added_up_and_prepaid_credits_do_not_count_them_again() -> None:
    line = {
        "discount_amounts": [{"amount": 5}, {"amount": 7}],
        "pretax_credit_amounts": [
            {"amount": 12, "type": "discount"},
            {"amount": 30, "type": "credit_balance_transaction"},
        ],
    }
    assert (stripe.discounts_of(line), stripe.credits_of(line)) == (12, 30)
    assert (stripe.discounts_of({}), stripe.credits_of({"pretax_credit_amounts": None})) == (0, 0)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ({"parent": {"subscription_item_details": {"subscription_item": "si_1"}}}, "si_1"),
        ({"parent": {"invoice_item_details": {"subscription_item": "si_2"}}}, "si_2"),
        ({"subscription_item": "si_3"}, "si_3"),
        ({"parent": None}, None),
    ],
)
def test_the_subscription_item_of_a_line(line: dict[str, Any], item: str | None) -> None:
    assert stripe.subscription_item_of_line(line) == item


@pytest.mark.parametrize(
    ("payment", "by"),
    [
        ({"object": "invoice_payment", "payment": {"payment_intent": "pi_1"}}, "pi_1"),
        ({"object": "invoice_payment", "payment": {"charge": {"id": "ch_1"}}}, "ch_1"),
        ({"object": "invoice_payment", "payment": {"payment_record": "pr_1"}}, "pr_1"),
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "charge", "id": "ch_1", "payment_intent": None}, "ch_1"),
        ({"object": "invoice", "id": "in_1", "charge": "ch_1", "payment_intent": "pi_1"}, "pi_1"),
        ({"object": "invoice", "id": "in_1", "charge": "ch_1"}, "ch_1"),
        ({"object": "invoice", "id": "in_1"}, None),
    ],
)
def test_both_sides_of_a_payment_name_the_same_thing(payment: dict[str, Any], by: str | None) -> None:
    assert stripe.paying_object(payment) == by
