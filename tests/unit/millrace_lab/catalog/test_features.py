"""Features, and the products that entitle to them."""

from __future__ import annotations

from tests.support.double import Double


def feature(stripe: Double, key: str) -> str:
    return str(stripe.post("/v1/entitlements/features", lookup_key=key, name=key.title())["id"])


def test_a_feature_is_attached_to_a_product_once_and_detached() -> None:
    stripe = Double()
    product, exports = stripe.post("/v1/products", name="Team")["id"], feature(stripe, "exports")
    at = f"/v1/products/{product}/features"
    attached = stripe.post(at, entitlement_feature=exports)
    assert attached["entitlement_feature"]["lookup_key"] == "exports"
    assert stripe.refusal("POST", at, entitlement_feature=exports)["param"] == "entitlement_feature"
    assert [each["id"] for each in stripe.get(at)["data"]] == [attached["id"]]
    other = stripe.post("/v1/products", name="Solo")["id"]
    assert stripe.refusal("GET", f"/v1/products/{other}/features/{attached['id']}")["status"] == 404
    assert stripe.delete(f"{at}/{attached['id']}")["deleted"]
    assert stripe.get(at)["data"] == []


def test_a_lookup_key_names_one_feature() -> None:
    stripe = Double()
    feature(stripe, "exports")
    again = stripe.refusal("POST", "/v1/entitlements/features", lookup_key="exports", name="Again")
    assert again["code"] == "resource_already_exists"


def test_an_archived_feature_is_attached_to_nothing_more() -> None:
    stripe = Double()
    product = stripe.post("/v1/products", name="Team")["id"]
    exports, seats = feature(stripe, "exports"), feature(stripe, "seats")
    stripe.post(f"/v1/entitlements/features/{exports}", active="false", metadata={"why": "old"})
    refused = stripe.refusal("POST", f"/v1/products/{product}/features", entitlement_feature=exports)
    assert "archived" in refused["message"]
    features = "/v1/entitlements/features"
    assert [each["id"] for each in stripe.get(features, archived="true")["data"]] == [exports]
    assert [each["id"] for each in stripe.get(features, archived="false")["data"]] == [seats]
    assert [each["id"] for each in stripe.get(features, lookup_key="seats")["data"]] == [seats]
    assert stripe.get(f"{features}/{exports}")["metadata"] == {"why": "old"}
