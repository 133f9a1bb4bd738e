"""The command as a person types it: a server of its own, and a terminal beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PROGRAM = [sys.executable, "-m", "millrace_lab.commands"]
DEADLINE_SECONDS = 30


class Terminal:
    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about

    def run(self, *words: str, code: int = 0) -> str:
        """What a command prints; of one that fails, what it complains about."""
        environment = os.environ | {"MILLRACE_LAB": self.about["url"]}
        done = subprocess.run(
            [*PROGRAM, *words], capture_output=True, text=True, env=environment, timeout=DEADLINE_SECONDS
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*words, "--json"))
        return found

    def get(self, path: str) -> dict[str, Any]:
        """A call of Stripe's API, as curl would make it."""
        return self._ask(path, None)

    def post(self, path: str, **form: str) -> dict[str, Any]:
        return self._ask(path, urlencode(form).encode())

    def lab(self, path: str, **given: Any) -> dict[str, Any]:
        """An act that only the double has."""
        return self._ask(f"/_lab{path}", json.dumps(given).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        request = Request(self.about["url"] + path, body)
        request.add_header("Authorization", f"Bearer {self.about['key']}")
        with urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def begin(*words: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [*PROGRAM, "stripe", "serve", "--port", "0", "--json", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, json.loads(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    with process:
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_SECONDS) == 0
