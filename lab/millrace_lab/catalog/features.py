"""Features that products entitle to. Source: docs.stripe.com/api/entitlements/feature, /api/product-feature."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, owned, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params

FEATURE = "entitlements.feature"
Name = Annotated[str, Field(min_length=1, max_length=80)]


class CreateFeature(Params):
    lookup_key: Name
    name: Name
    metadata: Metadata = None


class UpdateFeature(Params):
    active: bool | None = None
    metadata: Metadata = None
    name: Name | None = None


class ListFeatures(ListParams):
    archived: bool | None = None
    lookup_key: str | None = None


class AttachFeature(Params):
    entitlement_feature: str


def create(step: Step, params: CreateFeature) -> Body:
    refuse_unless(
        all(feature["lookup_key"] != params.lookup_key for feature in step.all(FEATURE)),
        f"A feature with the lookup key `{params.lookup_key}` already exists.",
        "lookup_key",
        "resource_already_exists",
    )
    return step.add(
        {
            "id": step.new_id("feat"),
            "object": FEATURE,
            "active": True,
            "livemode": step.account.livemode,
            "lookup_key": params.lookup_key,
            "metadata": params.metadata or {},
            "name": params.name,
        }
    )


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(FEATURE, id_)


def update(step: Step, params: UpdateFeature, id_: str) -> Body:
    return step.change(id_, **params.changes_to(step.get(FEATURE, id_), "active", "name"))


def listing(step: Step, params: ListFeatures) -> Page:
    def holds(feature: Body) -> bool:
        return params.archived is None or feature["active"] != params.archived

    return lists.page(step, FEATURE, params, "/v1/entitlements/features", holds, by=("lookup_key",))


def attach(step: Step, params: AttachFeature, product: str) -> Body:
    """A product that entitles to a feature from now on."""
    step.get("product", product)
    feature = step.get(FEATURE, params.entitlement_feature, "entitlement_feature")
    refuse_unless(feature["active"], "This feature is archived.", "entitlement_feature")
    refuse_unless(
        all(
            each["entitlement_feature"]["id"] != feature["id"] for each in step.of("product_feature", product)
        ),
        "This feature is already attached to this product.",
        "entitlement_feature",
    )
    body = {
        "id": step.new_id("prodft"),
        "object": "product_feature",
        "entitlement_feature": feature,
        "livemode": step.account.livemode,
    }
    return step.add({**body, "_product": product}, product)


def attached(step: Step, _: NoParams, product: str, id_: str) -> Body:
    found = owned(step, "product_feature", id_, product, "_product")
    return {**found, "entitlement_feature": step.get(FEATURE, found["entitlement_feature"]["id"])}


def detach(step: Step, _: NoParams, product: str, id_: str) -> Body:
    attached(step, _, product, id_)
    step.remove(id_)
    return {"id": id_, "object": "product_feature", "deleted": True}


def listing_of_product(step: Step, params: ListParams, product: str) -> Page:
    step.get("product", product)
    return lists.page(step, "product_feature", params, f"/v1/products/{product}/features", parent=product)


OPERATIONS = (
    Operation("POST /v1/entitlements/features", create, CreateFeature),
    Operation("GET /v1/entitlements/features/{feature}", retrieve),
    Operation("POST /v1/entitlements/features/{feature}", update, UpdateFeature),
    Operation("GET /v1/entitlements/features", listing, ListFeatures),
    Operation("POST /v1/products/{product}/features", attach, AttachFeature),
    Operation("GET /v1/products/{product}/features/{feature}", attached),
    Operation("DELETE /v1/products/{product}/features/{feature}", detach),
    Operation("GET /v1/products/{product}/features", listing_of_product, ListParams),
)
