"""`millrace relay audit` and `replay`: whether what arrived is what was written, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.progress import Progress

from millrace import postgres
from millrace.clock import clock
from millrace.errors import Misconfigured
from operations import running, show
from operations.running import DRIFT, Json, instant
from operations.settings import Settings
from outbox_relay import commands
from outbox_relay.commands import Asked, Audit, Chosen, Difference, Lane, Replayed

NAMED_MAX = 50  # ids that are printed; JSON has all of them
ASKED_FROM = 1_000  # rows: a replay of more is confirmed
FOUND = {
    "missing": "rows without a record",
    "strange": "records without a row",
    "doubled": "rows with more than one record",
    "changed": "records of another length than their row",
    "strangers": "records of no relay, at offsets",
}
COUNTED = {"gaps": "breaks in the numbering", "inverted": "records out of their order"}


def audit(
    since: Annotated[
        str,
        typer.Option(
            help="Everything written since: 2026-11-01, 24h, 30d; row by row, and not written down."
        ),
    ] = "",
    lane: Annotated[str, typer.Option(help="Only this lane, as `status` names it.")] = "",
    accept: Annotated[
        str, typer.Option(help="Let what is found be, for this reason; the next audit begins behind it.")
    ] = "",
    json: Json = False,
) -> None:
    """Compare what was written with what readers of Kafka see. Exit code 3 on any difference, naming its rows.

    Without --since it goes on where the last audit ended that was ok, and compares sums: run it every hour. What is
    missing is published again by `millrace relay replay`; what is there twice, or strange, stays, and is accepted.

    Example: millrace relay audit --since 24h
    """
    settings = Settings.read()
    if since and accept:
        raise typer.BadParameter("--accept belongs to an audit without --since, which is written down")

    lanes = _lanes(settings, lane)
    start = instant(since, clock(settings.clock).now()) if since else None

    async def run() -> list[Audit]:
        async with running.connection(settings) as connection:
            with Progress(console=show.console, transient=True, disable=json) as bar:
                found = [await _audit(connection, settings, one, start, accept, bar) for one in lanes]
            return [it for it in found if it]

    found = running.run(run())
    if json:
        show.as_json([{**_plain(it), **it.counts()} for it in found])
    else:
        _tell(found)
    raise typer.Exit(DRIFT if any(not it.ok for it in found) and not accept else 0)


def _lanes(settings: Settings, name: str) -> list[Lane]:
    lanes = [lane for lane in settings.relay_lanes if name in ("", str(lane))]
    if not lanes:
        known = ", ".join(map(str, settings.relay_lanes))
        raise typer.BadParameter(
            f"no lane {name!r}; with MILLRACE_RELAY_SHARDS={settings.relay_shards}: {known}"
        )
    return lanes


async def _audit(
    connection: postgres.Connection,
    settings: Settings,
    lane: Lane,
    since: datetime | None,
    accept: str,
    bar: Progress,
) -> Audit | None:
    task = bar.add_task(f"reading {lane}", total=None)
    if accept:
        await _written_down(connection, settings, "accepted an audit's differences", f"lane {lane}", accept)
    return await commands.audit(
        connection, settings.kafka, lane,
        since=since,
        prefix=settings.relay_cursor_topic,
        accepted=accept or None,
        moved=lambda records, total: bar.update(task, advance=records, total=total),
    )  # fmt: skip


async def _written_down(
    connection: postgres.Connection, settings: Settings, action: str, subject: str, reason: str
) -> None:
    """Before it is done. Writes: an audit row."""
    async with connection.transaction():
        await running.audited(connection, settings, action, subject, reason)


def _plain(found: Audit) -> dict[str, Any]:
    return {
        "lane": str(found.lane), "ok": found.ok, "run": found.run, "since": found.since,
        "differences": found.differences, "replay": found.missing,
    }  # fmt: skip


def _tell(found: Sequence[Audit]) -> None:
    for it in found:
        words = f"{it.rows:,} rows, {it.records:,} records, {it.parked:,} in quarantine"
        show.console.print(f"lane {it.lane}: {words}: {'the same' if it.ok else 'NOT THE SAME'}")
    lines = [line for it in found for difference in it.differences for line in _lines(difference)]
    if lines:
        show.table("Differences", ["!topic", "#partition", "what", "#how many", "which"], lines)
    if missing := [row for it in found for row in it.missing]:
        show.console.print(_advice(missing), soft_wrap=True)
    if not found:
        show.console.print("nothing has been published yet")


def _lines(it: Difference) -> list[tuple[Any, ...]]:
    partition = "none" if it.partition < 0 else it.partition
    named = [
        (it.topic, partition, words, len(ids), _named(ids))
        for name, words in FOUND.items()
        if (ids := getattr(it, name))
    ]
    counted = [
        (it.topic, partition, words, count, "")
        for name, words in COUNTED.items()
        if (count := getattr(it, name))
    ]
    return named + counted


def _named(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:NAMED_MAX])) + (" …" if len(ids) > NAMED_MAX else "")


def _advice(missing: Sequence[int]) -> str:
    """What to type next."""
    if len(missing) <= NAMED_MAX:
        ids = ",".join(map(str, missing))
        return f'type: millrace relay replay --ids {ids} --reason "missing in Kafka"'
    return f"{len(missing):,} are missing; --json names all of them, `replay --since` publishes them with the others"


def replay(
    ids: Annotated[str, typer.Option(help="Outbox rows, as an audit names them: 5,9,12.")] = "",
    since: Annotated[str, typer.Option(help="Or everything written since: 2026-11-01T12:00Z, 2h.")] = "",
    to_topic: Annotated[str, typer.Option(help="To this topic, not to their own.")] = "",
    reason: Annotated[str, typer.Option(help="Why; goes into the records and the audit log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help=f"Do not ask above {ASKED_FROM:,} rows.")] = False,
    json: Json = False,
) -> None:
    """Publish rows again, from PostgreSQL. Consumers of ours drop what they know; others see them twice.

    They come behind newer news of their key. Rows that were never published, or stand in quarantine, are left out.
    Exit code 3 when fewer rows went out than were asked for.

    Example: millrace relay replay --ids 5,9 --reason "audit 41 found them missing"
    """
    settings = Settings.read()
    if bool(ids) == bool(since) or not reason:
        raise typer.BadParameter("give --ids or --since, and a --reason")
    asked = Asked(_ids(ids), None) if ids else Asked(since=instant(since, clock(settings.clock).now()))

    async def run() -> tuple[Chosen, Replayed | None]:
        async with running.connection(settings) as connection:
            where = (connection, settings.kafka, settings.relay_lanes, asked)
            found = await commands.chosen(*where, settings.relay_cursor_topic)
            if not found.rows or (found.rows > ASKED_FROM and not yes):
                return found, None
            return found, await _replayed(connection, settings, asked, reason, to_topic, found.rows, json)

    chosen, done = running.run(run())
    if done is None and chosen.rows:
        raise Misconfigured(f"{chosen.rows:,} rows would be published again; say --yes if that is meant")
    _tell_replay(chosen, done or Replayed({}), json)
    whole = len(asked.ids) if asked.ids is not None else chosen.rows
    raise typer.Exit(0 if done and done.rows == whole else DRIFT)


def _ids(text: str) -> tuple[int, ...]:
    try:
        return tuple({int(word) for word in text.split(",") if word.strip()})
    except ValueError:
        raise typer.BadParameter(f"{text!r}: write outbox ids as 5,9,12") from None


async def _replayed(
    connection: postgres.Connection,
    settings: Settings,
    asked: Asked,
    reason: str,
    to_topic: str,
    rows: int,
    json: bool,
) -> Replayed:
    """Writes: an audit row first, then records."""
    subject = f"{rows} rows" if asked.ids is None else "rows " + _named(sorted(asked.ids))
    to = to_topic or "their topics"
    await _written_down(connection, settings, "replayed outbox rows", f"{subject} to {to}", reason)
    with Progress(console=show.console, transient=True, disable=json) as bar:
        task = bar.add_task("publishing", total=rows)
        return await commands.replay(
            connection, settings.kafka, settings.relay_lanes, asked, reason,
            to_topic=to_topic, prefix=settings.relay_cursor_topic, moved=lambda n: bar.advance(task, n),
        )  # fmt: skip


def _tell_replay(chosen: Chosen, done: Replayed, json: bool) -> None:
    if json:
        show.as_json({"topics": done.topics, "rows": done.rows, "refused": done.refused,
                      "waiting": chosen.waiting, "parked": chosen.parked})  # fmt: skip
        return
    for topic, rows in sorted(done.topics.items()):
        show.console.print(f"{rows:,} rows published again on {topic}")
    for rows, words in ((chosen.waiting, "are on their way for the first time"), (chosen.parked, "are in quarantine"),
                        (len(done.refused), "could not go: see their reason in the relay's rules")):  # fmt: skip
        if rows:
            show.console.print(f"{rows:,} {words}: left out")
    if not done.rows:
        show.console.print("no such row has been published from here")
