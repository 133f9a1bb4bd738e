"""`millrace schemas`: what an event looks like, and whether it still looks as it was promised; ours and your own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from millrace.commands import show
from millrace.commands.running import DRIFT, Json
from millrace.events.ours import Payload
from millrace.schemas import broken, of_payloads, published, schemas, text

Schemas = dict[str, dict[str, Any]]


class _Named(TyperGroup):
    """`millrace schemas NAME` is short for `millrace schemas show NAME`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


app = typer.Typer(
    name="schemas",
    help="What events look like: one JSON Schema each. `millrace schemas NAME` prints one.",
    cls=_Named,
    invoke_without_command=True,
)

Payloads = Annotated[
    str,
    typer.Option(metavar="MODULE:NAME", help="Your own payloads instead of ours: a list of Payload classes."),
]
Against = Annotated[Path, typer.Option(help="The folder of the schemas that were released.")]
PUBLISHED = Path("schemas/published")


@app.callback()
def names(ctx: typer.Context, json: Json = False) -> None:
    """The names of the schemas; with --json, the schemas themselves.

    Example: millrace schemas --json
    """
    if ctx.invoked_subcommand is None:
        if json:
            show.as_json(schemas())
        else:
            typer.echo("\n".join(schemas()))


@app.command("show")
def show_schema(
    name: Annotated[str, typer.Argument(help="A name from the list.")],
    payloads: Payloads = "",
    json: Json = False,  # what it prints is JSON anyway
) -> None:
    """Print one JSON Schema.

    Example: millrace schemas millrace.ledger.posted.v1
    """
    known = _chosen(payloads)
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="NAME")
    typer.echo(text(known[name]), nl=False)


@app.command("check")
def check(against: Against = PUBLISHED, payloads: Payloads = "", json: Json = False) -> None:
    """Hold the schemas of today against those that were released. Ends with 3 when a promise is broken.

    Example: millrace schemas check --payloads acme.events:PAYLOADS --against schemas/published
    """
    before = _released(against)
    if not before:
        _stop(f"{against} holds no schema to hold anything against: make it with `millrace schemas publish`")
    problems = broken(before, _chosen(payloads))
    if json:
        show.as_json([{"sentence": str(problem), **_parts(problem)} for problem in problems])
    elif problems:
        typer.echo("\n".join(map(str, problems)))
    else:
        typer.echo(f"{len(before)} schemas keep what was promised")
    raise typer.Exit(DRIFT if problems else 0)


@app.command("publish")
def publish(
    into: Annotated[Path, typer.Option(help="The folder of the schemas that are released.")] = PUBLISHED,
    payloads: Payloads = "",
    json: Json = False,
) -> None:
    """At a release: make the schemas of today the promise. Refuses, with 3, to break the one before.

    Example: millrace schemas publish --payloads acme.events:PAYLOADS --into schemas/published
    """
    known = _chosen(payloads)
    if problems := broken(_released(into), known):
        typer.echo("\n".join(map(str, problems)), err=True)
        raise typer.Exit(DRIFT)
    try:
        written = [str(path) for path in published.write(into, known)]
    except OSError as problem:
        _stop(f"{into} cannot be written: {problem.strerror}")
    if json:
        show.as_json(written)
    else:
        typer.echo("\n".join(written) or f"{into} says this already")


def _stop(what: str) -> NoReturn:
    typer.echo(what, err=True)
    raise typer.Exit(1)


def _released(folder: Path) -> Schemas:
    try:
        return published.read(folder)
    except (ValueError, OSError) as problem:
        _stop(str(problem))


def _chosen(payloads: str) -> Schemas:
    """Ours, or those of a module of the current folder or of an installed distribution."""
    return of_payloads(_payloads(payloads), ()) if payloads else schemas()


def _payloads(said: str) -> Sequence[type[Payload]]:
    module, _, name = said.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name or "PAYLOADS")
    except (ImportError, AttributeError, ValueError) as problem:
        raise typer.BadParameter(f"{said!r} cannot be loaded: {problem}", param_hint="--payloads") from None
    finally:
        sys.path.pop(0)
    if isinstance(found, type):
        found = (found,)
    if not (isinstance(found, (list, tuple)) and all(map(_is_payload, found)) and found):
        what = f"{said!r} is no list of Payload classes: write PAYLOADS = (OrderPlaced, …)"
        raise typer.BadParameter(what, param_hint="--payloads")
    return found


def _is_payload(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Payload)


def _parts(problem: Any) -> dict[str, str]:
    return {part: getattr(problem, part) for part in ("schema", "where", "what", "why", "instead")}
