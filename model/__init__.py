"""The relay's protocol as models in Promela, and the way to have every state of them visited.

Spin turns a model into a checker in C. A claim about "every interleaving" is worth what the search was: a verdict
says whether it was whole, and `mistakes` are versions of a model in which it must find what is wrong.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.stack import programs

HERE = Path(__file__).parent
DEPTH = 100_000  # steps of the longest path; a longer one makes the verdict incomplete
SECONDS = 900.0

MISTAKES: Mapping[str, Mapping[str, str]] = {
    "relay": {
        "NO_FENCE": "published[g]",  # what the violated assertion, or the cycle, is about
        "CURSOR_FIRST": "published[g]",
        "REUSE": "published[g]",
        "CURSOR_APART": "published[g]",
        "ID_CURSOR": "committed==",
        "NO_CONFIRM": "non-progress cycle",
        "NO_HEARTBEAT": "committed==",
        "REBASE_UNFENCED": "g>=cursor.generation",
    },
    "undecided": {
        "NO_SETTLE": "lies_open[",  # a row that is visible becomes so again
        "NO_ABORT": "jumbled[",
        "ABORT_ONLY": "lies_open[",
        "ONE_TERM": "seen[1]==",
    },
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search found. `complete`: every reachable state was visited, or the search ended at an error."""

    errors: int
    found: str  # the violation, in Spin's words
    states: int
    seconds: float
    complete: bool


def check(
    model: str, *defines: str, cycles: bool = False, quick: bool = False, say: programs.Say = print
) -> Verdict:
    """Search a model, built with these macros; `cycles` looks for runs that go in circles in calm, `quick` builds
    fast where an error will soon end the search.

    Raises: MissingPiece where there is no Spin and none can be installed; RuntimeError when the search itself fails.
    """
    spin, compiler = programs.spin(say)
    options = [f"-D{define}" for define in defines]
    build = [
        "-w",
        "-O0" if quick else "-O2",
        "-DCOLLAPSE",
        "-DVECTORSZ=2048",
        "-DNP" if cycles else "-DSAFETY",
    ]
    with tempfile.TemporaryDirectory(prefix="millrace-model-") as folder:
        _run([spin, *options, "-a", HERE / f"{model}.pml"], folder)
        _run([compiler, *build, "-o", "pan", "pan.c"], folder)
        return verdict(_run(["./pan", f"-m{DEPTH}", "-w22", *(["-l"] if cycles else [])], folder))


def verdict(said: str) -> Verdict:
    """Read the checker's report. Raises: RuntimeError when it is not one."""
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d\S*) states, stored", said)
    if not errors or not states:
        raise RuntimeError(f"the search said nothing that can be read: {said[-500:]}")
    found = re.search(r"^pan:1: (.*?)(?: \(at depth \d+\))?$", said, re.MULTILINE)
    seconds = re.search(r"elapsed time (\S+) seconds", said)
    cut_short = ("max search depth too small", "out of memory", "hash-table full", "resizing failed")
    whole = "Search not completed" not in said or errors[1] != "0"
    return Verdict(
        errors=int(errors[1]),
        found=found[1] if found else "",
        states=int(float(states[1])),
        seconds=float(seconds[1]) if seconds else 0.0,
        complete=whole and not any(words in said for words in cut_short),
    )


def _run(command: list[object], folder: str) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout
