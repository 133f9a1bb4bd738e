"""Products. Source: docs.stripe.com/api/products."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text, Times, merged


class CreateProduct(Params):
    name: Annotated[str, Field(min_length=1, max_length=5000)]
    id: str | None = None
    active: bool = True
    description: Text = None
    metadata: Metadata = None
    tax_code: Text = None
    unit_label: Text = None


class UpdateProduct(Params):
    name: str | None = None
    active: bool | None = None
    default_price: str | None = None
    description: Text = None
    metadata: Metadata = None
    tax_code: Text = None
    unit_label: Text = None


class ListProducts(ListParams):
    active: bool | None = None
    created: Times | None = None
    ids: list[str] | None = None


def create(step: Step, params: CreateProduct) -> Body:
    id_ = params.id or step.new_id("prod", 14)
    refuse_unless(step.find(id_) is None, "Product already exists.", "id", "resource_already_exists")
    product = step.add(
        {
            "id": id_,
            "object": "product",
            "active": params.active,
            "created": step.now,
            "default_price": None,
            "description": params.description,
            "images": [],
            "livemode": step.account.livemode,
            "marketing_features": [],
            "metadata": params.metadata or {},
            "name": params.name,
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": params.tax_code,
            "unit_label": params.unit_label,
            "updated": step.now,
            "url": None,
        }
    )
    step.tell("product.created", product)
    return product


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("product", id_)


def update(step: Step, params: UpdateProduct, id_: str) -> Body:
    before = step.get("product", id_)
    changes = params.changes()
    if "metadata" in changes:
        changes["metadata"] = merged(before["metadata"], params.metadata)
    step.change(id_, **changes, updated=step.now)
    return step.updated("product.updated", before)


def delete(step: Step, _: NoParams, id_: str) -> Body:
    product = step.get("product", id_)
    refuse_unless(
        not step.of("price", id_),
        "This product cannot be deleted because it has one or more user-created prices.",
    )
    step.remove(id_)
    step.tell("product.deleted", product)
    return {"id": id_, "object": "product", "deleted": True}


def listing(step: Step, params: ListProducts) -> Page:
    def wanted(product: Body) -> bool:
        return (
            (params.active is None or product["active"] == params.active)
            and (params.created is None or params.created.holds(product["created"]))
            and (params.ids is None or product["id"] in params.ids)
        )

    return lists.page(step, "product", params, "/v1/products", wanted)


NOT_HERE = frozenset({"default_price_data", "images", "marketing_features", "package_dimensions", "shippable",
                      "statement_descriptor", "url"})  # fmt: skip
OPERATIONS = (
    Operation("POST /v1/products", create, CreateProduct, NOT_HERE),
    Operation("GET /v1/products/{product}", retrieve),
    Operation("POST /v1/products/{product}", update, UpdateProduct, NOT_HERE),
    Operation("DELETE /v1/products/{product}", delete),
    Operation("GET /v1/products", listing, ListProducts, frozenset({"shippable", "url"})),
)
