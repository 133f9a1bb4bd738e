"""What a product's body is. Products and prices both make them: a price may bring its product along."""

from __future__ import annotations

from typing import Any

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body


def make(step: Step, *, id: str | None = None, **fields: Any) -> Body:
    """A new product, told as `product.created`. `fields` are those of the request."""
    id_ = id or step.new_id("prod", 14)
    refuse_unless(step.find(id_) is None, "Product already exists.", "id", "resource_already_exists")
    body = {
        "id": id_,
        "object": "product",
        "active": True,
        "created": step.now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": step.account.livemode,
        "marketing_features": [],
        "metadata": {},
        "name": None,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": step.now,
        "url": None,
    }
    product = step.add(body | {key: value for key, value in fields.items() if value is not None})
    step.tell("product.created", product)
    return product
