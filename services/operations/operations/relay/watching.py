"""`millrace relay status`, `lag` and `drain`: where the relay stands, what waits, and when it has caught up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.progress import Progress

from millrace import postgres
from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings
from outbox_relay import commands
from outbox_relay.commands import Standing

NOW = """
-- The database's own time: the ages of its rows are told by it.
select clock_timestamp()
"""


async def _now(connection: postgres.Connection) -> datetime:
    now: datetime = await connection.fetchval(NOW)
    return now


def status(json: Json = False) -> None:
    """Each lane of the relay: who leads, what waits, what was proved. Exit code 3 when something needs a person.

    Example: millrace relay status --json | jq '.[].verdict'
    """
    settings = Settings.read()

    async def run() -> tuple[list[Standing], datetime]:
        async with running.connection(settings) as connection:
            found = [
                await commands.stand(connection, settings.kafka, lane, settings.relay_cursor_topic)
                for lane in settings.relay_lanes
            ]
            return found, await _now(connection)

    lanes, now = running.run(run())
    if json:
        show.as_json(
            [{"verdict": it.verdict(now), "problems": it.problems(now), **_plain(it)} for it in lanes]
        )
    else:
        for it in lanes:
            show.table(f"Lane {it.lane}", ["!", ""], _lines(it, now))
    raise typer.Exit(DRIFT if any(it.problems(now) for it in lanes) else 0)


def _plain(it: Standing) -> dict[str, Any]:
    return {name: getattr(it, name) for name in it.__dataclass_fields__}


def _lines(it: Standing, now: datetime) -> list[tuple[str, Any]]:
    leader = it.leader
    led = (
        f"{leader.host}, session {leader.pid}, for {commands.age(leader.since, now)}" if leader else "nobody"
    )
    waits = f"{it.rows:,} rows, {it.bytes:,} bytes"
    audit = it.audit
    proved = (
        "never" if audit is None else f"{commands.age(audit.at, now)} ago, {audit.differences:,} differences"
    )
    return [
        ("verdict", it.verdict(now)),
        ("leader", led),
        ("standbys", it.standbys),
        ("mode", it.mode),
        ("cursor", it.position),
        ("generation", "" if it.generation is None else it.generation),
        ("unpublished", waits + (f", oldest {commands.age(it.oldest, now)}" if it.oldest else "")),
        ("quarantine", f"{it.parked:,} rows wait for a decision"),
        ("last audit", proved + (", accepted" if audit and audit.ok and audit.differences else "")),
        ("days ahead", it.days_ahead),
    ]


def lag(json: Json = False) -> None:
    """What is committed and not published, by topic: rows, bytes, and since when the oldest waits.

    Example: millrace relay lag --json | jq 'map(.rows) | add'
    """
    settings = Settings.read()

    async def run() -> tuple[list[Any], datetime]:
        async with running.connection(settings) as connection:
            found = await commands.lag(
                connection, settings.kafka, settings.relay_lanes, settings.relay_cursor_topic
            )
            return list(found), await _now(connection)

    waiting, now = running.run(run())
    if json:
        show.as_json(waiting)
    else:
        rows = [(it.topic, it.rows, it.bytes, commands.age(it.since, now)) for it in waiting]
        show.table("Not published yet", ["!topic", "#rows", "#bytes", "oldest"], rows)


def drain(
    deadline: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 300.0,
    json: Json = False,
) -> None:
    """Wait until everything that is committed now is published. Exit code 1 when it is not, at the deadline.

    What is written meanwhile does not count. Before a move to other topics or shards, stop the writers first.

    Example: millrace relay drain --deadline 60
    """
    settings = Settings.read()

    async def run() -> int:
        async with running.connection(settings) as connection:
            with Progress(console=show.console, transient=True, disable=json) as bar:
                task = bar.add_task("publishing", total=None)
                return await commands.drained(
                    connection, settings.kafka, settings.relay_lanes, settings.relay_cursor_topic,
                    deadline_seconds=deadline, left=lambda rows: _moved(bar, task, rows),
                )  # fmt: skip

    left = running.run(run())
    if json:
        show.as_json({"left": left})
    elif not left:
        show.console.print("everything is published")
    if left:
        typer.echo(f"millrace: {left:,} rows are not published: see millrace relay status", err=True)
        raise typer.Exit(1)


def _moved(bar: Progress, task: Any, left: int) -> None:
    """The first number of rows is the whole way."""
    total = bar.tasks[task].total
    if total is None:
        bar.update(task, total=left)
        total = left
    bar.update(task, completed=max(0, total - left))
