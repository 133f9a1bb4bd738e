"""A page of documentation, typed as it is printed.

A fence's language may be followed by a name that no reader sees:

    ```sh              run, to its end; ```sh NAME goes on running, as in a terminal of its own
    ```text            what the last command printed; ```text NAME what was printed in that terminal meanwhile
    ```python NAME     a file of that name

`…` stands for anything within a line of output, and on a line of its own for any further lines. In a command it
is what that place in a terminal's output was: `whsec_…` is the secret that one of them printed. `<http://…>` is
an address that is opened, and the words `in code` of the same paragraph have to be found on that page.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple
from urllib.request import urlopen

DEADLINE_SECONDS = 30
PIECE = re.compile(
    r"^```(\w+)(?: (\S+))?\n(.*?)^```$|<(http://\S+?)>([^\n]*(?:\n[^\n]+)*)", re.DOTALL | re.MULTILINE
)


class Piece(NamedTuple):
    """`kind` is a fence's language, or `page` for an address, whose text is what must be found there."""

    kind: str
    name: str
    text: str


def pieces(markdown: str) -> Iterator[Piece]:
    for found in PIECE.finditer(markdown):
        language, name, text, address, words = found.groups()
        yield Piece("page", address, words) if address else Piece(language, name or "", text)


class Tour:
    """Types pieces in a folder. `instead` replaces what cannot be as printed: a port that is taken elsewhere."""

    def __init__(self, folder: Path, instead: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self.folder, self.instead = folder, instead
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": programs, "PYTHONUNBUFFERED": "1", **environment}
        self.printed = ""
        self.terminals: dict[str, subprocess.Popen[bytes]] = {}
        self.read: dict[str, int] = {}

    def __enter__(self) -> Tour:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Ctrl-C in every terminal, the last one opened first."""
        for process in reversed(self.terminals.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(DEADLINE_SECONDS)

    def take(self, piece: Piece) -> None:
        text = piece.text
        for printed, real in self.instead.items():
            text = text.replace(printed, real)
        match piece.kind, piece.name:
            case "sh", "":
                self._type(self._filled(text))
            case "sh", name:
                self._open(name, self._filled(text))
            case "python", name:
                (self.folder / name).write_text(text)
            case "text", "":
                assert re.fullmatch(_pattern(text), self.printed), self.printed
            case "text", name:
                self._await(name, text)
            case "page", address:
                self._visit(address, text)

    def _type(self, commands: str) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        self.printed = done.stdout

    def _open(self, name: str, command: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self.terminals[name] = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder, env=self.environment, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.read[name] = 0

    def _await(self, name: str, text: str) -> None:
        """The rest of what a terminal prints is as printed, if need be in a moment."""
        until = time.monotonic() + DEADLINE_SECONDS
        while not re.fullmatch(_pattern(text), new := self._output(name)[self.read[name] :]):
            assert time.monotonic() < until and self.terminals[name].poll() is None, new
            time.sleep(0.02)
        self.read[name] += len(new)

    def _output(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text()

    def _filled(self, command: str) -> str:
        """A command with what stands for `…` looked up in the terminals."""
        known = "\n".join(map(self._output, self.terminals))
        return re.sub(r"(\w+_)…", lambda found: re.findall(rf"{found[1]}\w+", known)[-1], command)

    def _visit(self, address: str, words: str) -> None:
        for printed, real in self.instead.items():
            address = address.replace(printed, real)
        with urlopen(address, timeout=DEADLINE_SECONDS) as answer:
            page = answer.read().decode()
        for word in re.findall(r"`([^`]+)`", words):
            assert word in page, f"{word} is not on {address}"


def _pattern(text: str) -> str:
    lines = (
        "(?:.*\n)*" if line == "…\n" else ".*".join(map(re.escape, line.split("…")))
        for line in text.splitlines(True)
    )
    return "".join(lines)
