"""`millrace relay rebase`, `reshard`, `fence` and `cursor set`: what only a person may decide about a lane.

Nothing is changed without `--yes`; what will happen is told before. See runbook/outbox-halted.md.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
from aiokafka.errors import KafkaError

from millrace.errors import Misconfigured
from millrace.postgres import Connection
from operations import running, show
from operations.running import Json
from operations.settings import Settings
from outbox_relay.commands import Cursor, Lane, resharding, steering
from outbox_relay.commands.office import Halted, Refused, Site, Witness
from outbox_relay.commands.resharding import Reshard
from outbox_relay.commands.steering import Move, To

T = TypeVar("T")


def _lane(text: str) -> Lane:
    try:
        lane = Lane.parse(text)
        assert lane.shard < lane.shards
        return lane
    except (AssertionError, ValueError):
        raise typer.BadParameter(f"{text!r} is no lane; they are called main, or main.0of2") from None


OneLane = Annotated[
    Lane,
    typer.Option("--lane", parser=_lane, metavar="LANE", help="Its name: main, or main.0of2 of two shards."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only what would happen is told.")]
Reason = Annotated[str, typer.Option(help="Why; goes into the audit log, with your name.")]


def rebase(
    lane: OneLane,
    republish: Annotated[
        bool, typer.Option("--republish", help="Begin at the first row of the outbox.")
    ] = False,
    continue_: Annotated[
        bool,
        typer.Option(
            "--continue", help="Go on where it stood: a standby that had every commit was promoted."
        ),
    ] = False,
    at_end: Annotated[
        bool,
        typer.Option("--at-end", help="Begin behind what is committed now; what waits is never published."),
    ] = False,
    yes: Yes = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Let a lane begin anew in the database that is there now, after a restore or a fail-over. Stop the relay first.

    Example: millrace relay rebase --lane main --republish --yes --reason "restored Monday's backup"
    """
    settings = Settings.read()
    to = _one_of({To.REPUBLISH: republish, To.CONTINUE: continue_, To.AT_END: at_end})
    move = _run(steering.look(_site(settings), lane, to))
    if not json:
        _tell(move, to)
    if yes:
        witness = _witness(settings, f"rebased lane: {to}", str(lane), reason)
        with _busy("moving the cursor", json):
            move = _run(steering.rebase(_site(settings), lane, to, witness))
    _end(_plain(move), f"lane {lane} begins there: start the relay", yes, json)


