"""The `millrace` command. Whoever is installed beside the library may add commands to it.

An entry point of the group `millrace.commands` names a function that takes the application and adds its
own; the library's commands (`millrace.commands`) are added in just that way.

Exit codes: 0 done · 2 misspelt · 78 the configuration is wrong; commands may define further ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from millrace.errors import Misconfigured

if TYPE_CHECKING:
    import typer

GROUP = "millrace.commands"


def main() -> None:
    """The console script."""
    try:
        application()()
    except Misconfigured as problem:
        print(f"millrace: {problem}", file=sys.stderr)  # noqa: T201 for a person, on one line
        sys.exit(78)


def application(others: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """The library's commands and those of the others. Raises Misconfigured when some cannot be loaded."""
    try:
        import typer
    except ModuleNotFoundError:
        raise Misconfigured(
            "the command needs the extra 'cli': install millrace[cli]; the library works without it"
        ) from None
    from millrace.commands import commands

    app = typer.Typer(
        name="millrace",
        help="Stripe's events, carried to your services exactly once.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # they would print local variables, and with them secrets
    )
    commands(app)
    for other in entry_points(group=GROUP) if others is None else others:
        _add(app, other)
    return app


def _add(app: typer.Typer, other: EntryPoint) -> None:
    try:
        add = other.load()
    except (ImportError, AttributeError) as problem:
        raise Misconfigured(
            f"the commands of {other.name!r} ({other.value}) cannot be loaded: {problem}"
        ) from problem
    add(app)
