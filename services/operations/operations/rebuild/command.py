"""`millrace replay`: a consumer built anew from the log, and compared with the live one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import typer
from rich.progress import Progress

from millrace.sealing import Policy
from operations import running, show
from operations.rebuild.run import Opening, Rebuilt, Subject, rebuild
from operations.running import DRIFT, Json
from operations.services import CONSUMERS, REBUILT
from operations.settings import Settings

BEGINNING = "beginning"
SHOWN = 20
PARTIAL = (
    "a rebuild begins at the beginning: what a part of the history makes has nothing live to be equal to. "
    "To have a live consumer meet events again, `millrace consumers reset-offsets`"
)


def replay(
    consumer: Annotated[str, typer.Argument(help=f"One of {', '.join(REBUILT)}.")],
    from_: Annotated[
        str, typer.Option("--from", help="Where to begin: only at the beginning can the end be compared.")
    ] = BEGINNING,
    into: Annotated[
        str | None,
        typer.Option(
            help="Name of a database to make beside the live one, or the DSN of one without this consumer."
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the rebuilt database to be looked at.")] = False,
    differences: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many are shown.")] = SHOWN,
    json: Json = False,
) -> None:
    """Rebuild a consumer from the log into an empty database, and compare it with the live one, row by row.

    Changes nothing that is live; holds one snapshot of it open while it runs. Exit code 3 when anything differs or
    an event is in no log any more. What each difference means: docs/runbook/rebuild.md.

    Example: millrace replay ledger --json | jq '.equal'
    """
    settings = Settings.read()
    subject = _subject(consumer, from_, settings)
    database = into or f"millrace_{consumer}_rebuilt"

    async def run() -> Rebuilt:
        async with _opening(settings) as opening:
            with Progress(console=show.console, transient=True, disable=json) as bar:
                task = bar.add_task(f"rebuilding {consumer}", total=None)
                return await rebuild(
                    settings.database.get_secret_value(), settings.kafka, subject, database,
                    keep=keep, differences=differences, opening=opening,
                    begin=lambda total: bar.update(task, total=total),
                    moved=lambda events: bar.advance(task, events),
                )  # fmt: skip

    with _unheard():
        told = running.run(run())
    show.as_json(_as_json(told)) if json else _show(told)
    raise typer.Exit(0 if told.equal else DRIFT)


@contextmanager
def _unheard() -> Iterator[None]:
    """What is parked, and which numbers are not whole, was told when it was live."""
    log = logging.getLogger("millrace.consumer")
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


def _subject(name: str, from_: str, settings: Settings) -> Subject:
    if name not in REBUILT:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(REBUILT)}", param_hint="CONSUMER")
    if from_ != BEGINNING:
        raise typer.BadParameter(PARTIAL, param_hint="--from")
    (consumer,) = (one for one in CONSUMERS if one.name == name)
    commands = consumer.commands
    fold, rules = REBUILT[name](settings)
    clocked = getattr(commands, "BY_THE_CLOCK", ())
    return Subject(fold, rules, commands.SCHEMA, consumer.topics, commands.COMPARED, clocked)


@asynccontextmanager
async def _opening(settings: Settings) -> AsyncIterator[Opening | None]:
    """What opens the event log, when the settings say where the keys are."""
    if not settings.keys:
        yield None
        return
    policy = Policy.read(settings.sealing)
    async with running.keys(settings) as keys:
        yield Opening(keys, policy)


def _as_json(told: Rebuilt) -> dict[str, Any]:
    return {
        "consumer": told.consumer, "rules": told.rules, "into": told.into, "equal": told.equal,
        "events": told.events, "discarded": told.discarded, "seconds": round(told.seconds, 3),
        "found": told.found, "missing": told.missing, "first_missing": told.first_missing,
        "tables": told.comparison.tables, "differing": told.comparison.differing,
        "differences": told.comparison.differences,
    }  # fmt: skip


def _show(told: Rebuilt) -> None:
    where = ", ".join(f"{count:,} from {place}" for place, count in told.found.items()) or "none"
    rate = told.events / told.seconds if told.seconds else 0
    show.console.print(f"{told.consumer} by {told.rules}, into {told.into}")
    show.console.print(f"{told.events:,} events in {told.seconds:,.0f} s ({rate:,.0f} a second): {where}")
    if told.discarded:
        show.console.print(f"{told.discarded:,} that operators discarded were passed over")
    rows = [
        (show.mark(not t.differing), t.name, t.rows, t.differing, ", ".join(t.apart))
        for t in told.comparison.tables
    ]
    show.table("Compared", ["", "!table", "#rows", "#differing", "left out"], rows)
    if told.missing:
        show.table(f"In no log any more: {told.missing:,}", ["event"], [(m,) for m in told.first_missing])
    if found := told.comparison.differences:
        title = f"Differences: {len(found):,} of {told.comparison.differing:,} rows"
        show.table(title, ["table", "key", "column", "live", "rebuilt"],
                   [(d.table, d.key, d.column, d.live, d.rebuilt) for d in found])  # fmt: skip
