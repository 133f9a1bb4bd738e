"""`millrace import`: events from files, taken in as if they had come to the door, but for the signature."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import Progress, TaskID

from ingest import commands as ingest
from millrace.clock import clock
from millrace.errors import Misconfigured
from millrace.sealing import Policy
from operations import recorded, running, show
from operations.running import DRIFT, Json
from operations.settings import Settings

SHOWN_MAX = 100  # refused events that are named on the screen; all of them are counted


@dataclass(slots=True)
class Refusals:
    """What was turned away: all of it counted, the first named, every one written if there is a file for it."""

    file: BinaryIO | None
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[tuple[str, str]] = field(default_factory=list)  # place, reason

    def add(self, turned: Sequence[ingest.Turned]) -> None:
        for place, reason, raw in turned:
            self.reasons[reason] += 1
            if len(self.first) < SHOWN_MAX:
                self.first.append((place, reason))
            if self.file:
                self.file.write(
                    raw.replace(b"\n", b" ") + b"\n"
                )  # between tokens only: a text cannot hold one


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="Events: one JSON a line, arrays, Stripe's lists; .gz too.", metavar="FILE…"),
    ],
    account: Annotated[str, typer.Option(help="The Stripe account they are of, acct_…")],
    livemode: Annotated[
        bool, typer.Option("--livemode/--test", help="Which mode they are of; others are refused.")
    ],
    connect: Annotated[
        bool, typer.Option("--connect", help="Events of connected accounts, each of which names its own.")
    ] = False,
    at_once: Annotated[int, typer.Option(min=1, max=5000, help="Events that share a commit.")] = 256,
    refused: Annotated[
        Path | None, typer.Option(help="New file for what is refused, a line an event: it is not sealed.")
    ] = None,
    json: Json = False,
) -> None:
    """Store and publish recorded events, each once, however often it is run. Exit code 3 when any was refused.

    Lines keep their order; what a list holds is turned round by a commit's worth, for Stripe lists the newest first.
    Broken off, it is begun again and passes over what is stored.
    Example: millrace import may.jsonl.gz --account acct_1MillraceDemo --livemode --refused refused.jsonl
    """
    settings = Settings.read()
    policy = Policy.read(settings.sealing)
    sizes = {file: _size(file) for file in files}

    async def run(refusals: Refusals) -> ingest.Imported:
        async with running.connection(settings) as connection, running.keys(settings) as keys:
            door = ingest.endpoint(account, livemode=livemode, connect=connect)
            work = ingest.Import(connection, door, keys, policy, clock(settings.clock))
            await work.begin()
            with Progress(console=show.console, transient=True, disable=json) as bar:
                for file, size in sizes.items():
                    task = bar.add_task(file.name, total=size)
                    given = _given(file, partial(_moved, bar, task))
                    for batch in ingest.batches(given, at_once):
                        refusals.add(await work.take(batch))
            return work.told

    with _opened(refused) as file:
        refusals = Refusals(file)
        told = running.run(run(refusals))
    _tell(told, refusals, json)
    raise typer.Exit(DRIFT if told.refused else 0)


def _given(file: Path, moved: Callable[[int], object]) -> Iterator[ingest.Given]:
    """The events in a file, as ingest takes them."""
    return (ingest.Given(*found) for found in recorded.events(file, moved))


def _moved(bar: Progress, task: TaskID, read: int) -> None:
    bar.update(task, completed=read)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as problem:
        raise Misconfigured(f"{file}: {problem.strerror}") from None


@contextmanager
def _opened(refused: Path | None) -> Iterator[BinaryIO | None]:
    """The file for what is refused, readable by its owner alone: what is in it is not sealed."""
    if refused is None:
        yield None
        return
    try:
        handle = os.open(refused, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise Misconfigured(f"--refused {refused}: {problem.strerror}; name a new file") from None
    with os.fdopen(handle, "wb") as file:
        yield file


def _tell(told: ingest.Imported, refusals: Refusals, json: bool) -> None:
    if json:
        first = [{"place": place, "reason": reason} for place, reason in refusals.first]
        show.as_json({**asdict(told), "reasons": dict(refusals.reasons), "first_refused": first})
        return
    show.console.print(
        f"{told.stored:,} stored, {told.passed_over:,} passed over, {told.refused:,} refused"
        + (f", {told.cards:,} card numbers cut out" if told.cards else "")
    )
    if refusals.first:
        show.table("Refused", ["!where", "why"], refusals.first)
    if (more := told.refused - len(refusals.first)) > 0:
        show.console.print(f"and {more:,} more; --refused FILE writes all of them")
