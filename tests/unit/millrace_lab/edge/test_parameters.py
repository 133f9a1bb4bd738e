"""Parameters: what is wrong with them is said in Stripe's words, by the parameter's full name."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.api import Request
from tests.support.double import Double

TIERS = [{"up_to": "x"}]
WRONG: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    # route, parameters, the parameter that is named, what is said
    ("POST /v1/products", {}, "name", "Missing required param: name."),
    ("POST /v1/products", {"name": ""}, "name", "You passed an empty string for 'name'."),
    ("POST /v1/products", {"name": "T", "nme": "x"}, "nme", "Received unknown parameter: nme"),
    ("POST /v1/products", {"name": "T", "active": "yes"}, "active", "Invalid boolean: yes"),
    ("POST /v1/products", {"name": "T", "metadata": "x"}, "metadata", "Invalid object"),
    ("POST /v1/products", {"name": "T", "metadata": {"k" * 41: "v"}}, "metadata", "Invalid metadata"),
    ("POST /v1/products", {"name": "T", "metadata": {"k": "v" * 501}}, "metadata", "Invalid metadata"),
    (
        "POST /v1/products",
        {"name": "T", "metadata": {f"k{n}": "v" for n in range(51)}},
        "metadata",
        "Invalid",
    ),
    ("GET /v1/products", {"limit": "many"}, "limit", "Invalid integer: many"),
    ("GET /v1/products", {"limit": "5.0"}, "limit", "Invalid integer: 5.0"),
    ("GET /v1/products", {"limit": "1_0"}, "limit", "Invalid integer: 1_0"),
    ("GET /v1/products", {"limit": "9" * 30}, "limit", "Invalid integer: 999"),
    ("GET /v1/products", {"limit": "101"}, "limit", "Invalid limit"),
    ("GET /v1/products", {"limit": "0"}, "limit", "Invalid limit"),
    ("GET /v1/products", {"created": {"gte": "now"}}, "created[gte]", "Invalid integer: now"),
    (
        "GET /v1/products",
        {"created": {"gt": "1", "ge": "1"}},
        "created[ge]",
        "Received unknown parameter: created[ge]",
    ),
    ("GET /v1/products", {"ids": "prod_1"}, "ids", "Invalid array"),
    (
        "POST /v1/webhook_endpoints",
        {"url": "https://a.b", "enabled_events": ["cat.fed"]},
        "enabled_events[0]",
        "Inv",
    ),
    (
        "POST /v1/coupons",
        {"redeem_by": "-1", "percent_off": 5},
        "redeem_by",
        "Invalid redeem_by: must be an int",
    ),
    (
        "POST /v1/test_helpers/test_clocks",
        {"frozen_time": 1_782_864_000_000},  # milliseconds
        "frozen_time",
        "Invalid frozen_time: must be an integer Unix timestamp in seconds",
    ),
    (
        "POST /v1/invoices",
        {"customer": "c", "days_until_due": 10**9},
        "days_until_due",
        "Invalid days_until_due",
    ),
    ("POST /v1/tax_ids", {"type": "xx_vat", "value": "1"}, "type", "Invalid type: must be one of"),
    (
        "POST /v1/checkout/sessions",
        {"mode": "setup", "locale": "xx"},
        "locale",
        "Invalid locale: must be one of",
    ),
    (
        "POST /v1/invoiceitems",
        {"customer": "c", "unit_amount_decimal": "x"},
        "unit_amount_decimal",
        "Invalid",
    ),
    (
        "POST /v1/subscriptions",
        {"customer": "c", "items": [{"prise": "p"}]},
        "items[0][prise]",
        "Received unknown",
    ),
)


@pytest.mark.parametrize(("route", "params", "param", "says"), WRONG)
def test_a_wrong_parameter_is_refused_by_name(
    route: str, params: dict[str, Any], param: str, says: str
) -> None:
    stripe = Double()
    error = stripe.refusal(*route.split(), **params)
    assert (error["status"], error["type"], error.get("param")) == (400, "invalid_request_error", param)
    assert error["message"].startswith(says)
    assert stripe.told() == []


def test_an_object_that_is_missing_is_404_on_the_path_and_400_in_a_parameter() -> None:
    stripe = Double()
    on_path = stripe.refusal("GET", "/v1/customers/cus_none")
    assert (on_path["status"], on_path["code"], on_path["param"]) == (404, "resource_missing", "id")
    assert on_path["message"] == "No such customer: 'cus_none'"
    named = stripe.refusal("POST", "/v1/subscriptions", customer="cus_none", items=[{"price": "p"}])
    assert (named["status"], named["code"], named["param"]) == (400, "resource_missing", "customer")
    cursor = stripe.refusal("GET", "/v1/customers", starting_after="cus_none")
    assert (cursor["status"], cursor["message"]) == (400, "No such customer: 'cus_none'")


def test_what_the_double_has_not_says_so_and_what_nobody_has_is_no_url() -> None:
    stripe = Double()
    absent = stripe.refusal("GET", "/v1/issuing/cards")
    assert (absent["status"], absent["code"]) == (501, "not_in_the_double")
    assert "POST /v1/products" in absent["has"]
    for method, path in [
        ("PUT", "/v1/products"),
        ("GET", "/v3/products"),
        ("HEAD", "/v1/products"),
        ("GET", "/v1"),
    ]:
        error = stripe.refusal(method, path)
        assert error["status"] == 404
        assert error["message"].startswith(f"Unrecognized request URL ({method}: {path})")


def test_a_part_that_the_double_has_not_is_named_in_full() -> None:
    card = {"number": "4242424242424242", "networks": {"preferred": "visa"}}
    error = Double().refusal("POST", "/v1/payment_methods", type="card", card=card)
    assert (error["status"], error["code"]) == (501, "not_in_the_double")
    assert "no parameter card[networks] of POST /v1/payment_methods" in error["message"]


def test_ways_to_pay_that_the_double_has_not_are_not_here_wherever_they_are_named() -> None:
    for route, params in (
        ("/v1/payment_methods", {"type": "klarna"}),
        ("/v1/payment_intents", {"amount": 5, "currency": "usd", "payment_method_types": ["klarna"]}),
        ("/v1/invoices", {"customer": "c", "payment_settings": {"payment_method_types": ["klarna"]}}),
    ):
        assert Double().refusal("POST", route, **params)["status"] == 501


def test_an_older_versions_odd_value_is_refused_as_any_other() -> None:
    asked = {"mode": "setup", "currency": "usd", "ui_mode": ["embedded"]}
    request = Request("POST", "/v1/checkout/sessions", asked, key="sk_test_lab", version="2025-03-31.basil")
    assert Double().api.call(request).status == 501


def test_what_is_missing_in_a_parameter_is_named_by_it_also_below_the_first_level() -> None:
    stripe = Double()
    customer = stripe.post("/v1/customers")["id"]
    error = stripe.refusal("POST", "/v1/invoices", customer=customer, default_tax_rates=["txr_none"])
    assert (error["status"], error["param"]) == (400, "tax_rates")


def test_a_time_that_has_not_come_to_be_is_in_no_range() -> None:
    stripe = Double()
    customer = stripe.post("/v1/customers")["id"]
    stripe.post("/v1/invoices", customer=customer)
    due = stripe.post("/v1/invoices", customer=customer, collection_method="send_invoice", days_until_due=3)
    found = stripe.get("/v1/invoices", due_date={"lt": stripe.now + 4 * 86_400})["data"]
    assert [invoice["id"] for invoice in found] == [due["id"]]


def test_empty_words_in_a_list_stay_words() -> None:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team")["id"]
    assert stripe.post(f"/v1/products/{product}", images=[""])["images"] == [""]


def test_what_the_parameters_are_made_into_is_read_as_strictly() -> None:
    stripe = Double()
    customer = stripe.post("/v1/customers")["id"]
    product = stripe.post("/v1/products", name="Team")["id"]
    price = {"currency": "usd", "product": product, "unit_amount": -1}
    error = stripe.refusal("POST", "/v1/invoiceitems", customer=customer, price_data=price)
    assert error["status"] == 400
    assert "greater than or equal to 0" in error["message"]
