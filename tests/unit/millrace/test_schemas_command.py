"""`millrace schemas`: for people, for programs, and for the CI of other teams."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import orjson
import pytest
from typer.testing import CliRunner

from millrace.cli import application
from millrace.schemas import schemas

ROOT = Path(__file__).parents[3]

WHEELS = """
from typing import ClassVar
from millrace.events.ours import Payload, means

class Turned(Payload):
    \"\"\"A wheel turned.\"\"\"

    TYPE: ClassVar[str] = "mill.wheel.turned"
    TOPIC: ClassVar[str] = "wheels"
    wheel: str = means("which one")
    {field}

PAYLOADS = (Turned,)
NOTHING = ()
"""


def millrace(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(application(()), ["schemas", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_may_be_said_with_and_without_show() -> None:
    name = "millrace.headers.v1"
    assert millrace(name) == millrace("show", name)
    assert orjson.loads(millrace(name)[1]) == schemas()[name]


def test_ours_keep_what_was_published() -> None:
    published = str(ROOT / "schemas" / "published")
    assert millrace("check", "--against", published) == (
        0,
        f"{len(schemas())} schemas keep what was promised\n",
    )
    assert millrace("check", "--against", published, "--json") == (0, "[]\n")


def test_another_team_publishes_and_is_told_when_it_breaks_its_promise(at: Path) -> None:
    (at / "wheels_before.py").write_text(dedent(WHEELS.format(field="turns: int")))
    (at / "wheels_after.py").write_text(dedent(WHEELS.format(field="turns: str")))
    before, after = ("--payloads", "wheels_before"), ("--payloads", "wheels_after:PAYLOADS")
    path = "schemas/published/mill.wheel.turned.v1.json"
    assert millrace("publish", *before) == (0, f"{path}\n")
    assert millrace("publish", *before) == (0, "schemas/published says this already\n")
    assert millrace("check", *before) == (0, "1 schemas keep what was promised\n")
    sentence = (
        "mill.wheel.turned.v1: `turns` was integer and is now string; readers take it for what it was. "
        "Add another field beside it, or publish mill/wheel.turned/2 beside it until the readers of version 1 "
        "have moved."
    )
    assert millrace("check", *after) == (3, f"{sentence}\n")
    promise = (at / path).read_bytes()
    assert millrace("publish", *after) == (3, f"{sentence}\n")
    assert (at / path).read_bytes() == promise
    code, told = millrace("check", *after, "--json")
    assert code == 3
    assert orjson.loads(told) == [
        {
            "sentence": sentence,
            "schema": "mill.wheel.turned.v1",
            "where": "turns",
            "what": "was integer and is now string",
            "why": "readers take it for what it was",
            "instead": "Add another field beside it",
        }
    ]
    assert orjson.loads(millrace("show", "mill.wheel.turned.v1", *before)[1])["x-topic"] == "wheels"


def test_nothing_to_hold_against_is_no_success(at: Path) -> None:
    assert millrace("check") == (
        1, "schemas/published holds no schema to hold anything against: make it with `millrace schemas publish`\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"), [("{", "broken.json is not JSON"), ("[]", "broken.json is no JSON Schema but list")]
)
def test_a_file_that_is_no_schema_is_named(at: Path, text: str, said: str) -> None:
    (at / "broken.json").write_text(text)
    code, told = millrace("check", "--against", ".")
    assert (code, said in told) == (1, True)


@pytest.mark.parametrize(
    ("payloads", "said"),
    [
        ("no_such_module", "cannot be loaded: No module named 'no_such_module'"),
        ("wheels_here:SPOKES", "cannot be loaded"),
        ("wheels_here:NOTHING", "is no list of Payload classes"),
        ("wheels_here:means", "is no list of Payload classes"),
        (":", "cannot be loaded"),
    ],
)
def test_payloads_that_are_none_are_a_misspelling(at: Path, payloads: str, said: str) -> None:
    (at / "wheels_here.py").write_text(dedent(WHEELS.format(field="turns: int")))
    code, told = millrace("check", "--payloads", payloads, "--against", str(ROOT / "schemas" / "published"))
    assert code == 2
    assert said.replace(" ", "") in told.replace("\n", "").replace("│", "").replace(" ", "")
