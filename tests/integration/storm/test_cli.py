"""The command: what it says of a clean seed and of one that differs, as text and as JSON, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from lab.stack import StackError
from lab.storm import run
from lab.storm.cli import register
from lab.storm.run import Seed, Weather
from millrace_lab.storm.comparing import Difference
from millrace_lab.storm.story import Story
from tests.unit.millrace_lab.storm.hand_made import arrival, invoice, payment

ONE = Difference("receivable", "in_1", 0, -1000)
OTHER = Difference("status", "sub_1", "active", None)
STORY = Story(
    ONE,
    (
        arrival(1, "invoice.finalized", invoice("open")),
        arrival(2, "invoice_payment.paid", payment(1000)),
        arrival(2, "invoice_payment.paid", payment(1000), id="evt_twin"),
    ),
    "millrace-lab storm --seed 8",
)
CLEAN = Seed(7, 2550, 3, 20400, 1, [])
DIFFERS = Seed(8, 2400, 0, 1800, 0, [ONE, OTHER], [STORY])
SAID = """\
✓ seed 7: 2,550 deliveries, 3 events lost; 20,400 answers compared, 1 in doubt, none differs
✗ seed 8: 2,400 deliveries, 0 events lost; 1,800 answers compared, 0 in doubt, 2 differ

receivable of in_1: 0 at Stripe, -1000 here

   arrives          event                 about    says                               odd
1  01 Jul 00:00:01  invoice.finalized     in_1     open: 1000 of 1000 usd remain
2  01 Jul 00:00:02  invoice_payment.paid  inpay_1  1000 usd
3  01 Jul 00:00:02  invoice_payment.paid  inpay_1  1000 usd                           twin of 2
found by millrace-lab storm --seed 8

status of sub_1: active at Stripe, nothing here
"""


def asked(monkeypatch: pytest.MonkeyPatch, done: dict[int, Seed], *args: str) -> tuple[Result, list[Weather]]:
    """The command over seeds that have been judged already."""
    weathers: list[Weather] = []

    async def judged(weather: Weather, seeds: range, *_: Any) -> AsyncIterator[Seed]:
        weathers.append(weather)
        for seed in seeds:
            yield done[seed]

    monkeypatch.setattr(run, "storm", judged)
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["storm", *args]), weathers


def test_a_clean_seed_is_a_line_and_a_difference_is_a_story(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = asked(monkeypatch, {7: CLEAN, 8: DIFFERS}, "--seed", "7", "--seeds", "2")
    assert [line.split() for line in result.stdout.splitlines()] == [
        line.split() for line in SAID.splitlines()
    ]
    assert result.exit_code == 3


def test_nothing_differs_exits_0_and_the_weather_is_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    result, weathers = asked(
        monkeypatch, {7: CLEAN}, "--seed", "7", "--days", "30", "--schedule", "usual", "--against", "whole"
    )
    assert (result.exit_code, weathers) == (0, [Weather(30, 500, "usual", whole=True)])
    again = "millrace-lab storm --seed 7 --days 30 --customers 500 --schedule usual --against whole"
    assert weathers[0].origin(7) == again


def test_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = asked(monkeypatch, {8: DIFFERS}, "--seed", "8", "--json")
    [told] = json.loads(result.stdout)
    assert told["differences"][0] == {
        "aspect": "receivable",
        "object": "in_1",
        "stripe": "0",
        "here": "-1000",
    }
    assert [each["odd"] for each in told["stories"][0]["deliveries"]] == ["", "", "twin of 2"]
    assert result.exit_code == 3


def test_stories_are_written_as_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked(monkeypatch, {8: DIFFERS}, "--seed", "8", "--write", str(tmp_path))
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["test_storm_receivable_in_1.json", "test_storm_receivable_in_1.py"]


def test_what_keeps_it_from_running_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> AsyncIterator[Seed]:
        raise StackError("no PostgreSQL here")
        yield CLEAN

    monkeypatch.setattr(run, "storm", broken)
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    result = CliRunner().invoke(app, ["storm"])
    assert (result.exit_code, result.stderr) == (1, "storm: no PostgreSQL here\n")


def test_it_is_one_of_millrace_labs_commands() -> None:
    [found] = entry_points(group="millrace_lab.commands", name="storm")
    assert found.load() is register
