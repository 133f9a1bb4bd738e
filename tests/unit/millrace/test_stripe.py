"""Reading Stripe's bodies: the same answer whichever API version rendered them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from millrace.errors import Poison
from millrace.events import Event
from millrace.events import stripe as read


def event(data: Any) -> Event:
    return Event(
        id="evt_1", type="stripe.invoice.paid", source="stripe/acct_1", subject="in_1",
        time=datetime(2026, 3, 1, tzinfo=UTC), key="acct_1/cus_1", schema="2026-10-28.endive", data=data,
    )  # fmt: skip


def of_lines(*lines: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"object": "invoice", "lines": {"object": "list", "has_more": False, "data": [*lines]}, **rest}


INVOICES: dict[str, tuple[dict[str, Any], str | None]] = {
    "since basil": ({"parent": {"subscription_details": {"subscription": "sub_1"}}}, "sub_1"),
    "since basil, expanded": (
        {"parent": {"subscription_details": {"subscription": {"id": "sub_1", "object": "subscription"}}}},
        "sub_1",
    ),
    "before basil": ({"subscription": "sub_1"}, "sub_1"),
    "before basil, expanded": ({"subscription": {"id": "sub_1"}}, "sub_1"),
    "only a line, since basil": (
        of_lines({"parent": {"subscription_item_details": {"subscription": "sub_1"}}}, parent=None),
        "sub_1",
    ),
    "only a proration line": (
        of_lines({}, {"parent": {"invoice_item_details": {"subscription": "sub_1"}}}, parent=None),
        "sub_1",
    ),
    "only a line, before basil": (of_lines({"subscription": "sub_1"}), "sub_1"),
    "lines cut short still name it": (
        {"lines": {"has_more": True, "data": [{"subscription": "sub_1"}]}},
        "sub_1",
    ),
    "one-off": (of_lines({"parent": {"invoice_item_details": {"subscription": None}}}, parent=None), None),
    "bare": ({}, None),
    "of another shape": ({"parent": "sub_1", "lines": 7, "subscription": ""}, None),
}


@pytest.mark.parametrize("shape", INVOICES)
def test_the_subscription_of_an_invoice(shape: str) -> None:
    invoice, subscription = INVOICES[shape]
    assert read.subscription_of_invoice(invoice) == subscription


PAYMENTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "before basil": ({"invoice": "in_1"}, "in_1"),
    "before basil, expanded": ({"invoice": {"id": "in_1"}}, "in_1"),
    "since basil": ({"payment_details": {"order_reference": "in_1"}}, "in_1"),
    "somebody's order": ({"payment_details": {"order_reference": "order-7"}}, None),
    "no reference": ({"payment_details": {"order_reference": None}}, None),
    "not for an invoice": ({"invoice": None}, None),
}


@pytest.mark.parametrize("shape", PAYMENTS)
def test_the_invoice_of_a_payment(shape: str) -> None:
    payment, invoice = PAYMENTS[shape]
    assert read.invoice_of_payment(payment) == invoice


PERIOD = {"current_period_start": 100, "current_period_end": 200}


@pytest.mark.parametrize(
    ("item", "subscription", "period"),
    [
        (PERIOD, {}, (100, 200)),
        ({}, PERIOD, (100, 200)),
        (PERIOD, {"current_period_start": 1, "current_period_end": 2}, (100, 200)),
        ({"current_period_start": 100}, PERIOD, (100, 200)),
        ({"current_period_start": "100", "current_period_end": True}, {}, None),
        ({}, {}, None),
    ],
)
def test_a_period_is_the_items_and_before_basil_the_subscriptions(
    item: Any, subscription: Any, period: Any
) -> None:
    assert read.item_period(item, subscription) == period


ITEMS = {"items": {"data": [PERIOD, {"current_period_start": 100, "current_period_end": 300}]}}
CANCELS: dict[str, tuple[dict[str, Any], int | None]] = {
    "nobody asked": ({"cancel_at": None, "cancel_at_period_end": False}, None),
    "at a date": ({"cancel_at": 250, "cancel_at_period_end": False}, 250),
    "flexible, at the period's end": ({"cancel_at": 200, "cancel_at_period_end": False, **ITEMS}, 200),
    "classic, with the date": ({"cancel_at": 200, "cancel_at_period_end": True, **ITEMS}, 200),
    "classic, without": ({"cancel_at_period_end": True, **ITEMS}, 300),
    "before basil": (
        {"cancel_at_period_end": True, "items": {"data": [{}]}, **PERIOD},
        200,
    ),
    "no period to go by": ({"cancel_at_period_end": True}, None),
}


@pytest.mark.parametrize("shape", CANCELS)
def test_when_a_subscription_is_going_to_end(shape: str) -> None:
    subscription, ends = CANCELS[shape]
    assert read.cancels_at(subscription) == ends


@pytest.mark.parametrize(
    ("obj", "customer"),
    [
        ({"object": "customer", "id": "cus_1"}, "cus_1"),
        ({"object": "invoice", "customer": "cus_1"}, "cus_1"),
        ({"object": "invoice", "customer": {"id": "cus_1", "object": "customer"}}, "cus_1"),
        ({"object": "invoice", "customer": None, "customer_account": "acct_2"}, "acct_2"),
        ({"object": "price"}, None),
    ],
)
def test_the_customer_of_an_object(obj: Any, customer: str | None) -> None:
    assert read.customer_of(obj) == customer


def test_a_list_is_stripes_or_plain_and_never_one_cut_short() -> None:
    assert read.listed({"lines": {"data": [{"id": 1}]}}, "lines") == [{"id": 1}]
    assert read.listed({"lines": [{"id": 1}, "il_2"]}, "lines") == [{"id": 1}]
    assert read.listed({}, "lines") == read.listed({"lines": None}, "lines") == []
    with pytest.raises(Poison, match=r"invoice\.lines is cut short"):
        read.listed({"object": "invoice", "lines": {"data": [{}], "has_more": True}}, "lines")


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": []}, {"data": {"object": "in_1"}}])
def test_an_event_without_its_object_is_poison(data: Any) -> None:
    with pytest.raises(Poison, match=r"data\.object"):
        read.object_of(event(data))
    assert read.previous_of(event(data)) == {}


def test_an_event_holds_its_object_and_what_it_was_before() -> None:
    body = event({"data": {"object": {"id": "in_1"}, "previous_attributes": {"status": "draft"}}})
    assert read.object_of(body) == {"id": "in_1"}
    assert read.previous_of(body) == {"status": "draft"}


@pytest.mark.parametrize("found", [None, 1, "", {}, ["x"]])
def test_a_text_that_is_none_is_named(found: Any) -> None:
    with pytest.raises(Poison, match=r"invoice\.a\.b is missing or not a string"):
        read.text({"object": "invoice", "a": {"b": found}}, "a.b")


@pytest.mark.parametrize("found", [None, 1.0, True, "1", {}])
def test_an_amount_that_is_no_whole_number_is_named(found: Any) -> None:
    with pytest.raises(Poison, match=r"invoice\.total is missing or not a whole number"):
        read.whole({"object": "invoice", "total": found}, "total")


def test_what_is_there_is_read() -> None:
    assert read.text({"a": {"b": "x"}}, "a.b") == "x"
    assert read.whole({"total": -5}, "total") == -5
    assert read.dig({"a": [1]}, "a.b") is None
    assert read.at(0) == datetime(1970, 1, 1, tzinfo=UTC)
