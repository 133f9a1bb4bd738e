"""The catalog: what each plan gives. One version of it is one value.

A feature is a switch (there or not), a limit (a number, or unlimited) or seats (the item's quantity).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from entitlement.domain.subscription import Item

Kind = Literal["switch", "limit", "seats"]
KINDS: tuple[Kind, ...] = ("switch", "limit", "seats")
UNLIMITED = -1  # how a limit without a limit is stored


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that customers may do. `when_restricted` is dunning's grip on it."""

    name: str
    kind: Kind
    when_restricted: Literal["deny", "keep"] = "deny"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is given for a price. `gives`: feature -> the limit; for seats, seats on top of the quantity."""

    name: str
    gives: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Catalog:
    """One version of what is sold."""

    version: str
    effective_from: datetime
    features: Mapping[str, Feature]
    plans: Mapping[str, Plan]
    by_price: Mapping[str, str]  # price id or lookup key -> plan
    by_product: Mapping[str, str]

    def plan_of(self, item: Item) -> Plan | None:
        """The plan an item buys: by price id, else by lookup key, else by product."""
        name = (
            self.by_price.get(item.price)
            or self.by_price.get(item.lookup_key or "")
            or self.by_product.get(item.product or "")
        )
        return self.plans[name] if name else None
