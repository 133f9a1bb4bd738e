"""What the library itself adds to the `millrace` command: what others build on, and the consumers they run.

They work on every consumer of a database, ours and anybody's, by the tables that each keeps, never by its code.
Exit codes: 0 all is well · 1 something could not be done · 2 misspelt · 3 something is not as it should be ·
78 configuration.
"""

from __future__ import annotations

import typer

from millrace.commands import consumers, parked, schemas
from millrace.commands.topics import list_topics
from millrace.scaffold import command as scaffold


def commands(app: typer.Typer) -> None:
    """Add the library's commands."""
    app.command("topics")(list_topics)
    app.add_typer(schemas.app)
    app.add_typer(consumers.app)
    app.add_typer(parked.app)
    app.add_typer(scaffold.app)
