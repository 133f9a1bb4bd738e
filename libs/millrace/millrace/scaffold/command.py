"""`millrace consumer new`: a consumer's project that passes its own checks as it is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from millrace.scaffold import Form, Refused, create, why_not

app = typer.Typer(name="consumer", help="Begin a consumer of your own.", no_args_is_help=True)

NEXT = """\
Written: {files} files in {folder}

  cd {folder}
  make setup     # .venv, with millrace from where your company keeps it
  make check     # style, types, imports
  make unit      # its tests, in milliseconds

Then say in {name}/{edge} which events concern it, in {name}/domain.py what they mean,
and in {name}/migrations what it keeps. README.md says how it is migrated and run."""

Name = Annotated[str, typer.Argument(help="Of the package, the consumer group, the schema and the role.")]
Into = Annotated[Path, typer.Option(help="The folder that gets the project as a folder of its own.")]
Fold = Annotated[
    bool, typer.Option("--fold/--each", help="Pure rules over a state a key, or one handler an event type.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]


@app.callback()
def consumer() -> None:
    """Begin a consumer of your own."""


@app.command("new")
def new(name: Name, into: Into = Path(), fold: Fold = True, as_json: AsJson = False) -> None:
    """Write the project of a new consumer: code, migration, tests, manifest. Overwrites nothing.

    Example: millrace consumer new welcome --each --into ~/code

    Exit codes: 0 written · 1 could not be written · 2 misspelt.
    """
    if why := why_not(name):
        raise typer.BadParameter(f"{name!r}: {why}", param_hint="NAME")
    form: Form = "fold" if fold else "each"
    try:
        files = create(name, into, form)
    except (Refused, OSError) as problem:
        print(f"millrace: {problem}", file=sys.stderr)  # noqa: T201 for a person, on one line
        raise typer.Exit(1) from None
    folder = into / name
    if as_json:
        said = {
            "name": name,
            "form": form,
            "folder": str(folder),
            "files": [str(f.relative_to(folder)) for f in files],
        }
        typer.echo(orjson.dumps(said, option=orjson.OPT_INDENT_2))
        return
    edge = "fold.py" if fold else "handlers.py"
    typer.echo(NEXT.format(name=name, files=len(files), folder=folder, edge=edge))
