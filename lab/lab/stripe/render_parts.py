"""Pieces that several bodies share: lists, and what an object refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.stripe.model import Customer, Object, Price, TaxRate
from lab.stripe.render_catalog import tax_rate

Body = dict[str, Any]
Objects = Mapping[str, Object]
SELF = {"type": "self"}


def listed(data: list[Body], url: str) -> Body:
    return {"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url}


def price_of(objects: Objects, id_: str) -> Price:
    found = objects[id_]
    assert isinstance(found, Price)
    return found


def customer_of(objects: Objects, id_: str) -> Customer:
    found = objects[id_]
    assert isinstance(found, Customer)
    return found


def rates_of(objects: Objects, id_: str | None) -> list[Body]:
    found = objects[id_] if id_ else None
    return [tax_rate(found, objects)] if isinstance(found, TaxRate) else []
