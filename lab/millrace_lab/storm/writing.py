"""A story as two files that can be committed: a test that plays it, and the deliveries beside it.

The test belongs to whoever commits it: it asks a fixture of that project for the system under test.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson

from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.story import Story

TEST = '''"""{difference}

{table}

{origin}
"""

from __future__ import annotations

from pathlib import Path

from millrace_lab.storm.hunting import System, found
from millrace_lab.storm.writing import read


async def test_{name}(system: System) -> None:
    arrivals = read(Path(__file__).with_suffix(".json"))
    assert await found(system, arrivals) == []
'''


def write(story: Story, folder: Path) -> Path:
    """Write a story as a test; returns the file. The fixture `system` is the project's own.

    Writes: test_storm_….py and test_storm_….json into the folder.
    """
    name = "storm_" + re.sub(r"\W+", "_", f"{story.difference.aspect} {story.difference.object}").lower()
    *_, table = str(story).split("\n\n", 1)
    test = folder / f"test_{name}.py"
    origin = f"Found by {story.origin}." if story.origin else "Made by hand."
    lines = table.splitlines()[: len(story.arrivals) + 1]
    text = TEST.format(difference=story.difference, table="\n".join(lines), origin=origin, name=name)
    test.write_text(text)
    test.with_suffix(".json").write_bytes(dumped(story.arrivals))
    return test


def dumped(arrivals: tuple[Arrival, ...]) -> bytes:
    """Arrivals as JSON, one a line."""
    lines = [
        orjson.dumps({"number": each.number, "at": each.at, "attempt": each.attempt, "event": each.event})
        for each in arrivals
    ]
    return b"[\n" + b",\n".join(lines) + b"\n]\n"


def read(file: Path) -> list[Arrival]:
    """What `write` wrote."""
    told: list[dict[str, Any]] = orjson.loads(file.read_bytes())
    return [Arrival(each["number"], each["at"], each["event"], each["attempt"]) for each in told]
