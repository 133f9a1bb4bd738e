"""Keys that are made, and an erasure that is refused before anything is looked at."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner, Result

from millrace.cli import application
from millrace.errors import Misconfigured

NOWHERE = {"MILLRACE_DATABASE": "postgresql://nobody@127.0.0.1:1/nothing"}


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(application(), [str(arg) for arg in args], env=NOWHERE)


def test_the_next_key_is_made_and_the_ones_before_stay(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    said = [orjson.loads(run("keys", "new", folder, "--json").stdout) for _ in range(3)]
    assert [one["version"] for one in said] == ["0001", "0002", "0003"]
    assert [one["file"] for one in said] == [str(path) for path in sorted(folder.iterdir())]
    keys = {base64.b64decode(path.read_bytes()) for path in folder.iterdir()}
    assert {len(key) for key in keys} == {32} and len(keys) == 3
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}


def test_a_key_is_told_where_it_is_and_what_comes_next_but_never_shown(tmp_path: Path) -> None:
    said = run("keys", "new", tmp_path).output
    assert str(tmp_path / "0001.key") in said.replace("\n", "") and "millrace keys rotate" in said
    assert (tmp_path / "0001.key").read_text().strip() not in said


def test_a_folder_that_is_none_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    done = run("keys", "new", tmp_path / "keys")
    assert isinstance(done.exception, Misconfigured)
    assert str(tmp_path / "keys") in str(done.exception) and "name a folder" in str(done.exception)


ASKED_BADLY = {
    "without a reason": (["cus_1", "--reason", " ", "--yes"], "--reason"),
    "naming the person in the reason": (
        ["cus_1", "--reason", "for ada@example.test", "--yes"],
        "e-mail address",
    ),
    "of nobody": ([" ", "--reason", "4711", "--yes"], "cus_"),
    "in a script that cannot be asked": (["cus_1", "--reason", "4711", "--json"], "--yes"),
}


@pytest.mark.parametrize("asked", ASKED_BADLY)
def test_an_erasure_that_is_asked_for_badly_touches_nothing(asked: str) -> None:
    args, fix = ASKED_BADLY[asked]
    done = run("erase", *args)
    assert done.exit_code == 2
    assert fix in done.output
    assert "ada@" not in done.output
