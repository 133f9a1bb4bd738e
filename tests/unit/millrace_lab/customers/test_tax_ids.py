"""Tax ids, and what the registries say about them."""

from __future__ import annotations

import pytest

from tests.support.double import Double

REGISTRY = [
    # type       value            country  at once        five seconds later
    ("eu_vat", "DE000000000", "DE", "pending", "verified"),
    ("eu_vat", "DE111111111", "DE", "pending", "unverified"),
    ("gb_vat", "GB000000000", "GB", "pending", "verified"),
    ("us_ein", "12-3456789", "US", "unavailable", "unavailable"),
    ("eu_oss_vat", "EU123456789", None, "unavailable", "unavailable"),
]


@pytest.mark.parametrize(("type_", "value", "country", "at_once", "later"), REGISTRY)
def test_a_registry_answers(type_: str, value: str, country: str | None, at_once: str, later: str) -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers")["id"]
    made = stripe.post(f"/v1/customers/{ada}/tax_ids", type=type_, value=value)
    assert (made["country"], made["verification"]["status"]) == (country, at_once)
    stripe.wait("5s")
    assert stripe.get(f"/v1/customers/{ada}/tax_ids/{made['id']}")["verification"]["status"] == later
    assert stripe.types().count("customer.tax_id.updated") == (at_once != later)


def test_a_customer_may_bring_tax_ids_along_and_lose_them() -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers", tax_id_data=[{"type": "ch_vat", "value": "CHE-123.456.789 MWST"}])[
        "id"
    ]
    shown = stripe.get(f"/v1/customers/{ada}", expand=["tax_ids"])["tax_ids"]
    assert [each["value"] for each in shown["data"]] == ["CHE-123.456.789 MWST"]
    stripe.delete(f"/v1/customers/{ada}/tax_ids/{shown['data'][0]['id']}")
    assert stripe.get(f"/v1/customers/{ada}/tax_ids")["data"] == []
    assert stripe.types() == ["customer.created", "customer.tax_id.created", "customer.tax_id.deleted"]


def test_a_customer_has_five_at_most_and_no_one_elses() -> None:
    stripe = Double()
    ada, bob = (stripe.post("/v1/customers")["id"] for _ in range(2))
    made = [stripe.post(f"/v1/customers/{ada}/tax_ids", type="us_ein", value=str(n))["id"] for n in range(5)]
    sixth = stripe.refusal("POST", f"/v1/customers/{ada}/tax_ids", type="us_ein", value="6")
    assert "at most 5" in sixth["message"]
    assert stripe.refusal("DELETE", f"/v1/customers/{bob}/tax_ids/{made[0]}")["status"] == 404


def test_the_account_has_tax_ids_of_its_own_and_tells_nothing_of_them() -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers")["id"]
    ours = stripe.post("/v1/tax_ids", type="eu_vat", value="IE000000000")
    hers = stripe.post(
        "/v1/tax_ids", type="eu_vat", value="DE000000000", owner={"type": "customer", "customer": ada}
    )
    assert (ours["owner"], hers["customer"]) == ({"type": "self"}, ada)
    assert [each["id"] for each in stripe.get("/v1/tax_ids")["data"]] == [ours["id"]]
    of_hers = {"type": "customer", "customer": ada}
    assert [each["id"] for each in stripe.get("/v1/tax_ids", owner=of_hers)["data"]] == [hers["id"]]
    assert stripe.get(f"/v1/tax_ids/{ours['id']}")["value"] == "IE000000000"
    stripe.delete(f"/v1/tax_ids/{ours['id']}")
    assert stripe.types() == ["customer.created", "customer.tax_id.created"]
