"""`millrace consumers`: how far each has come and what it lacks; pause it, let it go on, have it read again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Group as Lines
from rich.live import Live
from rich.text import Text

from millrace import audit
from millrace.commands import group, offsets, running, show
from millrace.commands.running import DRIFT, DryRun, Json, Settings, Why, Yes
from millrace.commands.standing import Standing, hear, stand, tell
from millrace.consumer import operating
from millrace.postgres import Connection, Transaction

app = typer.Typer(
    name="consumers",
    help="Every consumer of this database: how far it has come; pause, resume, reset.\n\n"
    "`millrace parked` is about the events that one could not apply; `millrace status` and `millrace verify` "
    "are about the whole way from the webhook, where the services' commands are installed.",
    no_args_is_help=True,
)
Name = Annotated[str, typer.Argument(help="A consumer: `millrace consumers status` lists them.")]
STILL_SECONDS = 2.0  # without progress, a paused consumer counts as at rest


@app.command()
def status(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Only these.")] = None,
    behind: Annotated[float, typer.Option(min=0, help="Seconds of lag that want attention.")] = 60.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every partition as well.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """How far each consumer has come, who runs it, what is parked. Exit code 3 when something wants attention.

    Without Kafka it shows what the database knows, and ends with 1.

    Example: millrace consumers status --json | jq '.consumers[] | select(.lag_seconds > 10) | .name'
    """
    if watch and json:
        raise typer.BadParameter("--watch is for people; a script calls it again", param_hint="--json")
    settings = Settings.read()
    if watch:
        running.run(_watch(settings, names or [], behind, verbose))
        return
    seen = running.run(_look(settings, names or [], behind))
    if json:
        show.as_json({"kafka": seen.trouble or None, "outdated": seen.outdated,
                      "consumers": [_plain(one) for one in seen.standings]})  # fmt: skip
    else:
        show.console.print(_page(seen, verbose))
    if seen.trouble:
        raise typer.Exit(1)
    raise typer.Exit(DRIFT if seen.outdated or any(one.attention for one in seen.standings) else 0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The consumers; what is wrong with Kafka, if anything; those whose tables are of an earlier version."""

    standings: list[Standing]
    trouble: str
    outdated: list[str]


async def _look(settings: Settings, names: list[str], behind: float) -> _Seen:
    async with running.connection(settings) as connection:
        outdated = [one.schema for one in await operating.find(connection) if not one.current]
        told = await tell(connection, await operating.consumers(connection, names))
        heard, trouble = {}, ""
        try:
            async with group.connected(settings.kafka) as kafka:
                heard = await hear(kafka, told)
        except (KafkaError, OSError, TimeoutError) as problem:
            trouble = (
                f"Kafka does not answer at {settings.kafka} ({type(problem).__name__}); MILLRACE_KAFKA is it"
            )
        now = datetime.now(UTC)
        standings = [stand(one, heard.get(one.known.name), now, behind) for one in told]
        return _Seen(standings, trouble, [] if names else outdated)


async def _watch(settings: Settings, names: list[str], behind: float, verbose: bool) -> None:
    with Live(console=show.console, auto_refresh=False) as live:
        try:
            while True:
                live.update(_page(await _look(settings, names, behind), verbose), refresh=True)
                await asyncio.sleep(1)
        except asyncio.CancelledError:  # Ctrl-C
            return


COLUMNS = ("!consumer", "state", "#lag", "#records behind", "#rate/s", "#parked", "oldest parked", "members")


def _page(seen: _Seen, verbose: bool) -> Lines:
    """All of it, as people read it."""
    parts: list[Any] = [show.grid("Consumers", COLUMNS, map(_row, seen.standings))]
    parts += map(_partitions, seen.standings if verbose else [])
    said = [f"{one.name}: {what}" for one in seen.standings for what in one.attention]
    said += [f"{name}: its tables are of an earlier version; `millrace migrate`" for name in seen.outdated]
    parts += [Text(show.plain(line), style="yellow") for line in said]
    if not seen.standings:
        parts.append(Text("no consumer has tables in this database"))
    if seen.trouble:
        parts.append(Text(f"{seen.trouble}; this is what the database knows", style="bold red"))
    return Lines(*parts)


def _row(one: Standing) -> tuple[Any, ...]:
    stands = sum(n for status, n in one.parked.items() if status != "waiting")
    waits = one.parked.get("waiting", 0)
    oldest = one.oldest_parked
    return (
        one.name,
        one.state,
        "?" if one.lag_seconds is None else show.age(one.lag_seconds),
        "?" if one.lag_records is None else one.lag_records,
        f"{one.rate:,.0f}",
        f"{stands:,}" + (f" + {waits:,} waiting" if waits else ""),
        f"{show.age(oldest['age_seconds'])}: {oldest['reason']}" if oldest else "",
        "\n".join(f"{m.instance} at {m.host}: {len(m.partitions)} partitions" for m in one.members),
    )


def _partitions(one: Standing) -> Any:
    rows = [
        (f"{p.topic}/{p.partition}", _number(p.next_offset), _number(p.committed), _number(p.end),
         "?" if p.lag_records is None else p.lag_records, p.member or "nobody",
         " ".join(f"{relay}:{last}" for relay, last in sorted(p.sequences.items())))
        for p in one.partitions
    ]  # fmt: skip
    columns = ["!partition", "#decided to", "#committed", "#end", "#lag", "member", "sequence numbers"]
    return show.grid(one.name, columns, rows)


def _number(offset: int | None) -> str:
    return "-" if offset is None else f"{offset:,}"


