"""Form encoding as Stripe reads it: `items[0][price]=…` becomes nested parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from millrace_lab.errors import invalid

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
PART = re.compile(r"\[([^\[\]]*)\]")
DEEPEST = 12
MOST = 2000


def nested(text: str) -> dict[str, Any]:
    """The parameters of a query or a form body. Raises StripeError 400 for what cannot be read."""
    try:
        return grown(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST))
    except UnicodeDecodeError:
        raise invalid("Invalid UTF-8 in the parameters of the request.") from None
    except ValueError:
        raise invalid(f"Too many parameters: at most {MOST} are read.") from None


def grown(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in pairs:
        _put(root, _places(name), name, value)
    return {key: _lists(value) for key, value in root.items()}


def _places(name: str) -> list[str]:
    read = NAME.fullmatch(name)
    if read is None:
        raise invalid(f"Invalid parameter name: {name[:100]}", name[:100])
    places = [read[1], *PART.findall(read[2])]
    if len(places) > DEEPEST:
        raise invalid(f"Parameters are nested too deeply: {name[:100]}", name[:100])
    return places


def _put(node: dict[str, Any], places: list[str], name: str, value: str) -> None:
    """An empty place is the next one of a list. A name cannot be a value and hold others at once."""
    for place in places[:-1]:
        node = node.setdefault(place or str(len(node)), {})
        if not isinstance(node, dict):
            raise invalid(
                f"Invalid object: {name[:100]} is given both as a value and as an object.", name[:100]
            )
    last = places[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise invalid(f"Invalid object: {name[:100]} is given both as a value and as an object.", name[:100])
    node[last] = value


def _lists(value: Any) -> Any:
    """An object whose keys are numbers is a list."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(each) for key, each in value.items()}
    if inner and all(key.isascii() and key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
