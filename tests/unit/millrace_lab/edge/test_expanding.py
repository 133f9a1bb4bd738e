"""Expansion: ids replaced by what they name."""

from __future__ import annotations

import pytest

from tests.support.double import Double


def _shop() -> tuple[Double, dict[str, str]]:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team")["id"]
    recurring = {"interval": "month"}
    price = stripe.post("/v1/prices", product=product, currency="usd", unit_amount=900, recurring=recurring)[
        "id"
    ]
    customer = stripe.post("/v1/customers", email="ada@example.com")["id"]
    items = [{"price": price, "quantity": 2}]
    method = {"collection_method": "send_invoice", "days_until_due": 30}
    subscription = stripe.post("/v1/subscriptions", customer=customer, items=items, **method)["id"]
    return stripe, {"product": product, "price": price, "customer": customer, "subscription": subscription}


def test_paths_go_through_lists_and_objects_of_one_answer() -> None:
    stripe, made = _shop()
    paths = ["customer", "latest_invoice.customer", "items.data.price.product"]
    body = stripe.get(f"/v1/subscriptions/{made['subscription']}", expand=paths)
    assert body["customer"]["email"] == "ada@example.com"
    assert body["latest_invoice"]["customer"]["id"] == made["customer"]
    assert body["items"]["data"][0]["price"]["product"]["name"] == "Team"
    listed = stripe.get("/v1/subscriptions", expand=["data.customer"])
    assert listed["data"][0]["customer"]["object"] == "customer"


def test_what_is_written_can_be_expanded_at_once() -> None:
    stripe, made = _shop()
    body = stripe.post(f"/v1/prices/{made['price']}", nickname="monthly", expand=["product"])
    assert body["product"]["id"] == made["product"]


REFUSED = """
 path                                        says
 customer                                    You may want to try expanding 'data.customer' instead.
 data.nonsense                               This property cannot be expanded (nonsense).
 data.status                                 This property cannot be expanded (status).
 data.created                                This property cannot be expanded (created).
 data.latest_invoice.customer.discount.coupon  You cannot expand more than 4 levels of a property.
"""


@pytest.mark.parametrize("row", REFUSED.strip().splitlines()[1:])
def test_what_cannot_be_expanded_is_said_by_name(row: str) -> None:
    path, says = row.split(maxsplit=1)
    error = _shop()[0].refusal("GET", "/v1/subscriptions", expand=[path])
    assert (error["status"], error["param"]) == (400, "expand")
    assert says in error["message"]


def test_a_write_whose_answer_cannot_be_made_is_not_done() -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/products", name="Team", expand=["nonsense"])["status"] == 400
    assert stripe.refusal("POST", "/v1/products", name="Team", expand="name")["message"] == "Invalid array"
    assert stripe.get("/v1/products")["data"] == []
    assert stripe.told() == []


def test_the_second_api_expands_nothing() -> None:
    assert Double().refusal("GET", "/v2/core/events", expand=["data.reason"])["code"] == "parameter_unknown"


def test_what_is_ours_stays_hidden_at_any_depth() -> None:
    stripe, made = _shop()
    body = stripe.get(f"/v1/subscriptions/{made['subscription']}", expand=["latest_invoice", "customer"])
    assert not _hidden(body)


def _hidden(value: object) -> bool:
    if isinstance(value, dict):
        return any(key.startswith("_") or _hidden(each) for key, each in value.items())
    return isinstance(value, list) and any(_hidden(each) for each in value)


def test_the_data_of_an_event_is_no_object_of_its_own() -> None:
    stripe = Double()
    stripe.post("/v1/customers")
    event = stripe.told()[0].id
    for path in ("data.id", "data.subscriptions"):
        assert stripe.refusal("GET", f"/v1/events/{event}", expand=[path])["status"] == 400
