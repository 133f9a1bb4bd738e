"""`millrace relay partitions`: the days of the outbox, made ahead, and dropped when nobody needs them any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import typer
from rich.progress import Progress

from millrace import outbox, postgres
from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings
from outbox_relay.commands import days

app = typer.Typer(
    name="partitions",
    help="The days of the outbox: what they hold, made ahead, dropped when audited.",
    no_args_is_help=True,
)
Keep = Annotated[int, typer.Option(min=1, help="Days that stay whatever has become of their rows.")]


@app.command()
def plan(keep_days: Keep = days.KEEP_DAYS, json: Json = False) -> None:
    """Every day with what it holds, and why it stays. Exit code 3 when one is overdue, or one ahead is missing.

    Example: millrace relay partitions plan --json | jq '.days[] | select(.kept == "")'
    """
    settings = Settings.read()

    async def run() -> days.Days:
        async with running.connection(settings) as connection:
            return await days.plan(connection, keep_days)

    found = running.run(run())
    if json:
        show.as_json({"days": _plain(found.days), "missing": found.missing})
    else:
        _show(found.days)
    _end(found.missing, found.days)


@app.command()
def make(
    days_ahead: Annotated[
        int, typer.Option("--days", min=1, max=366, help="How many ahead.")
    ] = outbox.DAYS_AHEAD,
    json: Json = False,
) -> None:
    """Make the days ahead that are missing; waits for no writer. Exit code 3 when one is missing all the same.

    Example: millrace relay partitions make --days 14
    """
    settings = Settings.read()

    async def run() -> tuple[list[date], list[date]]:
        async with running.connection(settings) as connection:
            return await days.make(connection, days_ahead)

    made, missing = running.run(run())
    if json:
        show.as_json({"made": made, "missing": missing})
    else:
        show.console.print(f"made {', '.join(map(str, made))}" if made else "every day was there")
    _end(missing)


@app.command()
def drop(
    keep_days: Keep = days.KEEP_DAYS,
    claims_days: Annotated[
        int,
        typer.Option(min=1, help="Days a payload too large for Kafka stays; longer than any topic keeps it."),
    ] = days.CLAIMS_DAYS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be dropped.")] = False,
    json: Json = False,
) -> None:
    """Drop the days whose every row is published, audited and old. Stops no writer, deletes no row by itself.

    Exit code 3 when a day that should be gone is kept; the reason is printed. Run again, it goes on where it stopped.

    Example: millrace relay partitions drop --keep-days 14 --dry-run
    """  # fmt: skip
    settings = Settings.read()

    async def run() -> tuple[days.Days, int]:
        async with running.connection(settings) as connection:
            found = await days.plan(connection, keep_days)
            if dry_run:
                return found, 0
            with Progress(console=show.console, transient=True, disable=json) as bar:
                judged = await _drop(connection, settings, found.days, bar)
            return days.Days(judged, found.missing), await _forget(connection, settings, claims_days)

    found, claims = running.run(run())
    gone = [one.day.name for one in found.days if one.due and not one.kept]
    if json:
        show.as_json({"dropped": [] if dry_run else gone, "would_drop": gone if dry_run else [],
                      "kept": _plain(one for one in found.days if one.kept),
                      "claims": claims, "missing": found.missing})  # fmt: skip
    else:
        words = ", ".join(gone) or "no day"
        show.console.print(
            f"would drop {words}" if dry_run else f"dropped {words}; {claims:,} claims removed"
        )
    _end(found.missing, found.days)


async def _drop(
    connection: postgres.Connection, settings: Settings, found: Sequence[days.Judged], bar: Progress
) -> list[days.Judged]:
    """Drop what may go; returns all days as they are judged afterwards."""
    going = [one for one in found if not one.kept]
    task = bar.add_task("dropping", total=len(going))
    judged = [one for one in found if one.kept]
    for one in going:

        async def witness(tx: postgres.Transaction, day: days.Day = one.day) -> None:
            await running.audited(tx, settings, "dropped day", day.name, "published, audited and old")

        judged.append(days.Judged(one.day, await days.drop(connection, one.day, witness), due=True))
        bar.advance(task)
    return judged


async def _forget(connection: postgres.Connection, settings: Settings, claims_days: int) -> int:
    async with connection.transaction():
        if count := await days.forget_claims(connection, claims_days):
            await running.audited(
                connection, settings, "removed claims", f"{count}", f"older than {claims_days} days"
            )
        return count


def _show(found: Sequence[days.Judged]) -> None:
    rows = [(one.day.day, one.day.rows, one.day.bytes, one.kept or "may be dropped") for one in found]
    show.table("Days of the outbox", ["!day (UTC)", "#rows, about", "#bytes", "stays because"], rows)


def _plain(found: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": one.day.name,
            "day": one.day.day,
            "rows": one.day.rows,
            "bytes": one.day.bytes,
            "kept": one.kept,
        }
        for one in found
    ]


def _end(missing: Sequence[date], found: Sequence[days.Judged] = ()) -> None:
    """What is not as it should be, a line each, and the exit code that says so."""
    for day in missing:
        typer.echo(f"{day} has no table, rows will be refused: millrace relay partitions make", err=True)
    blocked = [one for one in found if one.blocked]
    for one in blocked:
        typer.echo(f"{one.day.name} should be gone: {one.kept}; see runbook/outbox-partitions.md", err=True)
    raise typer.Exit(DRIFT if missing or blocked else 0)
