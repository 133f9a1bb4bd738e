"""python -m lab demo: runs the demo and shows what came of it.

Exit codes: 0 everything is proved · 1 it could not run · 3 a check failed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dunning import commands as dunning
from entitlement import commands as entitlement
from lab.demo import staying
from lab.demo.run import Advance, Result, Running, playing, run
from lab.demo.story import Story, company, recorded
from lab.demo.trying import guide
from lab.stack import StackError
from lab.stack.jars import CHECKOUT
from ledger import commands as ledger
from millrace import postgres
from millrace.errors import Misconfigured
from operations import cli as operators
from operations import flow, show

HOME = CHECKOUT / ".millrace" / "demo"
SHOWN = 12  # customers whose access is shown
DRIFT = 3


def demo(
    events: Annotated[
        Path | None, typer.Option(help="Your own recorded events instead of the company's.")
    ] = None,
    chaos: Annotated[bool, typer.Option("--chaos", help="Again, with every process killed once.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed is another company.")] = 1,
    customers: Annotated[int, typer.Option(min=10, help="How many customers the company has.")] = 220,
    folder: Annotated[
        Path, typer.Option(help="Where the demo keeps its servers and logs.", show_default=False)
    ] = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="The checks as JSON.")] = False,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--end", help="Live on afterwards, to be driven by hand.", show_default="on a terminal"
        ),
    ] = None,
) -> None:
    """Play a quarter of a small company through the whole pipeline, and prove the end.

    Real PostgreSQL, real Kafka, five processes, signed webhooks: 10 % delivered twice, 5 % out of order. On a
    terminal everything then stays, the company's Stripe with it, until Ctrl-C.
    """
    if events and stay:
        raise typer.BadParameter("your own events have no account that could live on", param_hint="--stay")
    with _told():
        story = recorded(events, seed) if events else company(seed, customers)
        stays = story.company is not None and (_is_watched(as_json) if stay is None else stay)
        ok = asyncio.run(_demo(story, folder, [None, seed] if chaos else [None], stays, as_json))
    if not ok:
        raise typer.Exit(DRIFT)


def _is_watched(as_json: bool) -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not as_json


async def _demo(story: Story, folder: Path, chaos: list[int | None], stays: bool, as_json: bool) -> bool:
    """Once for each `chaos`; the last is shown, and stays if it should. Whether everything holds."""
    results = [await _first(story, folder, each, as_json) for each in chaos[:-1]]
    async with AsyncExitStack() as open_:
        with _bar(story, chaos[-1], as_json) as advance:
            playing_ = playing(story, folder, chaos=chaos[-1], say=_say, advance=advance, keep=not stays)
            running = await open_.enter_async_context(playing_)
        results.append(running.result)
        same = len({result.digest for result in results}) == 1
        await _show(results, same, running.connection, as_json)
        if stays:
            await _stay(story, running, as_json)
        elif not as_json:
            show.console.print(NEXT)
    return same and all(result.ok for result in results)


async def _first(story: Story, folder: Path, chaos: int | None, as_json: bool) -> Result:
    with _bar(story, chaos, as_json) as advance:
        return await run(story, folder, chaos=chaos, say=_say, advance=advance)


async def _stay(story: Story, running: Running, as_json: bool) -> None:
    """Serve the company until somebody has had enough of it."""
    assert story.company is not None
    site = running.result.site
    quiet = flow.Quiet(running.connection)
    async with staying.served(story.company, running.services, quiet) as house:
        with staying.until_stopped() as asked:
            access = f"http://127.0.0.1:{site.ports['entitlement']}/v1/access/cus_…"
            typer.echo(guide(str(house.site), access, story.company), err=as_json)
            await asked.wait()
        _say("ending: the services, then Kafka and PostgreSQL")


@contextmanager
def _bar(story: Story, chaos: int | None, hidden: bool) -> Iterator[Advance]:
    how = "quietly" if chaos is None else "killing every process once"
    _say(f"{story.name}, {story.deliveries:,} deliveries, {how}")
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=show.console, disable=hidden) as progress:
        task = progress.add_task("starting", total=story.deliveries)
        yield lambda what, done: progress.update(task, description=what, completed=done)


async def _show(results: list[Result], same: bool, connection: postgres.Connection, as_json: bool) -> None:
    if as_json:
        show.as_json([{"checks": r.checks, "digest": r.digest, "killed": r.killed} for r in results])
        return
    operators.show_books(await ledger.trial_balance(connection))
    await _show_access(connection)
    operators.show_cases("Open dunning cases", await dunning.cases(connection, open_only=True))
    for result in results:
        _show_result(result)
    if len(results) > 1:
        show.console.print(
            show.mark(same), "the same end with and without the kills" if same else "the ends differ"
        )


async def _show_access(connection: postgres.Connection) -> None:
    """A dozen customers in a line each: what they may do, why, and the event that proves it."""
    rows: list[tuple[str, ...]] = []
    for customer in await entitlement.customers(connection, SHOWN):
        for report in await entitlement.access(connection, customer):
            rows += _access_lines(report)
    show.table("Access", ["!customer", "may and may not", "why, and the events that prove it"], rows)


def _access_lines(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """A line for each reason that decides some of a customer's features."""
    by_reason: dict[str, list[str]] = {}
    for feature, verdict in report["features"].items():
        limit = f" {verdict['limit']}" if verdict.get("limit") else ""
        mark = "✗" if verdict["verdict"] == "denied" else "✓"
        why = "\n".join([verdict["reason"], *verdict["evidence"]])
        by_reason.setdefault(why, []).append(f"{mark} {feature}{limit}")
    for why, features in by_reason.items():
        yield report["customer"], ", ".join(features), why


def _show_result(result: Result) -> None:
    operators.show_checks(result.checks)
    killed = f", after SIGKILL of {', '.join(result.killed)}" if result.killed else ""
    show.console.print(f"{result.deliveries:,} deliveries, {result.retries:,} tried again{killed}")
    show.console.print(f"digest of all business state  {result.digest}")


NEXT = """
PostgreSQL and Kafka stay up for you to look around; `make down` stops them.

  .venv/bin/millrace access cus_…     what a customer may do, and the events that prove it
  .venv/bin/millrace books            the trial balance and what has not cleared
  .venv/bin/millrace dunning --all    every case and how it ended
  .venv/bin/millrace status           how far events have come
  .venv/bin/millrace verify           the proof once more
  make demo STAY=1                    the same, and then drive the company yourself
"""


@contextmanager
def _told() -> Iterator[None]:
    """What a person can mend is one sentence."""
    try:
        yield
    except (StackError, Misconfigured, TimeoutError) as problem:
        _say(f"demo: {problem}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(line: str) -> None:
    typer.echo(line, err=True)
