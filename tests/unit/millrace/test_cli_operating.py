"""What the operating commands decide by themselves: where offsets go, what wants attention, what a person may type."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from millrace.cli import application
from millrace.commands import offsets, running, show
from millrace.commands.group import First, Group, Member
from millrace.commands.standing import Heard, Told, stand
from millrace.consumer.operating import Came, Known, Refused

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
KNOWN = Known("crm", "crm", ("t",), True, NOW - timedelta(days=1), None, None, None)
PAUSED = replace(KNOWN, paused_at=NOW - timedelta(hours=3), paused_by="eva", paused_why="audit")
CAME = Came("t", 0, 60, 60, {"main": 58}, NOW, NOW)
TOLD = Told(KNOWN, (CAME,), {}, 0, 0, None, 12.0)
MEMBER = Member("crm-0", "10.0.0.7", (("t", 0),))
HEARD = Heard(Group("Stable", (MEMBER,)), {("t", 0): 60}, {("t", 0): 0}, {("t", 0): 60}, {})


def attention(told: Told, heard: Heard | None) -> tuple[str, ...]:
    return stand(told, heard, NOW, 60.0).attention


def test_a_consumer_that_keeps_up_wants_nothing() -> None:
    one = stand(TOLD, HEARD, NOW, 60.0)
    assert (one.state, one.attention, one.lag_records, one.lag_seconds) == ("running", (), 0, 0.0)


def test_lag_is_the_age_of_the_first_record_that_waits() -> None:
    waits = replace(HEARD, ends={("t", 0): 90}, first={("t", 0): First(70, NOW - timedelta(seconds=61))})
    one = stand(TOLD, waits, NOW, 60.0)
    assert (one.lag_records, one.lag_seconds) == (20, 61.0)
    assert one.attention == ("behind by 61 s: docs/runbook/consumer-behind.md",)
    assert stand(TOLD, waits, NOW, 61.0).attention == ()


WANTS: dict[str, tuple[Told, Heard | None, str, str]] = {
    "nobody": (TOLD, replace(HEARD, group=Group("Empty", ())), "empty", "no member is running: start it"),
    "rebalances": (TOLD, replace(HEARD, group=Group("PreparingRebalance", (replace(MEMBER, partitions=()),))),
                   "rebalancing", "1 partitions have no member"),
    "paused": (replace(TOLD, known=PAUSED), HEARD, "paused",
               "paused for 3 h by eva: audit; go on with `millrace consumers resume crm"),
    "parked": (replace(TOLD, parked={"poison": 2, "waiting": 9}), HEARD, "running", "2 events are parked"),
    "retention": (TOLD, replace(HEARD, begins={("t", 0): 75}, ends={("t", 0): 80}), "running",
                  "t/0: retention has taken 15 records that were not read"),
    "made anew": (TOLD, replace(HEARD, ends={("t", 0): 5}), "running",
                  "t/0: it ends at 5, before the committed offset 60"),
    "topic gone": (TOLD, replace(HEARD, begins={}, ends={}), "running", "t/0: Kafka has no such partition"),
    "only Kafka lost it": (TOLD, replace(HEARD, committed={("t", 0): 3}, begins={("t", 0): 50}), "running", ""),
    "no kafka": (replace(TOLD, parked={"failed": 1}), None, "unknown", "1 events are parked"),
}  # fmt: skip


@pytest.mark.parametrize("what", WANTS)
def test_what_wants_attention_says_what_to_do(what: str) -> None:
    told, heard, state, says = WANTS[what]
    one = stand(told, heard, NOW, 60.0)
    assert one.state == state
    assert len(one.attention) == bool(says)
    assert "".join(one.attention).startswith(says)


def test_who_waits_for_facts_wants_no_attention() -> None:
    assert attention(replace(TOLD, parked={"waiting": 9}), HEARD) == ()


MOVES = [  # before, after, decided → read again, known of it, skipped
    ((10, 4, 10), (6, 6, 0)),
    ((10, 4, 7), (6, 3, 0)),
    ((4, 10, 4), (0, 0, 6)),
    ((4, 10, 8), (0, 0, 2)),
    ((4, 10, 12), (0, 0, 0)),
    ((10, 4, 0), (6, 0, 0)),
    ((5, 5, 5), (0, 0, 0)),
]


@pytest.mark.parametrize(("move", "means"), MOVES)
def test_a_move_reads_again_what_it_knows_or_skips(
    move: tuple[int, int, int], means: tuple[int, ...]
) -> None:
    before, after, decided = move
    made = offsets._move(("t", 0), before, after, 99, decided)
    assert (made.again, made.known, made.skipped) == means


def test_a_target_is_said_once() -> None:
    nothing: dict[str, Any] = {
        "to_earliest": False, "to_latest": False, "to_time": None, "to_offset": None, "by": None
    }  # fmt: skip
    assert offsets.target(NOW, **nothing | {"by": 0}).said == "by +0 records"
    at = offsets.target(NOW, **nothing | {"to_time": "90s"})
    assert (at.time, at.said) == (NOW - timedelta(seconds=90), "to 2026-11-28T11:58:30Z")
    assert offsets.target(NOW, **nothing | {"to_offset": ["a.b/7=9"]}).offsets == {("a.b", 7): 9}
    for wrong in ({}, {"to_earliest": True, "by": 1}, {"to_offset": ["a/b=9"]}, {"to_time": "noon"}):
        with pytest.raises(typer.BadParameter):
            offsets.target(NOW, **nothing | wrong)


def test_what_cannot_be_taken_back_wants_the_name_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    running.confirmed("crm", yes=True)
    with pytest.raises(Refused, match="add --yes"):
        running.confirmed("crm", yes=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: "crm")
    running.confirmed("crm", yes=False)
    monkeypatch.setattr(typer, "prompt", lambda *_, **__: "y")
    with pytest.raises(Refused, match="another word"):
        running.confirmed("crm", yes=False)


def test_durations_are_read_at_a_glance() -> None:
    said = {0.44: "0.4 s", 61: "61 s", 119: "119 s", 600: "10 min", 7200: "2 h", 200_000: "2 days"}
    assert {seconds: show.age(seconds) for seconds in said} == said


def test_what_would_steer_a_terminal_is_seen_instead() -> None:
    assert show.plain("a\x1b[2Jb\u202ec\nd é") == "a\\u001b[2Jb\\u202ec\nd é"


RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook"
PAGES = ("consumers", "consumer-behind", "consumer-stuck", "dead-letter-limit", "parked")
TYPED = re.compile(r"^ {4,}(millrace .+)$|`(millrace [^`]+)`", re.MULTILINE)


@cache
def millrace() -> Any:
    return typer.main.get_command(application())


@pytest.mark.parametrize("page", PAGES)
def test_what_the_runbook_says_to_type_can_be_typed(page: str) -> None:
    typed = [a or b for a, b in TYPED.findall((RUNBOOK / f"{page}.md").read_text())]
    assert typed
    for line in typed:
        _, *words = shlex.split(line, comments=True)
        command: Any = millrace()
        while hasattr(command, "commands"):
            assert words, f"{line}: what?"
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        options = {name for param in command.params for name in param.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
