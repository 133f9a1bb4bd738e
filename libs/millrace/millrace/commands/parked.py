"""`millrace parked`: the events that a consumer could not apply; look at them, have them judged again, give them up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from aiokafka.errors import KafkaError
from rich.progress import Progress

from millrace.commands import group, running, show
from millrace.commands.running import DRIFT, DryRun, Json, Settings, Yes
from millrace.consumer import operating
from millrace.consumer.judge import BEHIND, FAILED, POISON, WAITING
from millrace.consumer.operating import Filter, Known, Parked, Refused
from millrace.postgres import Connection

app = typer.Typer(
    name="parked",
    help="Events that a consumer could not apply: whole, in order, until somebody decides.\n\n"
    "What is parked stops nobody else. `millrace consumers status` counts them.",
    no_args_is_help=True,
)
STATUSES = (POISON, FAILED, BEHIND, WAITING)
POLL_SECONDS = 0.2

Consumer = Annotated[str, typer.Argument(help="A consumer: `millrace consumers status` lists them.")]
Id = Annotated[int, typer.Argument(help="The number that `millrace parked list` shows.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]…", help="Only these.")]
Key = Annotated[str | None, typer.Option("--key", help="Of this record key: account/customer.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Whose reason has this text in it.")]
Type = Annotated[str | None, typer.Option("--type", help="Of this type: stripe.invoice.paid.")]
Since = Annotated[str | None, typer.Option("--since", help="Parked since: 2026-11-01, an instant, 24h.")]
Until = Annotated[str | None, typer.Option("--until", help="Parked before then.")]
Status = Annotated[
    list[str] | None, typer.Option("--status", help=f"{', '.join(STATUSES)}; may be repeated.")
]
All = Annotated[bool, typer.Option("--all", help="Everything that does not merely wait.")]


@app.command("list")
def list_(
    consumer: Annotated[str | None, typer.Argument(help="Only of this consumer.")] = None,
    key: Key = None,
    reason: Reason = None,
    type_: Type = None,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each consumer.")] = 100,
    json: Json = False,
) -> None:
    """What is parked, oldest first, and why. Exit code 3 when something stands; what only waits is no reason.

    Example: millrace parked list ledger --reason "does not add up" --since 24h
    """
    settings, by = Settings.read(), _filter(None, key, reason, type_, since, until, status)

    async def run() -> list[_Listed]:
        async with running.connection(settings) as connection:
            found = []
            for one in await operating.consumers(connection, [consumer] if consumer else []):
                parked = await operating.choose(connection, one.schema, by, limit + 1)
                lately = await operating.lately(connection, one.schema)
                found.append(
                    _Listed(one.schema, parked[:limit], len(parked) > limit, lately >= operating.LIMIT)
                )
            return found

    found = running.run(run())
    if json:
        show.as_json([one for one in found if one.parked])
    else:
        _show_list(found)
    raise typer.Exit(DRIFT if any(p.status != WAITING for one in found for p in one.parked) else 0)


@dataclass(frozen=True, slots=True)
class _Listed:
    """What is parked in one consumer, as far as it is shown; `halts` says that it may have ended because of it."""

    consumer: str
    parked: list[Parked]
    more: bool
    halts: bool


def _show_list(found: Sequence[_Listed]) -> None:
    now = datetime.now(UTC)
    for one in found:
        if one.parked:
            rows = [
                (str(p.id), p.status + (" (asked)" if p.asked_at else ""), p.type or "unreadable",
                 operating.named(p), p.record_key, show.age((now - p.parked_at).total_seconds()), p.reason)
                for p in one.parked
            ]  # fmt: skip
            columns = ["#id", "!status", "type", "event", "key", "!since", "why"]
            show.table(one.consumer, columns, rows)
        if one.more:
            show.line(f"… and more of {one.consumer}: --limit, or say which")
        if one.halts:
            show.line(
                f"{one.consumer}: {operating.LIMIT} or more could not be applied within an hour; where that is its "
                "limit, it has ended: docs/runbook/dead-letter-limit.md",
                "bold red",
            )
    if not any(one.parked for one in found):
        show.line("nothing is parked")


@app.command("show")
def show_(
    consumer: Consumer,
    id: Id,
    reveal: Annotated[
        bool,
        typer.Option(
            "--reveal", help="The value too. It may be personal; the audit log has that you looked."
        ),
    ] = False,
    why: Annotated[str, typer.Option("--why", help="For --reveal: the reason.")] = "",
    json: Json = False,
) -> None:
    """One parked event: where it came from, its headers, why it is parked, and what a redrive would do.

    Its value is not shown without --reveal; sealed fields stay sealed even then.

    Example: millrace parked show ledger 4711
    """
    settings = Settings.read()
    note = running.note(settings, "revealed parked event", why) if reveal else None

    async def run() -> dict[str, Any]:
        async with running.connection(settings) as connection, connection.transaction():
            [known] = await operating.consumers(connection, [consumer])
            [one] = await _chosen(connection, known, Filter(ids=[id]))
            headers, value = await operating.raw(connection, known.schema, id)
            together = await operating.whole_keys(connection, known, [one])
            told = asdict(one) | {"headers": headers, "bytes": len(value or b""), "together": len(together)}
            told["followers"] = [asdict(p) for p in together if p.id > id]
            told["redrive"] = _prospect(known, one, together)
            if note:
                await operating.witness(connection, known.schema, note, [operating.named(one)])
                told["value"] = _value(value)
            return told

    told = running.run(run())
    if json:
        show.as_json(told)
    else:
        _show_one(told)


def _prospect(known: Known, one: Parked, together: Sequence[Parked]) -> str:
    """What a redrive of this event would do."""
    if one.status == WAITING:
        return f"it is judged by itself when a fact of {one.wait_key} arrives; a redrive asks once more"
    if not known.ordered or len(together) == 1:
        return "it is judged again, alone"
    place = [p.id for p in together].index(one.id) + 1
    return (
        f"the {len(together):,} events of {one.record_key} are judged again in order, this as number {place:,}; "
        "if one cannot be applied, it and those behind it stay parked"
    )


def _show_one(told: dict[str, Any]) -> None:
    names = ("id", "status", "reason", "event_id", "type", "source", "record_key", "wait_key", "parked_at",
             "asked_at", "asked_by")  # fmt: skip
    rows = [(name, told[name]) for name in names if told[name] is not None]
    rows += [("place", f"{told['topic']}/{told['partition']}/{told['kafka_offset']}")]
    rows += [(f"header {name}", text) for name, text in sorted(told["headers"].items())]
    rows += [("value", told.get("value", f"{told['bytes']:,} bytes, not shown: --reveal --why …"))]
    show.table("", ["!", ""], rows)
    followers = [(str(p["id"]), p["status"], p["type"], p["event_id"]) for p in told["followers"][:20]]
    if followers:
        show.table(f"Behind it: {len(told['followers']):,}", ["#id", "status", "type", "event"], followers)
    show.line(f"On a redrive {told['redrive']}.")


def _value(value: bytes | None) -> Any:
    """A value as it can be shown: JSON, or text with what is no text escaped."""
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode("utf-8", "backslashreplace")


@app.command()
def redrive(
    consumer: Consumer,
    ids: Ids = None,
    key: Key = None,
    reason: Reason = None,
    type_: Type = None,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    all_: All = False,
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit log.")] = "redrive",
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for the outcome; 0 only asks.")
    ] = 60.0,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Have the running consumer judge parked events again, in their order, with all that stands under their keys.

    Exit code 3 when some stay parked, or are not judged in time: they are then as soon as it runs.

    Example: millrace parked redrive ledger --reason "does not add up" --why "mended in 1.4.2"
    """
    settings = Settings.read()
    by = _filter(ids, key, reason, type_, since, until, status, everything=all_)
    note = running.note(settings, "asked for redrive", why)

    async def run() -> tuple[list[Parked], list[Parked], operating.Redriven | None, str]:
        async with running.connection(settings) as connection:
            [known] = await operating.consumers(connection, [consumer])
            async with connection.transaction():
                chosen = await _chosen(connection, known, by, waiting=bool(ids))
                asked = await operating.whole_keys(connection, known, chosen)
                if dry_run:
                    return chosen, asked, None, ""
                await operating.ask(connection, known.schema, asked, note)
            asleep = await _asleep(settings, known)
            patience = 0.0 if asleep else wait
            return chosen, asked, await _followed(connection, known, asked, patience, quiet=json), asleep

    chosen, asked, done, asleep = running.run(run())
    if json:
        show.as_json({
            "consumer": consumer, "chosen": len(chosen), "asked": 0 if dry_run else len(asked),
            "would_ask": len(asked) if dry_run else 0, "asleep": asleep or None,
            "outcomes": done.outcomes if done else {}, "parked": done.parked if done else [],
            "pending": done.pending if done else 0,
        })  # fmt: skip
    else:
        _show_redriven(consumer, chosen, asked, done, asleep)
    raise typer.Exit(DRIFT if done and (done.parked or done.pending) else 0)


