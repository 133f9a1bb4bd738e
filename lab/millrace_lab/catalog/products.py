"""Products: what is sold. Source: docs.stripe.com/api/products."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace_lab import lists, searching
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import goods, prices
from millrace_lab.catalog.asking import PriceData, Rhythm
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import (
    Currency,
    ListParams,
    Metadata,
    NoParams,
    NotHere,
    Params,
    Text,
    Times,
    Unset,
)

Name = Annotated[str, Field(min_length=1, max_length=5000)]
Descriptor = Annotated[
    str | None, Field(min_length=5, max_length=22, pattern=r"^[^<>\\'\"]*[A-Za-z][^<>\\'\"]*$"), Unset
]


class MarketingFeature(Params):
    name: Annotated[str, Field(min_length=1, max_length=80)]


Images = Annotated[list[str] | None, Field(max_length=8), Unset]
Marketing = Annotated[list[MarketingFeature] | None, Field(max_length=15), Unset]


class DefaultPriceData(PriceData):
    currency_options: dict[Currency, prices.InCurrency] | None = None
    metadata: Metadata = None
    recurring: Rhythm | None = None
    custom_unit_amount: NotHere = None


class Described(Params):
    """What can be said of a product when it is made and later."""

    description: Text = None
    images: Images = None
    marketing_features: Marketing = None
    metadata: Metadata = None
    shippable: bool | None = None
    statement_descriptor: Descriptor = None
    tax_code: Text = None
    unit_label: Text = None
    url: Text = None


class CreateProduct(Described):
    name: Name
    id: str | None = None
    active: bool = True
    default_price_data: DefaultPriceData | None = None


class UpdateProduct(Described):
    name: Name | None = None
    active: bool | None = None
    default_price: str | None = None


class ListProducts(ListParams):
    active: bool | None = None
    created: Times | None = None
    ids: list[str] | None = None
    shippable: bool | None = None
    url: str | None = None


def create(step: Step, params: CreateProduct) -> Body:
    fields = params.model_dump(exclude={"default_price_data"})
    product = goods.make(step, **fields)
    if params.default_price_data is None:
        return product
    return _with_default_price(step, product, params.default_price_data)


def _with_default_price(step: Step, product: Body, data: DefaultPriceData) -> Body:
    given = prices.CreatePrice.model_validate(data.model_dump(exclude_none=True))
    price = prices.make(step, given, product["id"])
    step.change(product["id"], default_price=price["id"])
    return step.updated("product.updated", product)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("product", id_)


def update(step: Step, params: UpdateProduct, id_: str) -> Body:
    before = step.get("product", id_)
    changes = params.changes_to(before)
    for name in ("images", "marketing_features"):
        if name in changes:
            changes[name] = changes[name] or []
    if changes.get("default_price"):
        _check_default(step.get("price", changes["default_price"], "default_price"), id_)
    step.change(id_, **changes, updated=step.now)
    return step.updated("product.updated", before)


def _check_default(price: Body, product: str) -> None:
    refuse_unless(
        price["product"] == product and price["active"],
        "The default price must be an active price of this product.",
        "default_price",
    )


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
        return params.ids is None or product["id"] in params.ids

    by = ("active", "created", "shippable", "url")
    return lists.page(step, "product", params, "/v1/products", wanted, by=by)


NOT_HERE = frozenset({"package_dimensions"})
OPERATIONS = (
    Operation("POST /v1/products", create, CreateProduct, NOT_HERE),
    Operation("GET /v1/products/{product}", retrieve),
    Operation("POST /v1/products/{product}", update, UpdateProduct, NOT_HERE),
    Operation("DELETE /v1/products/{product}", delete),
    Operation("GET /v1/products", listing, ListProducts),
    searching.operation(
        "product", "/v1/products", "active", "description", "metadata", "name", "shippable", "url"
    ),
)
