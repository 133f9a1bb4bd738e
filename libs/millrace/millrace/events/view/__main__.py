"""python -m millrace.events.view writes the table of all fields, as `docs/stripe-view.md` shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from millrace.events.view import KINDS, PARTS
from millrace.events.view.field import Field, Place, View


def table() -> str:
    """Every class with its fields: what each means and where it lives, newest place first."""
    named = dict.fromkeys([*KINDS.values(), *PARTS])
    return "\n".join(line for kind in named for line in _section(kind))


def _section(kind: type[View]) -> Iterator[str]:
    yield f"### {kind.__name__}\n\n{kind.__doc__}\n\n| field | is | lives at |\n|---|---|---|"
    yield from (_row(name, field) for name, field in kind.fields().items())
    yield ""


def _row(name: str, field: Field[object]) -> str:
    return f"| `{name}` | {field.caption} | {'; '.join(_place(p) for p in field.places if p.text)} |"


def _place(place: Place) -> str:
    where = place.text if place.rule else f"`{place.text}`"
    since = f"since {place.since}" if place.since else ""
    until = f"before {place.until}" if place.until else ""
    when = " ".join(word for word in (since, until) if word)
    return f"{where} ({when})" if when else where


if __name__ == "__main__":
    sys.stdout.write(table())