async def _asleep(settings: Settings, known: Known) -> str:
    """Why nobody will do what is asked now; '' when somebody should, or Kafka cannot tell."""
    if known.paused_at:
        return (
            f"{known.name} is paused by {known.paused_by}: `millrace consumers resume {known.schema} --why …`"
        )
    try:
        async with group.connected(settings.kafka) as kafka:
            running_ = (await kafka.groups([known.name]))[known.name].members
    except (KafkaError, OSError, TimeoutError):
        return ""
    return "" if running_ else f"no member of {known.name} is running: they are judged when one starts"


async def _followed(
    connection: Connection, known: Known, asked: Sequence[Parked], wait: float, *, quiet: bool
) -> operating.Redriven:
    """What has become of them, when all are judged or the time is over."""
    until = time.monotonic() + wait
    with Progress(console=show.console, transient=True, disable=quiet) as bar:
        task = bar.add_task("judged", total=len(asked))
        while pending := await operating.pending(connection, known.schema, asked):
            bar.update(task, completed=len(asked) - pending)
            if time.monotonic() >= until:
                break
            await asyncio.sleep(POLL_SECONDS)
    return await operating.redriven(connection, known.schema, asked)


def _show_redriven(
    consumer: str,
    chosen: Sequence[Parked],
    asked: Sequence[Parked],
    done: operating.Redriven | None,
    asleep: str,
) -> None:
    more = f", and {len(asked) - len(chosen):,} more of their keys" if len(asked) > len(chosen) else ""
    if done is None:
        rows = [(str(p.id), p.status, p.type, operating.named(p), p.record_key, p.reason) for p in asked]
        show.table("In this order", ["#id", "!status", "type", "event", "key", "why"], rows)
        show.line(f"dry run: {len(chosen):,} chosen{more}; nothing was asked")
        return
    show.line(f"{len(chosen):,} asked for{more}")
    for outcome, events in sorted(done.outcomes.items()):
        show.line(f"{events:,} {outcome}")
    for (status, why), events in Counter((p.status, p.reason) for p in done.parked).most_common():
        show.line(f"{events:,} still parked, {status}: {why}", "yellow")
    if done.pending:
        show.line(
            f"{done.pending:,} not judged yet: {asleep or f'`millrace consumers status {consumer}` says why'}",
            "yellow",
        )


