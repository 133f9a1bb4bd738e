"""Products: made, changed, listed and taken away as at Stripe."""

from __future__ import annotations

import pytest

from tests.support.double import Double


def test_a_product_is_made_changed_and_deleted() -> None:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team", metadata={"tier": "2"})
    stripe.post(f"/v1/products/{product['id']}", name="Team 2", metadata={"tier": ""})
    assert stripe.get(f"/v1/products/{product['id']}")["metadata"] == {}
    assert stripe.delete(f"/v1/products/{product['id']}")["deleted"]
    assert stripe.types() == ["product.created", "product.updated", "product.deleted"]
    assert stripe.told("product.updated")[0].previous == {"metadata": {"tier": "2"}, "name": "Team"}
    assert stripe.refusal("GET", f"/v1/products/{product['id']}")["status"] == 404


def test_what_nobody_knows_is_refused_by_name_and_what_is_not_here_says_so() -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/products", name="Team", nme="x")["code"] == "parameter_unknown"
    assert stripe.refusal("POST", "/v1/products")["param"] == "name"
    parcel = {"height": "1", "length": "2", "weight": "3", "width": "4"}
    assert stripe.refusal("POST", "/v1/products", name="Team", package_dimensions=parcel)["status"] == 501
    assert "POST /v1/products" in stripe.refusal("GET", "/v1/issuing/cards")["has"]


def test_a_list_is_newest_first_and_paged_by_id() -> None:
    stripe = Double()
    made = [stripe.post("/v1/products", name=str(n))["id"] for n in range(5)]
    first = stripe.get("/v1/products", limit=2)
    assert [p["id"] for p in first["data"]] == made[:2:-1]
    rest = stripe.get("/v1/products", limit=10, starting_after=first["data"][-1]["id"])
    assert [p["id"] for p in rest["data"]] == made[2::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_a_product_may_bring_its_default_price_along() -> None:
    stripe = Double()
    price = {"currency": "eur", "unit_amount": "1900", "recurring": {"interval": "month"}}
    product = stripe.post("/v1/products", name="Team", default_price_data=price, expand=["default_price"])
    assert product["default_price"]["unit_amount"] == 1900
    assert product["default_price"]["recurring"]["interval_count"] == 1
    assert stripe.types() == ["product.created", "price.created", "product.updated"]
    assert stripe.told("product.updated")[0].previous == {"default_price": None}


def test_a_default_price_is_an_active_one_of_this_product() -> None:
    stripe = Double()
    product, other = (stripe.post("/v1/products", name=name)["id"] for name in ("Team", "Solo"))
    price = stripe.post("/v1/prices", product=product, currency="usd", unit_amount="500")["id"]
    assert stripe.refusal("POST", f"/v1/products/{other}", default_price=price)["param"] == "default_price"
    assert stripe.post(f"/v1/products/{product}", default_price=price)["default_price"] == price


def test_a_product_with_prices_stays() -> None:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team")["id"]
    stripe.post("/v1/prices", product=product, currency="usd", unit_amount="500")
    assert "user-created prices" in stripe.refusal("DELETE", f"/v1/products/{product}")["message"]


def test_an_id_is_used_once() -> None:
    stripe = Double()
    stripe.post("/v1/products", id="team", name="Team")
    assert stripe.refusal("POST", "/v1/products", id="team", name="Team")["code"] == "resource_already_exists"


def test_what_customers_read_about_a_product_is_kept_and_can_be_emptied() -> None:
    stripe = Double()
    product = stripe.post(
        "/v1/products",
        name="Team",
        marketing_features=[{"name": "Ten seats"}],
        images=["https://example.com/team.png"],
        statement_descriptor="MILLRACE TEAM",
        url="https://example.com/team",
    )
    assert product["marketing_features"] == [{"name": "Ten seats"}]
    emptied = stripe.post(f"/v1/products/{product['id']}", marketing_features="", images="", url="")
    assert (emptied["marketing_features"], emptied["images"], emptied["url"]) == ([], [], None)


@pytest.mark.parametrize("descriptor", ["four", "12345678", "more than twenty-two characters", "LESS<MORE"])
def test_a_statement_descriptor_is_what_a_bank_prints(descriptor: str) -> None:
    refused = Double().refusal("POST", "/v1/products", name="Team", statement_descriptor=descriptor)
    assert (refused["status"], refused["param"]) == (400, "statement_descriptor")


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["Old", "Solo", "Team"]),
        ({"active": "false"}, ["Old"]),
        ({"ids": ["team", "old"]}, ["Old", "Team"]),
        ({"shippable": "true"}, ["Solo"]),
        ({"url": "https://example.com/team"}, ["Team"]),
        ({"created": {"gt": "1782864000"}}, []),
    ],
)
def test_filters_of_the_list(filters: dict[str, object], names: list[str]) -> None:
    stripe = Double()
    stripe.post("/v1/products", id="team", name="Team", url="https://example.com/team")
    stripe.post("/v1/products", id="solo", name="Solo", shippable="true")
    stripe.post("/v1/products", id="old", name="Old", active="false")
    assert [product["name"] for product in stripe.get("/v1/products", **filters)["data"]] == names
