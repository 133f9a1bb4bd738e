"""`millrace endpoints`: which doors are open, with which secrets, and how a rotation goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ingest import endpoints, usage
from ingest.domain import Endpoint, Secret
from ingest.domain.rotation import Used, concerns
from millrace.clock import clock
from operations import running, show
from operations.running import DRIFT, Json, instant
from operations.settings import Settings

app = typer.Typer(name="endpoints", help="The webhook endpoints and their secrets.", no_args_is_help=True)

Usage = Mapping[tuple[str, str], Used]  # by endpoint and name of the secret


@app.callback()
def endpoints_() -> None:
    """The webhook endpoints and their secrets."""


@app.command()
def check(
    file: Annotated[
        Path,
        typer.Option(
            envvar="INGEST_ENDPOINTS", help="The file of the endpoints, with their secrets at hand."
        ),
    ] = Path("endpoints.yaml"),
    since: Annotated[str, typer.Option(help="What counts as lately: 24h, 30d, 2026-11-01.")] = "24h",
    json: Json = False,
) -> None:
    """What is in force, what each secret verified lately, and what somebody should look at (exit code 3).

    Run it where the secrets are, before, during and after a rotation. Shows where a secret stands, never the secret.

    Example: millrace endpoints check --file endpoints.yaml --since 1h
    """  # fmt: skip
    found = endpoints.read(file)
    settings = Settings.read()
    now = clock(settings.clock).now()

    async def run() -> Usage:
        async with running.connection(settings) as connection:
            return await usage.used(connection, instant(since, now))

    used = running.run(run())
    doors = [_door(endpoint, used) for endpoint in found.values()]
    warnings = [warning for endpoint in found.values() for warning in _warnings(endpoint, used, now)]
    if json:
        show.as_json({"file": file, "since": instant(since, now), "endpoints": doors, "warnings": warnings})
    else:
        _show(since, doors, warnings)
    raise typer.Exit(DRIFT if warnings else 0)


def _door(endpoint: Endpoint, used: Usage) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "account": endpoint.account,
        "connect": endpoint.connect,
        "livemode": endpoint.livemode,
        "api_version": endpoint.api_version,
        "sources": endpoint.sources,
        "networks": endpoint.networks,
        "secrets": [_secret(secret, used.get((endpoint.name, secret.name))) for secret in endpoint.secrets],
    }


def _secret(secret: Secret, used: Used | None) -> dict[str, Any]:
    return {
        "name": secret.name,
        "not_after": secret.not_after,
        "events": used.events if used else 0,
        "last": used.last if used else None,
    }


def _warnings(endpoint: Endpoint, used: Usage, now: datetime) -> list[dict[str, str]]:
    own = {secret: what for (name, secret), what in used.items() if name == endpoint.name}
    return [
        {"endpoint": endpoint.name, "secret": concern.secret, "says": concern.says}
        for concern in concerns(endpoint, own, now)
    ]


def _show(since: str, doors: list[dict[str, Any]], warnings: list[dict[str, str]]) -> None:
    show.table(
        "Endpoints in force",
        ["!endpoint", "!account", "mode", "!version", "sources", "from"],
        [(d["name"], d["account"], _mode(d), d["api_version"], _listed(d["sources"]), _listed(d["networks"]))
         for d in doors],
    )  # fmt: skip
    show.table(
        f"What their secrets verified since {since}",
        ["!endpoint", "secret, the new one first", "until", "#events", "last"],
        [(d["name"], s["name"], s["not_after"] or "", s["events"], s["last"] or "never")
         for d in doors for s in d["secrets"]],
    )  # fmt: skip
    for warning in warnings:
        said = f"{warning['endpoint']}: {warning['secret']} {warning['says']}"
        show.console.print(show.mark(False), said, markup=False, soft_wrap=True)


def _mode(door: Mapping[str, Any]) -> str:
    return ("live" if door["livemode"] else "test") + (", connected accounts" if door["connect"] else "")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, values))) or "anywhere"