def set_(
    lane: OneLane,
    file: Annotated[
        Path, typer.Argument(help="What `cursor show --json` printed; '-' reads standard input.")
    ],
    yes: Yes = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Put a cursor of your own in force, one generation later. Its numbering never falls. Stop the relay first.

    Example: millrace relay cursor set --lane main kept.json --yes --reason "back to before the bad deploy"
    """
    settings = Settings.read()
    record = _record(file, lane)
    if not yes:
        _end({"lane": str(lane), "cursor": orjson.loads(record)}, "", yes, json)
    witness = _witness(settings, "set cursor", str(lane), reason)
    with _busy("moving the cursor", json):
        move = _run(steering.put(_site(settings), lane, record, witness))
    if not json:
        show.console.print(f"{move.rows:,} committed rows lie behind it, and are published")
    _end(_plain(move), f"lane {lane} begins there: start the relay", yes, json)


def fence(lane: OneLane, json: Json = False) -> None:
    """Refuse whatever an earlier producer of the lane still sends. A relay that leads starts over, and goes on.

    Example: millrace relay fence --lane main
    """
    settings = Settings.read()
    with _busy("fencing", json):
        left = _run(steering.fence(_site(settings), lane))
    if json:
        show.as_json({"lane": str(lane), "cursor": left and orjson.loads(left.record())})
    else:
        show.console.print(
            f"every producer of lane {lane} is fenced; a relay that leads it starts over by itself"
        )


def reshard(
    old: Annotated[
        int, typer.Option("--from", min=1, max=1024, help="How many lanes there are: RELAY_SHARDS.")
    ],
    new: Annotated[int, typer.Option("--to", min=1, max=1024, help="How many there will be.")],
    database: Annotated[
        str, typer.Option("--lane-database", help="The outbox's name in RELAY_DATABASES.")
    ] = "main",
    yes: Yes = False,
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Divide an outbox into another number of lanes. Publishes what waits, then hands over at one moment.

    Stop the relay first, and start it with the new RELAY_SHARDS. Broken off anywhere, it is typed again. Run it with
    the relay's own RELAY_… settings: rows that wait go to quarantine, or get a claim check, by its rules.

    Example: millrace relay reshard --from 1 --to 2 --yes
    """  # fmt: skip
    settings = Settings.read()
    if not yes:
        words = f"lanes of {database}: {old} → {new}; what waits is published by the old ones first"
        _end({"old": old, "new": new}, words, yes, json)
    witness = _witness(settings, "resharded outbox", database, reason or f"{old} → {new}")
    with _busy("publishing what waits", json):
        done = _run(resharding.reshard(_site(settings), database, old, new, witness))
    if not json:
        show.console.print(f"{done.rows:,} rows were published; {', '.join(done.new)} take over")
    _end(_plain(done), f"start the relay with RELAY_SHARDS={new}", yes, json)


def _site(settings: Settings) -> Site:
    return Site(settings.database.get_secret_value(), settings.kafka, settings.relay_cursor_topic)


def _one_of(asked: dict[To, bool]) -> To:
    chosen = [to for to, wanted in asked.items() if wanted]
    if len(chosen) != 1:
        raise typer.BadParameter("say one of --republish, --continue and --at-end")
    return chosen[0]


def _witness(settings: Settings, action: str, subject: str, reason: str) -> Witness:
    async def witness(tx: Connection) -> None:
        await running.audited(tx, settings, action, subject, reason)

    return witness


def _run(work: Coroutine[Any, Any, T]) -> T:
    """A refusal is one sentence and exit code 1, as everything else that could not be done."""
    try:
        return running.run(work)
    except (Refused, Halted, KafkaError) as problem:
        typer.echo(f"millrace: {problem}", err=True)
        raise typer.Exit(1) from None


def _plain(done: Move | Reshard) -> dict[str, Any]:
    """With cursors as they stand in their topics."""
    plain = {field.name: getattr(done, field.name) for field in fields(done)}
    return {name: orjson.loads(it.record()) if isinstance(it, Cursor) else it for name, it in plain.items()}


def _busy(words: str, json: bool) -> Any:
    return nullcontext() if json else show.console.status(words)


def _tell(move: Move, to: To) -> None:
    """What will happen, in sentences."""
    before = f"generation {move.left.generation}" if move.left else "no cursor"
    show.console.print(f"lane {move.lane}: {before} → generation {move.cursor.generation}")
    if move.restored:
        show.console.print(f"{move.restored:,} rows of another cluster are given a transaction of this one")
    consequence = {
        To.REPUBLISH: f"about {move.rows:,} rows are published again; consumers drop what they know",
        To.CONTINUE: "nothing is published twice, if no committed row was lost",
        To.AT_END: f"about {move.rows:,} rows are stepped over; those not published yet never will be",
    }
    show.console.print(consequence[to])


def _record(file: Path, lane: Lane) -> bytes:
    """One lane's cursor, out of the list that `cursor show --json` prints, or by itself."""
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        found = orjson.loads(text)
    except OSError as problem:
        raise Misconfigured(f"{file}: {problem.strerror}") from None
    except orjson.JSONDecodeError as problem:
        raise Misconfigured(f"{file}: is no JSON: {problem}") from None
    if isinstance(found, list):
        found = next((it["cursor"] for it in found if it.get("lane") == str(lane)), None)
        if found is None:
            raise Misconfigured(f"{file}: has no cursor of lane {lane}")
    return orjson.dumps(found)


def _end(result: dict[str, Any], words: str, done: bool, json: bool) -> NoReturn:
    if json:
        show.as_json({"done": done, **result})
    else:
        show.console.print(words if done else f"{words}\nnothing was changed; add --yes to do it".strip())
    raise typer.Exit(0)
