"""Every body that the company is sent could have come from Stripe, as far as stripe-python can tell."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import stripe

from lab.northwind import quarter
from tests.support.stripe_bodies import complaints

SECRET = "whsec_lab"


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    return [event for _, event in quarter.build(seed=1).events]


def test_every_object_has_the_fields_and_words_that_the_library_knows(events: list[dict[str, Any]]) -> None:
    wrong = {complaint for event in events for complaint in complaints(event["data"]["object"])}
    assert wrong == set()


def test_every_envelope_is_an_event(events: list[dict[str, Any]]) -> None:
    wrong = {complaint for event in events for complaint in complaints({**event, "data": {}})}
    assert wrong - {"event.data.object: missing"} == set()
    assert {event["api_version"] for event in events} == {"2026-10-28.endive"}
    assert not any(event["livemode"] for event in events)


def test_a_signed_body_passes_the_library_s_own_door(events: list[dict[str, Any]]) -> None:
    """One of each type, through the signature and the typed tree."""
    for event in {event["type"]: event for event in events}.values():
        body = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
        header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
        parsed = stripe.Webhook.construct_event(body, header, SECRET)
        assert parsed.id == event["id"]


def shape(value: Any) -> Any:
    """Keys and kinds without contents: two bodies of one shape are read by the same code."""
    if isinstance(value, dict):
        return tuple((key, shape(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple({shape(inner): None for inner in value})
    return type(value).__name__


def test_the_library_reads_a_body_of_every_shape(events: list[dict[str, Any]]) -> None:
    shapes = {(event["type"], shape(event)): event for event in events}
    assert len(shapes) >= 100
    for event in shapes.values():
        parsed = stripe.Event.construct_from(orjson.loads(orjson.dumps(event)), "sk_test_lab")
        told = event["data"]["object"]
        assert parsed.data.object["id"] == told["id"] if "id" in told else parsed.type == "balance.available"


# What may lack a customer, so that consumers which order by customer know where they cannot.
WITHOUT_CUSTOMER = {"balance", "coupon", "invoice_payment", "product", "price", "tax_rate"}


def test_every_other_body_names_its_customer(events: list[dict[str, Any]]) -> None:
    told = [event["data"]["object"] for event in events]
    unnamed = {body["object"] for body in told if not body.get("customer") and body["object"] != "customer"}
    assert unnamed == WITHOUT_CUSTOMER


GONE = {
    "invoice": ("payment_intent", "charge", "paid", "subscription", "tax", "discount", "payments"),
    "charge": ("invoice",),
    "payment_intent": ("invoice",),
    "subscription": ("current_period_start", "current_period_end", "discount"),
    "line_item": ("price", "plan", "proration", "type", "tax_amounts"),
    "credit_note": ("refund", "tax_amounts"),
}


def test_nothing_that_the_api_has_dropped_is_still_there(events: list[dict[str, Any]]) -> None:
    for event in events:
        told = event["data"]["object"]
        lines = told["lines"]["data"] if told["object"] == "invoice" else []
        for body in (told, *lines):
            assert not set(GONE.get(body["object"], ())) & body.keys()


def test_an_intent_names_its_invoice_once_confirmed_and_never_when_just_created(
    events: list[dict[str, Any]],
) -> None:
    for event in events:
        if event["type"].startswith("payment_intent."):
            details = event["data"]["object"]["payment_details"]
            assert (details["order_reference"] is None) == (event["type"] == "payment_intent.created")
