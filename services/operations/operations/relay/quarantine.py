"""`millrace relay quarantine`: outbox rows that could not be published, and what is to become of them.

A payload is never on the screen: it may be personal. The relay carries a decision out, not the command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings
from outbox_relay.commands import quarantine
from outbox_relay.commands.quarantine import Action, Content, Entry, Wanted

app = typer.Typer(
    name="quarantine", help="Rows that could not be published: see, retry, drop.", no_args_is_help=True
)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids of outbox rows.", show_default=False)]
Key = Annotated[str | None, typer.Option(help="Only rows of this key, acct_…/cus_….")]
Topic = Annotated[str | None, typer.Option(help="Only rows for this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only rows parked for this reason: too_large, …")]
All = Annotated[bool, typer.Option("--all", help="Everything that is parked.")]


@app.command("list")
def list_(
    key: Key = None,
    topic: Topic = None,
    reason: Reason = None,
    ended: Annotated[bool, typer.Option("--ended", help="Also what was published or dropped since.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 1000,
    json: Json = False,
) -> None:
    """What is in quarantine, oldest first. Exit code 3 when anything is.

    Example: millrace relay quarantine list --topic stripe.billing
    """
    settings = Settings.read()

    async def run() -> list[Entry]:
        async with running.connection(settings) as connection:
            wanted = Wanted(None, key, topic, reason)
            return await quarantine.parked(connection, wanted, ended=ended, limit=limit)

    found = running.run(run())
    if json:
        show.as_json(found)
    else:
        rows = [(e.id, e.topic, e.key, e.status, e.reason, e.bytes, e.parked_at) for e in found]
        show.table("Quarantine", ["#row", "!topic", "key", "status", "!reason", "#bytes", "since"], rows)
    raise typer.Exit(DRIFT if any(entry.ended_at is None for entry in found) else 0)


@app.command("show")
def show_(
    row: Annotated[int, typer.Argument(help="Id of the outbox row.")],
    payload: Annotated[
        Path | None, typer.Option(help="Write the payload to this file; the audit log has that you did.")
    ] = None,
    json: Json = False,
) -> None:
    """One row: what is known of it, and why it could not go. Exit code 3 when it is not in quarantine.

    Example: millrace relay quarantine show 48211 --payload row.json
    """
    settings = Settings.read()

    async def run() -> tuple[Entry | None, Content | None]:
        async with running.connection(settings) as connection:
            found = await quarantine.parked(connection, Wanted([row]), ended=True)
            if not found or not payload:
                return (found[0] if found else None), None
            async with connection.transaction():
                await running.audited(connection, settings, "read parked payload", str(row), f"to {payload}")
            return found[0], await quarantine.content(connection, row)

    entry, content = running.run(run())
    if entry is None:
        _stop(f"row {row} is not in quarantine; `millrace relay quarantine list` shows what is")
    if payload and content:
        payload.write_bytes(content.payload)
    if json:
        show.as_json(entry)
    else:
        show.table(f"Row {row}", ["!field", "value"], entry._asdict().items())
    if content and content.packed:
        typer.echo(f"warning: {payload} is as it rests: it does not unpack", err=True)


@app.command()
def retry(
    rows: Ids = None, key: Key = None, topic: Topic = None, reason: Reason = None, all_: All = False,
    why: Annotated[str, typer.Option(help="What has changed; goes into the audit log.")] = "",
    json: Json = False,
) -> None:  # fmt: skip
    """Have rows tried again, once and in the order of their keys. What still cannot go is parked again.

    Where a row holds up its key, all rows of the key are tried. Exit code 3 when no parked row is meant.

    Example: millrace relay quarantine retry --reason unknown_topic --why "the topic is there now"
    """
    wanted = _wanted(rows, key, topic, reason, all_)
    _decide("retry", wanted, why or "tried again", json)


@app.command()
def drop(
    rows: Ids = None, key: Key = None, topic: Topic = None, reason: Reason = None, all_: All = False,
    why: Annotated[str, typer.Option(help="Why nobody needs them; goes into the audit log.")] = "",
    json: Json = False,
) -> None:  # fmt: skip
    """Never publish these rows. They stay in the table; what waits behind them is let go. Needs --why.

    Example: millrace relay quarantine drop 48211 --why "ticket 4711: sent by hand on Tuesday"
    """
    if not why.strip():
        raise typer.BadParameter('a dropped row is never published: say why with --why "…"')
    _decide("drop", _wanted(rows, key, topic, reason, all_), why, json)


def _wanted(
    rows: list[int] | None, key: str | None, topic: str | None, reason: str | None, all_: bool
) -> Wanted:
    """Refuses to mean everything by saying nothing."""
    if all_ == bool(rows or key or topic or reason):
        raise typer.BadParameter("say which rows: ids, --key, --topic, --reason, or --all alone")
    return Wanted(rows or None, key, topic, reason)


def _decide(action: Action, wanted: Wanted, why: str, json: bool) -> None:
    settings = Settings.read()

    async def run() -> list[int]:
        async with running.connection(settings) as connection, connection.transaction():
            decided = await quarantine.decide(connection, wanted, action, running.operator(), why)
            await running.audited_each(connection, settings, f"{action} parked row", map(str, decided), why)
            return decided

    decided = running.run(run())
    if json:
        show.as_json({"action": action, "rows": decided})
    elif decided:
        show.console.print(f"{len(decided):,} rows: {action}. The relay does it within seconds; see `list`")
    if not decided:
        _stop("no parked row is meant; `millrace relay quarantine list` shows what is")


def _stop(what: str) -> NoReturn:
    typer.echo(f"millrace: {what}", err=True)
    raise typer.Exit(DRIFT)
