"""The suites are all there, and the check that says so can fail."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.floor import ROOT, SELECTION, below, collected, floors, folder

TWO = "def test_one(): pass\ndef test_two(): pass\n"
SKIPPED = "import pytest\ndef test_one(): pass\n@pytest.mark.skip(reason='no engine')\ndef test_two(): pass\n"


def run(at: Path, tests: str, floor: dict[str, int], *arguments: str) -> tuple[int, str]:
    """A small project with one suite, run with the hook."""
    (at / "tests" / "unit").mkdir(parents=True)
    (at / "tests" / "unit" / "test_it.py").write_text(tests)
    (at / "tests" / "floor.json").write_text(json.dumps(floor))
    (at / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    program = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.support.floor",
        "-p",
        "no:cacheprovider",
        *arguments,
    ]
    ended = subprocess.run(
        [*program, "--rootdir", str(at)],
        capture_output=True, text=True, cwd=at, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("tests", "floor", "complaint"),
    [
        (TWO, {"tests/unit": 2}, ""),
        (TWO, {"tests/unit": 1}, ""),
        (TWO, {"tests/unit": 3}, "tests/unit: 2 tests ran, at least 3 should"),
        (TWO, {"tests/unit": 2, "tests/fault": 1}, "tests/fault: 0 tests ran, at least 1 should"),
        (SKIPPED, {"tests/unit": 2}, "tests/unit: 1 tests ran, at least 2 should"),
    ],
)
def test_a_green_run_below_a_floor_is_red(
    tmp_path: Path, tests: str, floor: dict[str, int], complaint: str
) -> None:
    code, said = run(tmp_path, tests, floor)
    assert code == (1 if complaint else 0), said
    assert (f"below the floor: {complaint}" in said) is bool(complaint)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (["tests/unit"], "tests/unit: 2 tests ran, at least 3 should"),
        (["tests"], "tests/unit: 2 tests ran, at least 3 should"),
        (["-n", "2", "-p", "xdist", "tests/unit"], "tests/unit: 2 tests ran, at least 3 should"),
    ],
)
def test_a_folder_that_was_asked_for_is_judged_and_no_other(
    tmp_path: Path, asked: list[str], complaint: str
) -> None:
    (tmp_path / "tests" / "fault").mkdir(parents=True)
    code, said = run(tmp_path, TWO, {"tests/unit": 3}, *asked)
    assert (code, f"below the floor: {complaint}" in said) == (1, True), said
    assert "tests/fault" not in said


@pytest.mark.parametrize(
    "part", [["tests/unit/test_it.py"], ["-k", "one"], ["-m", "not one"], ["--collect-only"]]
)
def test_part_of_the_suite_is_not_judged(tmp_path: Path, part: list[str]) -> None:
    code, said = run(tmp_path, TWO, {"tests/unit": 3}, *part)
    assert code == 0, said


def test_a_run_that_failed_is_not_blamed_for_stopping(tmp_path: Path) -> None:
    code, said = run(tmp_path, "def test_one(): assert False\n" + TWO[21:], {"tests/unit": 9}, "-x")
    assert code == 1
    assert "below the floor" not in said


def test_every_suite_has_a_floor_and_stands_on_it() -> None:
    now = collected()
    assert below(floors(ROOT), now) == []
    assert set(now) <= set(floors(ROOT)), "a new suite: python -m tests.support.floor"


def test_the_floor_counts_what_make_test_runs() -> None:
    [made] = re.findall(r"^SELECTION := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert made == f'"{SELECTION}"'


def test_make_test_asks_for_every_suite() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ntest: ")[2].partition("\n\n")[0]
    assert sorted(set(re.findall(r"tests/\w+", recipe))) == sorted(
        f"tests/{suite}" for suite in {name.split("/")[1] for name in floors(ROOT)}
    )


def test_folders_are_told_by_their_path() -> None:
    assert folder("tests/unit/ledger/test_postings.py::test_x[a/b::c]") == "tests/unit/ledger"
