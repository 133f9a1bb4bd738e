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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml

from entitlement import metrics
from entitlement.domain.plans import KINDS, UNLIMITED, Catalog, Feature, Plan
from millrace.clock import Clock
from millrace.errors import Misconfigured

log = logging.getLogger("entitlement.catalog")

REFERENCES = ("prices", "lookup_keys", "products")


@dataclass(frozen=True, slots=True)
class Spot:
    """One place in a file: what stands there, and how to complain about it."""

    path: Path
    node: yaml.Node
    name: str = ""

    def wrong(self, what: str, fix: str) -> Misconfigured:
        line = self.node.start_mark.line + 1
        return Misconfigured(f"{self.path}:{line}: {self.name + ': ' if self.name else ''}{what}; {fix}")

    def mapping(self, known: tuple[str, ...] = (), needed: tuple[str, ...] = ()) -> dict[str, Spot]:
        """The entries of a mapping; only `known` keys where any are given."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("is not a mapping", "write `key: value` lines below it")
        found: dict[str, Spot] = {}
        for key, value in self.node.value:
            spot = Spot(self.path, value, f"{self.name}.{key.value}".lstrip("."))
            at_key = Spot(self.path, key, self.name)
            if known and key.value not in known:
                raise at_key.wrong(f"unknown key {key.value!r}", f"use {', '.join(known)}")
            if key.value in found:
                raise at_key.wrong(f"{key.value!r} is given twice", "remove one of them")
            found[key.value] = spot
        if missing := [name for name in needed if name not in found]:
            raise self.wrong(f"{missing[0]!r} is missing", f"add `{missing[0]}:`")
        return found

    def texts(self) -> list[Spot]:
        """The elements of a list of strings."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong("is not a list", "write [a, b]")
        return [Spot(self.path, node, self.name) for node in self.node.value]

    def text(self) -> str:
        value = self.value()
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{value!r} is not a text", 'write it in "quotes"')
        return value

    def one_of(self, *choices: str) -> str:
        value = self.value()
        if value not in choices:
            raise self.wrong(f"{value!r} is not known", f"use {' or '.join(choices)}")
        return cast(str, value)

    def value(self) -> Any:
        """What YAML makes of a scalar."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.wrong("is not a single value", "write one value")
        try:
            return yaml.safe_load(yaml.serialize(self.node))
        except (yaml.YAMLError, ValueError) as problem:
            raise self.wrong(f"cannot be read ({problem})", "write a valid value") from problem


def read(path: Path) -> Catalog:
    """The catalog in a file. Raises Misconfigured, naming file, line and fix."""
    top = _root(path).mapping(
        ("version", "effective_from", "features", "plans"), ("version", "effective_from", "features", "plans")
    )
    features = {name: _feature(name, spot) for name, spot in top["features"].mapping().items()}
    plans = {name: spot.mapping((*REFERENCES, "features")) for name, spot in top["plans"].mapping().items()}
    return Catalog(
        version=top["version"].text(),
        effective_from=_instant(top["effective_from"]),
        features=features,
        plans={name: Plan(name, dict(_gives(parts, features))) for name, parts in plans.items()},
        by_price=_owners(plans, ("prices", "lookup_keys")),
        by_product=_owners(plans, ("products",)),
    )


def _root(path: Path) -> Spot:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line = mark.line + 1 if mark else 1
        raise Misconfigured(f"{path}:{line}: not YAML: {problem.problem}; mend the line") from problem
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise Misconfigured(f"{path}:1: cannot be read: {problem}; give a readable YAML file") from problem
    if node is None:
        raise Misconfigured(f"{path}:1: is empty; begin with `version:`")
    return Spot(path, node)


def _instant(spot: Spot) -> datetime:
    value = spot.value()
    if not isinstance(value, datetime):
        raise spot.wrong(f"{value!r} is not an instant", "write 2026-07-01T00:00:00Z")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _feature(name: str, spot: Spot) -> Feature:
    parts = spot.mapping(("kind", "when_restricted"), ("kind",))
    kind = cast(Any, parts["kind"].one_of(*KINDS))
    held = parts["when_restricted"].one_of("deny", "keep") if "when_restricted" in parts else "deny"
    return Feature(name, kind, cast(Any, held))


def _gives(parts: Mapping[str, Spot], features: Mapping[str, Feature]) -> Iterator[tuple[str, int]]:
    """(feature, limit) of everything a plan gives; a switch that is off is not given."""
    if "features" not in parts:
        return
    for name, spot in parts["features"].mapping().items():
        if name not in features:
            raise spot.wrong("no such feature", f"declare it under `features:` or use {', '.join(features)}")
        given = LIMITS[features[name].kind](spot)
        if given is not None:
            yield name, given


def _switch(spot: Spot) -> int | None:
    if not isinstance(spot.value(), bool):
        raise spot.wrong(f"{spot.value()!r} is not a switch", "write true or false")
    return 0 if spot.value() else None


def _number(spot: Spot) -> int | None:
    value = spot.value()
    if value == "unlimited":
        return UNLIMITED
    if type(value) is not int or value < 0:
        raise spot.wrong(f"{value!r} is not a limit", "write a whole number from 0, or unlimited")
    return value


def _seats(spot: Spot) -> int | None:
    value = spot.value()
    if isinstance(value, bool):
        return 0 if value else None
    if type(value) is not int or value < 0:
        raise spot.wrong(f"{value!r} is not a number of seats", "write true, or the seats that are included")
    return value


LIMITS: Mapping[str, Callable[[Spot], int | None]] = {"switch": _switch, "limit": _number, "seats": _seats}


def _owners(plans: Mapping[str, Mapping[str, Spot]], lists: tuple[str, ...]) -> dict[str, str]:
    """Price, lookup key or product -> the one plan that names it."""
    owners: dict[str, str] = {}
    for plan, parts in plans.items():
        for spot in (spot for name in lists if name in parts for spot in parts[name].texts()):
            reference = spot.text()
            if reference in owners:
                raise spot.wrong(
                    f"{reference!r} belongs to plan {owners[reference]!r} already", "name it once"
                )
            owners[reference] = plan
    return owners


class Watched:
    """The catalog in force: the file's, if it is valid and its time has come; otherwise the one before.

    Raises: Misconfigured at the start only; later a bad file is logged, shown as a metric and not used.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.seen = _stamp(path)
        self.running, self.next = read(path), cast(Catalog | None, None)
        if self.running.effective_from > clock.now():
            raise Misconfigured(
                f"{path}: effective_from {self.running.effective_from} has not come yet; "
                "start with a version that is in force"
            )
        self._show()

    def current(self) -> Catalog:
        """The version in force; looks at the file's time stamp, and reads it only when that has changed."""
        if (stamp := _stamp(self.path)) != self.seen:
            self.seen = stamp
            self._reload()
        if self.next and self.next.effective_from <= self.clock.now():
            self.running, self.next = self.next, None
            self._show()
        return self.running

    def _reload(self) -> None:
        try:
            fresh = read(self.path)
            self._refuse_silent_change(fresh)
        except Misconfigured as problem:
            self.next = None
            log.error("catalog refused", extra={"problem": str(problem), "running": self.running.version})
            metrics.CATALOG_INVALID.set(1)
        else:
            self.next = fresh
            metrics.CATALOG_INVALID.set(0)

    def _refuse_silent_change(self, fresh: Catalog) -> None:
        if fresh.version == self.running.version and fresh != self.running:
            raise Misconfigured(
                f"{self.path}:1: version {fresh.version!r} is in force with other content; name a new version"
            )

    def _show(self) -> None:
        metrics.CATALOG_VERSION.clear()
        metrics.CATALOG_VERSION.labels(self.running.version).set(1)
        log.info("catalog in force", extra={"catalog": self.running.version})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
