"""The answer: rendered in the caller's version, with ids replaced by what they name where asked.

Source: docs.stripe.com/api/expanding_objects (at most four levels; `data.` in lists).
"""

from __future__ import annotations

import re
from typing import Any

from millrace_lab.account import Step
from millrace_lab.composition import INCLUDED
from millrace_lab.errors import Body, StripeError, invalid
from millrace_lab.operations import Page
from millrace_lab.versions import rendered

DEEPEST = 4
AN_ID = re.compile(r"[a-z]+(_[a-z]+)*_(?=.*[A-Z0-9])\w+")


def paths_of(expand: Any) -> list[str]:
    """The asked paths. Raises StripeError 400 where they are no list of paths, or too deep."""
    if not isinstance(expand, list) or not all(isinstance(path, str) for path in expand):
        raise invalid("Invalid array", "expand")
    for path in expand:
        if path.count(".") >= DEEPEST:
            raise invalid(
                f"You cannot expand more than {DEEPEST} levels of a property. Property: {path}", "expand"
            )
    return expand


def answer(step: Step, result: Body | Page, paths: list[str], version: str, *, second: bool) -> Body:
    """An operation's result as it is sent. `second`: a list of the second API has another shape."""
    if not isinstance(result, Page):
        return _expanded(step, rendered(result, version, step.find), paths, version)
    inner = [_inner(path) for path in paths]
    data = [_expanded(step, rendered(body, version, step.find), inner, version) for body in result.data]
    if second:
        return {
            "data": data,
            "next_page_url": result.url if result.has_more else None,
            "previous_page_url": None,
        }
    return {"object": "list", "data": data, "has_more": result.has_more, "url": result.url}


def _inner(path: str) -> str:
    if not path.startswith("data."):
        raise invalid(
            f"This property cannot be expanded ({path}). You may want to try expanding 'data.{path}' instead.",
            "expand",
        )
    return path.removeprefix("data.")


def _expanded(step: Step, body: Body, paths: list[str], version: str) -> Body:
    for path in paths:
        _expand(step, body, path.split("."), path, version)
    return body


def _expand(step: Step, body: Any, parts: list[str], path: str, version: str) -> None:
    """Replace the ids along a path by what they name."""
    if isinstance(body, list):
        for each in body:
            _expand(step, each, parts, path, version)
        return
    if not isinstance(body, dict) or not parts:
        return
    name = parts[0]
    kind = body.get("object")  # of an event's `data` it is the object itself, no name
    included = INCLUDED.get((kind, name)) if isinstance(kind, str) else None
    if name not in body and included is not None:
        body[name] = rendered(included(step, step.find(body["id"]) or body), version, step.find)
    if name not in body and not body.get("deleted"):
        raise _unexpandable(path)
    body[name] = _named(step, body.get(name), path, version)
    _expand(step, body[name], parts[1:], path, version)


def _named(step: Step, value: Any, path: str, version: str) -> Any:
    if isinstance(value, list):
        return [_named(step, each, path, version) for each in value]
    if isinstance(value, (bool, int)) or (isinstance(value, str) and not _known(step, value)):
        raise _unexpandable(path)
    if isinstance(value, str):
        return rendered(step.find(value), version, step.find) or value
    return value


def _known(step: Step, value: str) -> bool:
    """Whether a text is an id: of something that is here, or at least shaped like one."""
    return step.find(value) is not None or AN_ID.fullmatch(value) is not None


def _unexpandable(path: str) -> StripeError:
    return invalid(f"This property cannot be expanded ({path}).", "expand")
