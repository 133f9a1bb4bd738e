"""A demo, played quietly once for all tests that look at what it left."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.demo.run import Result, run
from lab.demo.story import Story, company
from lab.stack import manage
from lab.stack.jars import CHECKOUT
from operations.verify import Check

FOLDER = CHECKOUT / ".millrace" / "test-demo"
SEED, CUSTOMERS = 7, 24
CONSUMERS = ("entitlement", "ledger", "dunning")


@dataclass(frozen=True, slots=True)
class Played:
    """A demo that has ended, its servers still up."""

    result: Result
    folder: Path
    env_file: Path

    def millrace(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command as a person would, after the demo."""
        settings = dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())
        return subprocess.run(
            [Path(sys.executable).with_name("millrace"), *arguments],
            env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def json(self, *arguments: str | Path) -> Any:
        done = self.millrace(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """A quarter of the company. Who changes what it left comes last: tests/e2e/test_sealed.py."""
    env_file = tmp_path_factory.mktemp("demo") / "env"
    try:
        yield Played(play(company(SEED, CUSTOMERS), FOLDER, env_file), FOLDER, env_file)
    finally:
        manage.down(FOLDER, wipe=True)


def play(story: Story, folder: Path, env_file: Path, *, chaos: int | None = None) -> Result:
    return asyncio.run(
        run(story, folder, chaos=chaos, say=lambda _: None, advance=lambda *_: None, env_file=env_file)
    )


def wrong(checks: list[Check]) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in checks if not check.ok]


def rebuilt(played: Played, consumer: str) -> Any:
    """A consumer built anew out of Kafka alone, which must be the live one down to the last row."""
    told = played.json("replay", consumer)
    assert (told["equal"], told["differing"], told["missing"]) == (True, 0, 0)
    assert told["found"] == {"Kafka": told["events"]}
    return told