def _plain(one: Standing) -> dict[str, Any]:
    """As scripts read it: partitions as one word."""
    return {name: getattr(one, name) for name in one.__slots__} | {
        "members": [
            {"instance": m.instance, "host": m.host, "partitions": [f"{t}/{n}" for t, n in m.partitions]}
            for m in one.members
        ]
    }


@app.command()
def pause(
    name: Name,
    why: Why,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it rests.")] = 0.0,
    json: Json = False,
) -> None:
    """Have a consumer rest: it keeps its partitions and takes no record. Exit code 3 when it has not come to rest.

    Example: millrace consumers pause ledger --why "the bank's file is being corrected" --wait 30
    """
    _steered(name, why, "paused", operating.pause, json, wait)


@app.command()
def resume(name: Name, why: Why, json: Json = False) -> None:
    """Let a paused consumer go on where it stopped.

    Example: millrace consumers resume ledger --why "the file is correct"
    """
    _steered(name, why, "resumed", operating.resume, json, 0.0)


Steer = Callable[[Transaction, operating.Known, audit.Entry], Awaitable[bool]]


def _steered(name: str, why: str, action: str, steer: Steer, json: bool, wait: float) -> None:
    settings = Settings.read()
    note = running.note(settings, action, why)

    async def run() -> tuple[bool, bool | None]:
        async with running.connection(settings) as connection:
            [consumer] = await operating.consumers(connection, [name])
            async with connection.transaction():
                changed = await steer(connection, consumer, note)
            return changed, await _at_rest(connection, name, wait) if wait else None

    changed, resting = running.run(run())
    if json:
        show.as_json({"consumer": name, action: True, "changed": changed, "at_rest": resting})
    else:
        show.line(f"{name} is {action}" + ("" if changed else ": it was already"))
        if action == "paused" and resting is None:
            show.line("It looks every second: `millrace consumers status` shows a rate of 0 once it rests.")
        elif resting is False:
            show.line(f"It still makes progress after {wait:.0f} s: a batch in flight is finished first.")
    raise typer.Exit(DRIFT if resting is False else 0)


async def _at_rest(connection: Connection, schema: str, wait: float) -> bool:
    """Whether progress has stood still for STILL_SECONDS, within so many seconds."""
    until = time.monotonic() + wait
    last, since = await operating.came(connection, schema), time.monotonic()
    while time.monotonic() - since < STILL_SECONDS:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.1)
        now = await operating.came(connection, schema)
        if now != last:
            last, since = now, time.monotonic()
    return True


@app.command("reset-offsets")
def reset_offsets(
    name: Name,
    to_earliest: Annotated[
        bool, typer.Option("--to-earliest", help="The first record that Kafka still has.")
    ] = False,
    to_latest: Annotated[
        bool, typer.Option("--to-latest", help="The end: nothing that is there now is read.")
    ] = False,
    to_time: Annotated[
        str | None, typer.Option("--to-time", help="The first record since: 2026-11-01T12:00:00Z, 24h.")
    ] = None,
    to_offset: Annotated[
        list[str] | None, typer.Option("--to-offset", help="TOPIC/PARTITION=OFFSET; may be repeated.")
    ] = None,
    by: Annotated[int | None, typer.Option("--by", help="So many records on, or (negative) back.")] = None,
    topic: Annotated[
        list[str] | None, typer.Option("--topic", help="Only these topics; may be repeated.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit log.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Put a consumer somewhere else in its topics; only while nobody runs it. Says what it does before it does it.

    What it has met before is a duplicate when it is read again, and changes nothing. What it is put past is not read.

    Example: millrace consumers reset-offsets ledger --to-time 24h --dry-run
    """  # fmt: skip
    settings = Settings.read()
    target = offsets.target(
        datetime.now(UTC),
        to_earliest=to_earliest,
        to_latest=to_latest,
        to_time=to_time,
        to_offset=to_offset,
        by=by,
    )
    if not dry_run and not why:
        raise typer.BadParameter("say why: it is kept in the audit log", param_hint="--why")
    note = running.note(settings, f"reset offsets {target.said}", why or "dry run")

    async def run() -> tuple[offsets.Move, ...]:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(running.connection(settings))
            [consumer] = await operating.consumers(connection, [name])
            kafka = await stack.enter_async_context(group.connected(settings.kafka))
            moves = await offsets.plan(connection, kafka, consumer, target, topic or [])
            if not json:
                _show_moves(name, moves)
            if dry_run or not moves:
                return moves
            await offsets.refuse_members(kafka, consumer.name)
            running.confirmed(name, yes)
            await offsets.move(connection, kafka, consumer, moves, note)
            return moves

    moves = running.run(run())
    if json:
        show.as_json({"consumer": name, "moved": not dry_run, "partitions": moves, "again": sum(m.again for m in moves),
                      "known": sum(m.known for m in moves), "skipped": sum(m.skipped for m in moves)})  # fmt: skip
    elif not moves:
        show.line(f"{name} stands there already: nothing to do")
    else:
        show.line("dry run: nothing was changed" if dry_run else f"done; start {name} again")


def _show_moves(name: str, moves: tuple[offsets.Move, ...]) -> None:
    rows = [(f"{m.topic}/{m.partition}", m.before, m.after, m.again, m.known, m.skipped) for m in moves]
    columns = ["!partition", "#from", "#to", "#read again", "#of these known", "#skipped"]
    show.table(f"Offsets of {name}", columns, rows) if moves else None
    if again := sum(m.again for m in moves):
        known = sum(m.known for m in moves)
        show.line(f"{again:,} offsets are read again; {known:,} of them are decided, and change nothing.")
    if skipped := sum(m.skipped for m in moves):
        show.line(
            f"{skipped:,} offsets that are not decided are skipped FOR EVER: {name} will never see them.",
            "bold red",
        )
