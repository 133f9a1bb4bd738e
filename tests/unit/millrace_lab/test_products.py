"""Products: made, changed, listed and taken away as at Stripe."""

from __future__ import annotations

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
    assert stripe.refusal("POST", "/v1/products", name="Team", shippable="true")["status"] == 501
    assert "POST /v1/products" in stripe.refusal("GET", "/v1/issuing/cards")["has"]


def test_a_list_is_newest_first_and_paged_by_id() -> None:
    stripe = Double()
    made = [stripe.post("/v1/products", name=str(n))["id"] for n in range(5)]
    first = stripe.get("/v1/products", limit=2)
    assert [p["id"] for p in first["data"]] == made[:2:-1]
    rest = stripe.get("/v1/products", limit=10, starting_after=first["data"][-1]["id"])
    assert [p["id"] for p in rest["data"]] == made[2::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
