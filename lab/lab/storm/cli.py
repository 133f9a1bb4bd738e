"""millrace-lab storm: companies through the double, hostile deliveries into Millrace, and every answer compared.

Exit codes: 0 nothing differs · 1 it could not run · 3 something differs, and the shortest story is shown.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer

if TYPE_CHECKING:  # the services are imported when a storm is begun: every other command starts fast
    from lab.storm.run import Seed, Tell, Weather

DIFFERS = 3
EXAMPLES = (
    "Examples: millrace-lab storm --seed 7 · millrace-lab storm --seeds 30 --customers 500 · "
    "millrace-lab storm --seed 7 --against whole --write tests/stories"
)


def register(app: typer.Typer) -> None:
    """Add the command to millrace-lab's own."""
    app.command(epilog=EXAMPLES)(storm)


def storm(
    seed: Annotated[int, typer.Option(help="Another seed is another company, and another post office.")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, from --seed on.")] = 1,
    days: Annotated[int, typer.Option(min=1, help="How long the company lives.")] = 90,
    customers: Annotated[int, typer.Option(min=1, help="How many customers it has.")] = 500,
    schedule: Annotated[
        Literal["kind", "usual", "hostile"], typer.Option(help="How badly events are delivered.")
    ] = "hostile",
    against: Annotated[
        Literal["direct", "whole"],
        typer.Option(help="The consumers alone, on a database; or everything, from the webhook on."),
    ] = "direct",
    write: Annotated[
        Path | None,
        typer.Option(help="Write each story as a test into this folder.", file_okay=False, exists=True),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Live through a company's quarter, deliver its events badly, and compare every answer with the truth."""
    from lab.stack import StackError
    from lab.storm.run import Weather
    from millrace.errors import Misconfigured

    weather = Weather(days, customers, schedule, against == "whole")
    try:
        done = asyncio.run(_through(weather, range(seed, seed + seeds), as_json))
    except (StackError, Misconfigured) as problem:
        typer.echo(f"storm: {problem}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        sys.stdout.write(
            orjson.dumps([plain(each) for each in done], option=orjson.OPT_INDENT_2).decode() + "\n"
        )
    for each in done:
        _written(each, write)
    if any(each.differences for each in done):
        raise typer.Exit(DIFFERS)


async def _through(weather: Weather, seeds: range, as_json: bool) -> list[Seed]:
    from lab.storm.run import storm as storms

    done = []
    with _bar(hidden=as_json or not sys.stderr.isatty()) as tell:
        async for each in storms(weather, seeds, lambda line: typer.echo(line, err=True), tell):
            done.append(each)
            if not as_json:
                typer.echo(shown(each))
    return done


def shown(done: Seed) -> str:
    """One seed for people: a line when nothing differs, and the stories when something does."""
    came = f"seed {done.seed}: {done.deliveries:,} deliveries, {done.lost} events lost"
    compared = f"{done.answers:,} answers compared, {done.doubts} in doubt"
    if not done.differences:
        return f"✓ {came}; {compared}, none differs"
    told = {story.difference.key for story in done.stories}
    rest = [str(each) for each in done.differences if each.key not in told]
    stories = [f"\n{story}" for story in done.stories]
    return "\n".join([f"✗ {came}; {compared}, {len(done.differences)} differ", *stories, "", *rest[:10]])


def plain(done: Seed) -> dict[str, Any]:
    """One seed as JSON."""
    return {
        "seed": done.seed,
        "deliveries": done.deliveries,
        "lost": done.lost,
        "answers": done.answers,
        "doubts": done.doubts,
        "differences": [_plain(each) for each in done.differences],
        "stories": [
            {
                "difference": _plain(story.difference),
                "again": story.origin,
                "deliveries": [
                    dict(zip(("number", "arrives", "event", "about", "says", "odd"), row, strict=True))
                    for row in story.rows()
                ],
            }
            for story in done.stories
        ],
    }


def _plain(difference: Any) -> dict[str, str]:
    from millrace_lab.storm.comparing import said

    return {
        "aspect": difference.aspect,
        "object": difference.object,
        "stripe": said(difference.expected),
        "here": said(difference.found),
    }


def _written(done: Seed, folder: Path | None) -> None:
    from millrace_lab.storm.writing import write

    for story in done.stories if folder else ():
        assert folder is not None
        typer.echo(f"written: {write(story, folder)}", err=True)


@contextmanager
def _bar(hidden: bool) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda what, done, of: progress.update(task, description=what, completed=done, total=of or None)
