"""python -m lab: the local stack from a terminal.

What happens is said on standard error, in short lines; the answer goes to standard output, as a table
or as JSON. Exit codes: 0 it is so, 1 it is not (the reason in one sentence), 2 a wrong command line.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lab.stack import follow, manage
from lab.stack.errors import StackError
from lab.stack.jars import CHECKOUT
from lab.stack.manage import Stack

EXAMPLES = """
Examples:

    python -m lab up                  # PostgreSQL and one Kafka broker

    python -m lab up --brokers 3      # three brokers, to stop one of them

    python -m lab status --json       # addresses for a script

    python -m lab logs kafka -f       # follow the broker's log

    python -m lab down --wipe         # stop, and remove the data
"""

app = typer.Typer(
    help="The local stack: a real PostgreSQL and a real Apache Kafka, with Docker or without.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Folder = Annotated[
    Path, typer.Option(help="Where data, logs and records of this stack are.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
HOME = CHECKOUT / ".millrace" / "stack"


@app.command()
def up(
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1 or 3.")] = 1,
    as_json: Json = False,
    folder: Folder = HOME,
) -> None:
    """Start PostgreSQL and Kafka, or say where they are if they run already.

    Taken in this order: the addresses in MILLRACE_LAB_POSTGRES and MILLRACE_LAB_KAFKA; Docker; this
    machine's own PostgreSQL and Java. The first time downloads Kafka (55 MB). They run until `down`.
    """
    if brokers not in (1, 3):
        raise typer.BadParameter("a cluster has 1 broker or 3", param_hint="--brokers")
    with _told():
        try:
            _show(manage.up(folder, brokers=brokers, say=_say), as_json)
        except KeyboardInterrupt:
            _say("stopping what was started")
            manage.down(folder)
            raise


@app.command()
def down(
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove data and logs as well.")] = False,
    folder: Folder = HOME,
) -> None:
    """Stop what `up` started. The data stays for the next `up`, unless wiped."""
    with _told():
        manage.down(folder, wipe=wipe)
        _say("stopped, data removed" if wipe else "stopped; the data stays (--wipe removes it)")


@app.command()
def status(as_json: Json = False, folder: Folder = HOME) -> None:
    """Say where the servers are. Exit code 1 when one of them does not answer."""
    with _told():
        if found := manage.status(folder):
            _show(found, as_json)
            return
        for name in manage.PIECES:
            piece = manage.pieces(folder).get(name)
            _say(f"{name}: {'runs' if piece and piece.running() else 'does not run'}")
        raise StackError("the stack is not up; start it with `python -m lab up`")


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="postgres or kafka; both when left out.", show_default=False)
    ] = "",
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines of the end.")] = 50,
    folder: Folder = HOME,
) -> None:
    """Show the end of the servers' logs."""
    if name and name not in manage.PIECES:
        raise typer.BadParameter(f"{name} is neither postgres nor kafka", param_hint="NAME")
    with _told():
        found = manage.pieces(folder)
        paths = [path for piece in found if name in ("", piece) for path in found[piece].logs()]
        if not paths:
            raise StackError("no stack was ever started in this folder; start one with `python -m lab up`")
        for line in follow.lines(paths, last=lines, forever=following):
            typer.echo(line)


def _say(line: str) -> None:
    typer.echo(line, err=True)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A problem of the stack is a sentence and exit code 1, never a traceback."""
    try:
        yield
    except StackError as problem:
        _say(f"lab: {problem}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _show(stack: Stack, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**asdict(stack), "taken": dict(stack.taken)}))
        return
    for name, address in (("postgres", stack.postgres), ("kafka", stack.kafka)):
        typer.echo(f"{name:<10}{address}   ({stack.taken[name]})")
