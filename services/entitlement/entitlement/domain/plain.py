"""Snapshots as short JSON: places instead of names, because every subscription carries a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entitlement.domain.subscription import Item, Shape, Snapshot


def written(recent: Sequence[Snapshot]) -> dict[str, Any]:
    """The snapshots of one subscription. An object and not a list: the driver takes lists for array cells."""
    return {"snapshots": [_plain_snapshot(s) for s in recent]}


def read(plain: Mapping[str, Any]) -> tuple[Snapshot, ...]:
    """What `written` wrote."""
    return tuple(map(_snapshot, plain["snapshots"]))


def _plain_snapshot(s: Snapshot) -> list[Any]:
    return [s.kind, s.created, _plain_shape(s.before), _plain_shape(s.after), list(s.told)]


def _snapshot(plain: list[Any]) -> Snapshot:
    kind, created, before, after, told = plain
    return Snapshot(kind, created, _shape(before) if before else None, _shape(after), tuple(told))


def _plain_shape(shape: Shape | None) -> list[Any] | None:
    if shape is None:
        return None
    items = [[getattr(item, name) for name in Item.__slots__] for item in shape.items]
    return [items if name == "items" else getattr(shape, name) for name in Shape.__slots__]


def _shape(plain: list[Any]) -> Shape:
    named = dict(zip(Shape.__slots__, plain, strict=True))
    return Shape(**{**named, "items": tuple(Item(*item) for item in named["items"])})
