"""The catalog file: read, checked line by line, and replaced only by a file without a mistake.

version: "2026-07"                       # any string; a change of content is a new version
effective_from: 2026-07-01T00:00:00Z
features:
  boards: {kind: limit}                  # switch | limit | seats
  export: {kind: switch, when_restricted: keep}    # dunning does not touch it; default: deny
plans:
  team:
    prices: [price_123]                  # Stripe's price ids
    lookup_keys: [team_monthly_usd]
    products: [prod_team]                # any price of the product that is named nowhere else
    features: {boards: 20, export: true} # switch: true/false; limit: a number or unlimited;
                                         # seats: true, or the number included on top of the quantity
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from entitlement import metrics
from entitlement.domain.plans import KINDS, UNLIMITED, Catalog, Feature, Plan
from millrace.clock import Clock
from millrace.documents import Fields, Node, Watched, load
from millrace.errors import Misconfigured

log = logging.getLogger("entitlement.catalog")

REFERENCES = ("prices", "lookup_keys", "products")


def read(path: Path) -> Catalog:
    """The catalog in a file. Raises Misconfigured, naming file, line and fix."""
    top = load(path, "ENTITLEMENT_CATALOG").fields("version", "effective_from", "features", "plans")
    features = {name: _feature(name, node) for name, node in top["features"].entries().items()}
    plans = {
        name: node.fields(optional=(*REFERENCES, "features")) for name, node in top["plans"].entries().items()
    }
    return Catalog(
        version=top["version"].text(),
        effective_from=top["effective_from"].instant(),
        features=features,
        plans={name: Plan(name, dict(_gives(fields, features))) for name, fields in plans.items()},
        by_price=_owners(plans, ("prices", "lookup_keys")),
        by_product=_owners(plans, ("products",)),
    )


def _feature(name: str, node: Node) -> Feature:
    fields = node.fields("kind", optional=["when_restricted"])
    return Feature(name, fields["kind"].choice(*KINDS), fields.given("when_restricted", _grip, "deny"))


def _grip(node: Node) -> Literal["deny", "keep"]:
    return node.choice("deny", "keep")


def _gives(plan: Fields, features: Mapping[str, Feature]) -> Iterator[tuple[str, int]]:
    """(feature, limit) of everything a plan gives; a switch that is off is not given."""
    for name, node in (plan["features"].entries() if "features" in plan else {}).items():
        if name not in features:
            node.wrong("no such feature", f"declare it under `features:` or use {', '.join(features)}")
        if (limit := LIMITS[features[name].kind](node)) is not None:
            yield name, limit


def _switch(node: Node) -> int | None:
    return 0 if node.flag() else None


def _limit(node: Node) -> int | None:
    return UNLIMITED if node.says("unlimited") else node.whole("a limit", instead="unlimited")


def _seats(node: Node) -> int | None:
    return _switch(node) if node.is_flag() else node.whole("a number of seats", instead="true")


LIMITS: Mapping[str, Callable[[Node], int | None]] = {"switch": _switch, "limit": _limit, "seats": _seats}


def _owners(plans: Mapping[str, Fields], lists: tuple[str, ...]) -> dict[str, str]:
    """Price, lookup key or product -> the one plan that names it."""
    owners: dict[str, str] = {}
    for plan, fields in plans.items():
        for node in (node for name in lists if name in fields for node in fields[name].items()):
            if (reference := node.text()) in owners:
                node.wrong(f"{reference!r} belongs to plan {owners[reference]!r} already", "name it once")
            owners[reference] = plan
    return owners


class InForce:
    """The catalog in force: the file's, if it is valid and its time has come; otherwise the one before.

    Raises: Misconfigured at the start only; later a bad file is refused and the running version stays.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock, self.running = clock, read(path)
        self.file = Watched(path, self._unlike_running)
        if self.running.effective_from > clock.now():
            raise Misconfigured(
                f"{path}: effective_from {self.running.effective_from} has not come yet; "
                "start with a version that is in force"
            )
        self._show()

    def current(self) -> Catalog:
        """The version in force; the file is read only when it has changed."""
        newest = self.file()
        is_new = newest.version != self.running.version and not self.file.refused
        if is_new and newest.effective_from <= self.clock.now():
            self.running = newest
            self._show()
        return self.running

    def _unlike_running(self, path: Path) -> Catalog:
        """The catalog in the file. Raises Misconfigured where one version would have two contents."""
        fresh = read(path)
        if fresh.version == self.running.version and fresh != self.running:
            raise Misconfigured(
                f"{path}:1: version {fresh.version!r} is in force with other content; name a new version"
            )
        return fresh

    def _show(self) -> None:
        metrics.CATALOG_VERSION.clear()
        metrics.CATALOG_VERSION.labels(self.running.version).set(1)
        log.info("catalog in force", extra={"catalog": self.running.version})
