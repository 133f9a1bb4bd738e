"""Spin visits every state of the relay's protocol; and where a rule of it is left out, it finds what goes wrong."""

from __future__ import annotations

import sys

import pytest

from lab.stack import MissingPiece, programs
from model import MISTAKES, check, verdict

WHOLE = {
    "relay": ("ROWS=3", "ROWS=2"),
    "undecided": ("MEMORY=3", "MEMORY=3"),
}  # for safety and for progress; `make model` searches larger ones


@pytest.fixture(scope="module", autouse=True)
def _spin() -> None:
    try:
        programs.spin(lambda line: print(line, file=sys.__stderr__))
    except MissingPiece as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("model", MISTAKES)
def test_nothing_is_lost_doubled_or_out_of_order_in_any_state(model: str) -> None:
    made = check(model, WHOLE[model][0])
    assert (made.errors, made.found, made.complete) == (0, "", True)
    assert made.states > 1000, "a search of next to nothing proves nothing"


@pytest.mark.parametrize("model", MISTAKES)
def test_when_the_faults_end_everything_is_published(model: str) -> None:
    made = check(model, WHOLE[model][1], cycles=True)
    assert (made.errors, made.found, made.complete) == (0, "", True)
    assert made.states > 1000


@pytest.mark.parametrize(
    ("model", "mistake", "wanted"),
    [(model, mistake, wanted) for model, every in MISTAKES.items() for mistake, wanted in every.items()],
)
def test_a_rule_that_is_left_out_is_missed(model: str, mistake: str, wanted: str) -> None:
    made = check(model, mistake, quick=True, cycles="cycle" in wanted)
    assert made.errors
    assert wanted in made.found


FULL = (
    "State-vector 124 byte, depth reached 9, errors: 0\n  42 states, stored\npan: elapsed time 1.5 seconds\n"
)


@pytest.mark.parametrize(
    ("said", "complete"),
    [
        (FULL, True),
        ("Warning: Search not completed\n" + FULL, False),
        ("error: max search depth too small\n" + FULL, False),
        ("pan: out of memory\n" + FULL, False),
    ],
)
def test_a_search_that_was_cut_short_proves_nothing(said: str, complete: bool) -> None:
    assert verdict(said).complete is complete
