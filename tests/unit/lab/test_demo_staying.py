"""The services' clock goes with the account's: forwards only, and over midnight when the day is done."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from typer.testing import CliRunner

from lab.demo.cli import demo
from lab.demo.staying import Clocks, until_stopped
from millrace.clock import FileClock

NOON = datetime(2026, 9, 30, 12, tzinfo=UTC)


class Watched:
    """A clock, and what has been done around it."""

    def __init__(self, path: Path) -> None:
        self.clock, self.done = FileClock(path), list[str]()
        self.clock.turn(NOON)
        services = SimpleNamespace(site=SimpleNamespace(clock=self.clock), revive=self.revive)
        self.clocks = Clocks(cast(Any, services), cast(Any, SimpleNamespace(wait=self.wait)))

    def revive(self) -> None:
        self.done.append("what ended is started again")

    async def wait(self, now: datetime) -> None:
        self.done.append(f"quiet at {now:%H:%M}, clock at {self.clock.now():%H:%M}")

    def turn(self, at: datetime) -> str:
        asyncio.run(self.clocks.turn(int(at.timestamp())))
        return f"{self.clock.now():%d %H:%M}"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    yield Watched(tmp_path / "clock")


def test_within_a_day_it_is_turned_at_once(watched: Watched) -> None:
    assert watched.turn(NOON.replace(hour=23)) == "30 23:00"
    assert watched.clocks.seconds() == NOON.replace(hour=23).timestamp()
    assert watched.done == []


def test_a_day_ends_when_all_of_it_is_applied_and_the_next_begins_when_the_timers_have_fired(
    watched: Watched,
) -> None:
    assert watched.turn(datetime(2026, 10, 2, 1, tzinfo=UTC)) == "02 01:00"
    assert watched.done == [
        "what ended is started again",
        "quiet at 12:00, clock at 12:00",
        "quiet at 01:00, clock at 01:00",
    ]


def test_it_is_never_turned_back(watched: Watched) -> None:
    assert watched.turn(NOON.replace(hour=11)) == "30 12:00"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_asked_to_end_may_do_so_in_order(number: signal.Signals) -> None:
    async def stays() -> str:
        with until_stopped() as asked:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
            async with asyncio.timeout(5):
                await asked.wait()
        return "ended in order"

    assert asyncio.run(stays()) == "ended in order"


def test_a_persons_own_events_have_nothing_to_stay_for(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(demo)
    done = CliRunner().invoke(app, ["--events", str(tmp_path / "events.json"), "--stay"])
    assert done.exit_code == 2
    assert "no account that could live on" in done.output
