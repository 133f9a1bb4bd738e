"""`millrace relay cursor`: how far a lane has published, as the relay itself wrote it."""

from __future__ import annotations

from typing import Any

import orjson
import typer

from operations import running, show
from operations.running import DRIFT, Json
from operations.settings import Settings
from outbox_relay import commands

app = typer.Typer(name="cursor", help="A lane's cursor: what it covers.", no_args_is_help=True)


@app.command("show")
def show_(json: Json = False) -> None:
    """The cursor of each lane. Exit code 3 when a lane has none: it has never published.

    Example: millrace relay cursor show --json | jq '.[0].pseq'
    """
    settings = Settings.read()

    async def run() -> list[dict[str, Any]]:
        async with running.connection(settings) as connection:
            return [
                {"lane": str(lane), "cursor": _plain(cursor)}
                for lane in settings.relay_lanes
                for cursor in [
                    await commands.standing(connection, settings.kafka, lane, settings.relay_cursor_topic)
                ]
            ]

    found = running.run(run())
    if json:
        show.as_json(found)
    else:
        for it in found:
            rows = (it["cursor"] or {"": "has never published"}).items()
            show.table(f"Lane {it['lane']}", ["!", ""], rows)
    raise typer.Exit(0 if all(it["cursor"] for it in found) else DRIFT)


def _plain(cursor: commands.Cursor | None) -> dict[str, Any] | None:
    """As it stands in the cursor topic."""
    plain: dict[str, Any] | None = orjson.loads(cursor.record()) if cursor else None
    return plain
