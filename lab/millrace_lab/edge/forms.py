"""Form encoding as Stripe reads it: `items[0][price]=…` becomes nested parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

PART = re.compile(r"\[([^\[\]]*)\]")


def nested(text: str) -> dict[str, Any]:
    """The parameters of a query or a form body."""
    return grown(parse_qsl(text, keep_blank_values=True))


def grown(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in pairs:
        first = name.split("[", 1)[0]
        places = [first, *PART.findall(name[len(first) :])]
        _put(root, places, value)
    return {key: _lists(value) for key, value in root.items()}


def _put(node: dict[str, Any], places: list[str], value: str) -> None:
    for place in places[:-1]:
        place = place or str(len(node))
        child = node.setdefault(place, {})
        node = child if isinstance(child, dict) else {}
    node[places[-1] or str(len(node))] = value


def _lists(value: Any) -> Any:
    """An object whose keys count from 0 is a list."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(each) for key, each in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
