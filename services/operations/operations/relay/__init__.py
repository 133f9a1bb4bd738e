"""`millrace relay`: the outbox relay, watched, proved, and helped on."""

from __future__ import annotations

import typer

from operations.relay import cursor, partitions, proving, quarantine, steering, watching

app = typer.Typer(
    name="relay", help="The outbox relay: where it stands, what it proves, what helps.", no_args_is_help=True
)
for command in (
    watching.status,
    watching.lag,
    watching.drain,
    proving.audit,
    proving.replay,
    steering.rebase,
    steering.reshard,
    steering.fence,
):
    app.command(command.__name__)(command)
for part in (cursor, quarantine, partitions):
    app.add_typer(part.app)
cursor.app.command("set")(steering.set_)
