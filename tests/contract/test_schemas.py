"""The committed schemas are those of the code, and keep what was published."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import orjson

from millrace.events.ours import PAYLOADS
from millrace.schemas import name

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"


def generate(at: Path, *arguments: str) -> tuple[int, str]:
    program = [sys.executable, str(at / "schemas" / "generate.py"), *arguments]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=at)
    return ended.returncode, ended.stdout + ended.stderr


def copied(to: Path) -> Path:
    """The generated files in a place where they may be spoiled."""
    shutil.copytree(SCHEMAS, to / "schemas")
    (to / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "events.md", to / "docs")
    return to


def test_generating_again_changes_nothing() -> None:
    assert generate(ROOT, "--check") == (0, "")


def test_each_event_of_ours_has_one_file_and_each_file_an_event() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {name(payload) for payload in PAYLOADS}


def test_a_schema_out_of_date_missing_or_left_over_is_named(tmp_path: Path) -> None:
    at = copied(tmp_path)
    (at / "schemas" / "millrace.ledger.posted.v1.json").write_text("{}\n")
    (at / "schemas" / "millrace.refresh.requested.v1.json").unlink()
    (at / "schemas" / "millrace.left.over.v1.json").write_text("{}\n")
    code, said = generate(at, "--check")
    assert code == 1
    assert said.splitlines() == [
        "schemas/millrace.ledger.posted.v1.json: run `make schemas`",
        "schemas/millrace.refresh.requested.v1.json: run `make schemas`",
        "schemas/millrace.left.over.v1.json: run `make schemas`",
    ]
    assert generate(at)[0] == 0
    assert generate(at, "--check") == (0, "")


def test_a_promise_that_the_code_no_longer_keeps_is_refused(tmp_path: Path) -> None:
    at = copied(tmp_path)
    promise = at / "schemas" / "published" / "millrace.ledger.posted.v1.json"
    body = orjson.loads(promise.read_bytes())
    body["properties"]["memo"] = {"type": "string"}
    body["required"].append("memo")
    promise.write_bytes(orjson.dumps(body))
    code, said = generate(at, "--check")
    assert code == 1
    assert said.splitlines() == [
        "millrace.ledger.posted.v1: the event: memo was always there and may now be missing",
        "millrace.ledger.posted.v1: memo: was removed",
    ]


def test_something_has_been_published() -> None:
    assert {path.stem for path in (SCHEMAS / "published").glob("*.json")}