@app.command()
def discard(
    consumer: Consumer,
    why: running.Why,
    ids: Ids = None,
    key: Key = None,
    reason: Reason = None,
    type_: Type = None,
    since: Since = None,
    until: Until = None,
    status: Status = None,
    all_: All = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Also what waits for a fact that may yet come.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Give parked events up for good: they are never applied. What stood behind them is judged again.

    Example: millrace parked discard ledger 4711 --why "a test event, ticket 812"
    """
    settings = Settings.read()
    by = _filter(ids, key, reason, type_, since, until, status, everything=all_)
    note = running.note(settings, "discarded", why)

    async def run() -> tuple[list[Parked], list[int]]:
        async with running.connection(settings) as connection:
            [known] = await operating.consumers(connection, [consumer])
            chosen = await _chosen(connection, known, by, waiting=bool(ids))
            _refuse_waiting(chosen, waiting)
            if not json:
                rows = [
                    (str(p.id), p.status, p.type, operating.named(p), p.record_key, p.reason) for p in chosen
                ]
                show.table("To discard", ["#id", "!status", "type", "event", "key", "why"], rows)
            if dry_run:
                return chosen, []
            running.confirmed(consumer, yes)
            async with connection.transaction():
                return await operating.discard(connection, known, chosen, note)

    gone, released = running.run(run())
    if json:
        show.as_json({"consumer": consumer, "discarded": [] if dry_run else gone,
                      "would_discard": gone if dry_run else [], "released": released})  # fmt: skip
    elif dry_run:
        show.line(f"dry run: {len(gone):,} would be discarded; nothing was changed")
    else:
        show.line(f"{len(gone):,} discarded; {len(released):,} that stood behind them are judged again")


def _refuse_waiting(chosen: Sequence[Parked], allowed: bool) -> None:
    waits = [p for p in chosen if p.status == WAITING]
    if waits and not allowed:
        raise Refused(
            f"{len(waits):,} of these only wait for a fact, which may yet come ({waits[0].reason}); "
            "add --waiting if it never will"
        )


async def _chosen(connection: Connection, known: Known, by: Filter, *, waiting: bool = True) -> list[Parked]:
    """What a filter lets through; of what only waits nothing, unless it is named. Raises Refused when there is none."""
    chosen = await operating.choose(connection, known.schema, by)
    if by.ids and (missing := sorted(set(by.ids) - {p.id for p in chosen})):
        raise Refused(
            f"{known.name} has no parked event {', '.join(map(str, missing))} (or the other options exclude it): "
            f"`millrace parked list {known.schema}`"
        )
    kept = [p for p in chosen if waiting or by.statuses or p.status != WAITING]
    if not kept:
        hint = f"; {len(chosen):,} only wait: --status waiting" if chosen else ""
        raise Refused(f"nothing that is parked in {known.name} is meant by this{hint}")
    return kept


def _filter(
    ids: list[int] | None,
    key: str | None,
    reason: str | None,
    type_: str | None,
    since: str | None,
    until: str | None,
    status: list[str] | None,
    *,
    everything: bool = True,
) -> Filter:
    """What the options ask for. Raises BadParameter when they ask for nothing, or for what there is not."""
    if strange := sorted(set(status or ()) - set(STATUSES)):
        raise typer.BadParameter(f"{strange[0]!r} is none of {', '.join(STATUSES)}", param_hint="--status")
    now = datetime.now(UTC)
    by = Filter(
        ids or None, key, reason, type_,
        running.instant(since, now) if since else None,
        running.instant(until, now) if until else None,
        status or None,
    )  # fmt: skip
    if by == Filter() and not everything:
        raise typer.BadParameter(
            "say which: an ID, --key, --reason, --type, --since, --until, --status or --all"
        )
    return by
