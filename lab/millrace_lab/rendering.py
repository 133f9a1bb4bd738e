"""How a kept body is shown: what is ours stays hidden, what changed is named."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]
NESTED = (dict, list, tuple)


def shown(body: Any) -> Any:
    """A copy without the keys that begin with an underscore, at any depth.

    Every event and every answer goes through here: what holds nothing is passed on without a call of its own.
    """
    if isinstance(body, dict):
        return {
            key: shown(value) if isinstance(value, NESTED) else value
            for key, value in body.items()
            if key[:1] != "_"
        }
    if isinstance(body, (list, tuple)):
        return [shown(value) if isinstance(value, NESTED) else value for value in body]
    return body


def changed_from(before: Body, after: Body) -> Body:
    """Stripe's `previous_attributes`: old values of changed keys; of a changed array, the whole array.

    Source: recorded bodies; docs/lab/behaviours.md.
    """
    changed: Body = {}
    for key, old in before.items():
        if key.startswith("_"):
            continue
        new = after.get(key)
        if old is new or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
            if inner := changed_from(old, new):
                changed[key] = inner
        else:
            changed[key] = shown(old)
    return changed
