"""The double's pages say what its code says, and lead nowhere that is not there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_lab.account import SETTINGS
from millrace_lab.delivery.schedule import KNOBS, PROFILES
from millrace_lab.edge.control import ACTS

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "lab" / "README.md", *sorted((ROOT / "docs" / "lab").glob("*.md"))]
README = PAGES[0].read_text()
OURS = {"lab_no_meter", "lab_used", "lab_balance"}  # ids and kinds of ours that nobody gives
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def generate(at: Path, *arguments: str) -> tuple[int, str]:
    program = [sys.executable, str(at / "docs" / "lab" / "generate.py"), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_generated_parts_are_up_to_date_and_written_anew_when_they_are_not(tmp_path: Path) -> None:
    assert generate(ROOT, "--check") == (0, "")
    for page in (*PAGES, ROOT / "docs" / "lab" / "generate.py"):
        copy = tmp_path / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(page, copy)
    spoiled = tmp_path / "lab" / "README.md"
    spoiled.write_text(README.replace("| `/v1/balance` | `GET` |", "| `/v1/balance` | `GET POST` |"))
    assert generate(tmp_path, "--check") == (1, "lab/README.md\n")
    assert generate(tmp_path)[0] == 0
    assert spoiled.read_text() == README


def first_cells(text: str) -> set[str]:
    """What stands in code in the first cell of every row."""
    cells = re.findall(r"^\| ([^|]*)\|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_act_and_every_setting_is_explained() -> None:
    explained = first_cells(README.split("## What only the double knows")[1])
    assert {each for each in explained if "/_lab" in each} == set(ACTS)
    assert SETTINGS.keys() <= explained


def test_every_key_of_ours_is_explained_and_no_other() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "lab" / "millrace_lab").rglob("*.py"))
    named = set(re.findall(r"(?<![a-z_])lab_[a-z0-9_]+", code)) - OURS
    assert {each for each in first_cells(README) if each.startswith("lab_")} == named


def test_every_knob_is_explained() -> None:
    schedules = (ROOT / "docs" / "lab" / "schedules.md").read_text()
    assert first_cells(schedules.split("what happens")[1]) == set(KNOBS)
    assert all(f"`{name}`" in schedules or name in schedules for name in PROFILES)


def anchors(page: Path) -> set[str]:
    """What its headings are called in an address."""
    return {
        re.sub(r"[^\w\- ]", "", each).lower().replace(" ", "-") for each in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_behaviour_has_a_source() -> None:
    table = (ROOT / "docs" / "lab" / "behaviours.md").read_text().split("## Keys")[1].split("## Not there")[0]
    rows = [
        line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| behaviour")
    ]
    known = re.compile(r"/[a-z]|our reading|ours|description|client|recorded|stripe-mock|published")
    assert len(rows) > 200
    for row in rows:
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 3, row
        assert known.search(cells[2]), row
