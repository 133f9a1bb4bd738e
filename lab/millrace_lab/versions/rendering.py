"""A body in one version: the changes from the newest one back, at every depth, then hiding what is ours."""

from __future__ import annotations

from typing import Any

from millrace_lab.rendering import changed_from, shown
from millrace_lab.versions.known import NEWEST
from millrace_lab.versions.table import Body, Change, Find, changes_after

AS_TOLD = ("event",)  # what is inside was rendered already, in a version of its own


def _nothing(_: str) -> Body | None:
    return None


def rendered(body: Any, version: str = NEWEST, find: Find = _nothing) -> Any:
    """A copy of a kept body as a caller of that version sees it.

    `find` gives an object by its id: older versions show some whole where newer ones name them.
    """
    if version == NEWEST:
        return shown(body)
    return shown(_walked(body, changes_after(version), find))


def _walked(value: Any, changes: dict[str, tuple[Change, ...]], find: Find) -> Any:
    if isinstance(value, list):
        return [_walked(each, changes, find) for each in value]
    if not isinstance(value, dict) or value.get("object") in AS_TOLD:
        return value
    if not value.get("deleted"):
        for change in changes.get(value.get("object", ""), ()):
            value = change(value, find)
    return {key: each if key[:1] == "_" else _walked(each, changes, find) for key, each in value.items()}


def previous_attributes(after: Body, previous: Body, version: str = NEWEST, find: Find = _nothing) -> Body:
    """What an update changed, in the words of a version: `previous` is in those of the newest one.

    The body before is put together from the two and rendered as well. A key that the version shows just as
    the newest one does keeps the old value that was told. What hidden keys were is not known any more: a
    charge or an intent of an older version's invoice is never among the changes.
    """
    if version == NEWEST:
        return previous
    now, newest = rendered(after, version, find), shown(after)
    then = rendered(_with(after, previous), version, find)
    same = {key: old for key, old in previous.items() if key in now and now[key] == newest.get(key)}
    return changed_from(then, now) | same


def _with(after: Body, previous: Body) -> Body:
    """The body as it was before: nested objects that were changed in part keep the rest."""
    merged = dict(after)
    for key, old in previous.items():
        now = after.get(key)
        partial = isinstance(old, dict) and isinstance(now, dict) and old.keys() < now.keys()
        merged[key] = _with(now, old) if partial and now is not None else old
    return merged
