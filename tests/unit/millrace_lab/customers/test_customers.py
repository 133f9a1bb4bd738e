"""Customers: made, changed, found and deleted as at Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import OPENS, Double

Body = dict[str, Any]


def customer(stripe: Double, **given: Any) -> str:
    return str(stripe.post("/v1/customers", **given)["id"])


def test_a_customer_is_made_with_nothing_and_changed_with_one_event() -> None:
    stripe = Double()
    ada = customer(stripe)
    changed = stripe.post(
        f"/v1/customers/{ada}",
        name="Ada",
        email="ada@example.com",
        address={"country": "DE", "city": "Berlin"},
        preferred_locales=["de"],
        invoice_settings={"footer": "Thank you"},
    )
    assert changed["address"] == {
        "city": "Berlin",
        "country": "DE",
        "line1": None,
        "line2": None,
        "postal_code": None,
        "state": None,
    }
    assert stripe.types() == ["customer.created", "customer.updated"]
    assert stripe.told("customer.updated")[0].previous == {
        "address": None,
        "email": None,
        "invoice_settings": {"footer": None},
        "name": None,
        "preferred_locales": [],
    }


def test_what_is_given_again_changes_nothing_and_tells_nothing() -> None:
    stripe = Double()
    ada = customer(stripe, name="Ada", metadata={"a": "1"})
    stripe.post(f"/v1/customers/{ada}", name="Ada", metadata={"a": "1"})
    assert stripe.types() == ["customer.created"]


UPDATES: list[tuple[Body, Body, str, Any]] = [
    # a customer with              is sent                                then has
    ({"name": "Ada"}, {"name": ""}, "name", None),
    ({"description": "a"}, {"description": ""}, "description", None),
    ({"metadata": {"a": "1", "b": "2"}}, {"metadata": {"a": ""}}, "metadata", {"b": "2"}),
    ({"metadata": {"a": "1"}}, {"metadata": ""}, "metadata", {}),
    ({"address": {"country": "DE"}}, {"address": ""}, "address", None),
    ({"tax_exempt": "reverse"}, {"tax_exempt": ""}, "tax_exempt", "none"),
    ({"preferred_locales": ["de"]}, {"preferred_locales": ""}, "preferred_locales", []),
    ({}, {"invoice_prefix": "ADA"}, "invoice_prefix", "ADA"),
    ({}, {"next_invoice_sequence": "41"}, "next_invoice_sequence", 41),
    (
        {"invoice_settings": {"footer": "Bye", "custom_fields": [{"name": "PO", "value": "7"}]}},
        {"invoice_settings": {"footer": ""}},
        "invoice_settings",
        {
            "custom_fields": [{"name": "PO", "value": "7"}],
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
    ),
    (
        {},
        {"invoice_settings": {"rendering_options": {"amount_tax_display": "exclude_tax"}}},
        "invoice_settings",
        {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": {"amount_tax_display": "exclude_tax", "template": None},
        },
    ),
]


@pytest.mark.parametrize(("made", "sent", "name", "then"), UPDATES)
def test_what_an_update_leaves_and_what_it_unsets(made: Body, sent: Body, name: str, then: Any) -> None:
    stripe = Double()
    assert stripe.post(f"/v1/customers/{customer(stripe, **made)}", **sent)[name] == then


def test_an_address_keeps_the_parts_that_were_not_given() -> None:
    stripe = Double()
    home = {"country": "US", "state": "CA"}
    ada = customer(stripe, address=home, shipping={"name": "Ada", "address": home, "phone": "5"})
    shipping = {"name": "Ada", "address": {"city": "Oakland"}}
    changed = stripe.post(f"/v1/customers/{ada}", address={"city": "Oakland", "state": ""}, shipping=shipping)
    assert (changed["address"]["country"], changed["address"]["city"], changed["address"]["state"]) == (
        "US",
        "Oakland",
        None,
    )
    assert (changed["shipping"]["address"]["state"], changed["shipping"]["phone"]) == ("CA", None)


REFUSED = [
    ({"invoice_prefix": "ab"}, "invoice_prefix"),
    ({"next_invoice_sequence": "0"}, "next_invoice_sequence"),
    ({"tax_exempt": "maybe"}, "tax_exempt"),
    ({"invoice_settings": {"default_payment_method": "pm_none"}}, "invoice_settings[default_payment_method]"),
    ({"tax": {"validate_location": "immediately"}}, "address"),
    ({"test_clock": "clock_none"}, "test_clock"),
    ({"tax_id_data": [{"type": "EU", "value": "DE1"}]}, "tax_id_data[0][type]"),
]


@pytest.mark.parametrize(("given", "param"), REFUSED)
def test_what_is_no_customer_is_refused_and_leaves_nothing(given: Body, param: str) -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/customers", **given)["param"] == param
    assert stripe.types() == []
    assert stripe.get("/v1/customers")["data"] == []


@pytest.mark.parametrize("card", ["pm_card_visa", "its own"])
def test_a_customer_may_bring_a_card_along_as_the_default(card: str) -> None:
    stripe = Double()
    if card == "its own":
        card = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    default = {"default_payment_method": card}
    made = stripe.post("/v1/customers", payment_method=card, invoice_settings=default)
    (attached,) = stripe.get(f"/v1/customers/{made['id']}/payment_methods")["data"]
    assert made["invoice_settings"]["default_payment_method"] == attached["id"]
    assert stripe.types() == ["payment_method.attached", "customer.created"]


def test_a_card_that_is_declined_makes_no_customer() -> None:
    stripe = Double()
    refused = stripe.refusal("POST", "/v1/customers", payment_method="pm_card_visa_chargeDeclined")
    assert refused["status"] == 402
    assert stripe.get("/v1/customers")["data"] == []


def test_old_sources_are_not_here() -> None:
    assert Double().refusal("POST", "/v1/customers", source="tok_visa")["status"] == 501


def test_a_deleted_customer_leaves_a_tombstone_and_is_not_changed_again() -> None:
    stripe = Double()
    ada = customer(stripe, email="ada@example.com")
    assert stripe.delete(f"/v1/customers/{ada}") == {"id": ada, "object": "customer", "deleted": True}
    assert stripe.get(f"/v1/customers/{ada}") == {"id": ada, "object": "customer", "deleted": True}
    assert (
        stripe.refusal("POST", f"/v1/customers/{ada}", name="Ada")["message"] == f"No such customer: '{ada}'"
    )
    assert stripe.refusal("DELETE", f"/v1/customers/{ada}")["status"] == 404
    assert stripe.get("/v1/customers")["data"] == []
    assert stripe.told("customer.deleted")[0].object["email"] == "ada@example.com"


def test_what_a_deletion_ends_hears_of_it_before_the_customer_is_gone() -> None:
    stripe = Double()
    ada = customer(stripe)
    heard: list[str] = []
    stripe.account.reactions = {
        "customer.deleted": (lambda step, body: heard.append(step.get("customer", body["id"])["id"]),)
    }
    stripe.delete(f"/v1/customers/{ada}")
    assert heard == [ada]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["Bob", "Ada"]),
        ({"email": "ada@example.com"}, ["Ada"]),
        ({"email": "ADA@example.com"}, []),  # case matters, as documented
        ({"created": {"gt": str(OPENS)}}, ["Bob"]),
        ({"limit": "1"}, ["Bob"]),
    ],
)
def test_filters_of_the_list(filters: Body, names: list[str]) -> None:
    stripe = Double()
    customer(stripe, name="Ada", email="ada@example.com")
    stripe.wait("1s")
    customer(stripe, name="Bob")
    assert [each["name"] for each in stripe.get("/v1/customers", **filters)["data"]] == names


def test_a_customer_on_a_test_clock_lives_in_its_time_and_is_listed_for_it_only() -> None:
    stripe = Double()
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=str(OPENS + 86400))["id"]
    there, here = customer(stripe, test_clock=clock), customer(stripe)
    assert stripe.get(f"/v1/customers/{there}")["created"] == OPENS + 86400
    assert [each["id"] for each in stripe.get("/v1/customers")["data"]] == [here]
    assert [each["id"] for each in stripe.get("/v1/customers", test_clock=clock)["data"]] == [there]


def test_where_automatic_tax_sees_a_customer() -> None:
    stripe = Double()
    ada = customer(stripe, tax={"ip_address": "192.0.2.1"})
    nowhere = stripe.get(f"/v1/customers/{ada}", expand=["tax"])["tax"]
    assert (nowhere["automatic_tax"], nowhere["ip_address"]) == ("unrecognized_location", "192.0.2.1")
    stripe.post(f"/v1/customers/{ada}", address={"country": "DE"})
    somewhere = stripe.get(f"/v1/customers/{ada}", expand=["tax"])["tax"]
    assert somewhere["automatic_tax"] == "supported"
    assert somewhere["location"] == {"country": "DE", "source": "billing_address", "state": None}


def test_invoice_prefixes_differ_and_come_from_the_seed() -> None:
    def prefixes(seed: int) -> list[str]:
        stripe = Double(seed)
        return [stripe.get(f"/v1/customers/{customer(stripe)}")["invoice_prefix"] for _ in range(3)]

    assert len({*prefixes(1), *prefixes(2)}) == 6
    assert prefixes(1) == prefixes(1)
    assert all(len(prefix) == 8 and prefix.isalnum() and prefix == prefix.upper() for prefix in prefixes(1))
