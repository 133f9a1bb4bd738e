"""stripe-mock: Stripe's own stateless mock, which refuses what Stripe's description does not allow.

Built once from the pinned module into `.millrace/tools`, started on a port that is free, in a session of its
own, and ended by its process id.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from tests.support.stripe_spec import MODULE, TOOLS, VERSION, go, module

DEADLINE_SECONDS = 20.0
KEY = {"Authorization": "Bearer sk_test_lab"}


class StripeMock:
    """A running stripe-mock. `call` answers its status and the error's message, if there is one."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)

    def call(self, method: str, path: str, params: dict[str, Any]) -> tuple[int, str]:
        text = urlencode(form(params))
        if method == "POST":
            self.connection.request(
                method, path, text, {**KEY, "Content-Type": "application/x-www-form-urlencoded"}
            )
        else:
            self.connection.request(method, f"{path}?{text}" if text else path, headers=KEY)
        answer = self.connection.getresponse()
        read = orjson.loads(answer.read() or b"{}")
        return answer.status, read.get("error", {}).get("message", "")


def form(params: dict[str, Any]) -> list[tuple[str, str]]:
    """Parameters as Stripe's clients write them: `items[0][price]`."""
    return [pair for name, value in params.items() for pair in _pairs(name, value)]


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(f"{name}[{key}]", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _pairs(f"{name}[{number}]", inner)
    else:
        yield name, str(value).lower() if isinstance(value, bool) else str(value)


def binary() -> Path:
    """The program, built if it is not there yet."""
    kept = TOOLS / f"stripe-mock-{VERSION}"
    if not kept.exists():
        module()  # checks the module against its pinned sum
        folder = TOOLS / f"building-{os.getpid()}"
        environment = os.environ | {"GOBIN": str(folder)}
        told = subprocess.run(
            [go(), "install", f"{MODULE}@{VERSION}"], env=environment, cwd="/", capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
        (folder / "stripe-mock").replace(kept)
        shutil.rmtree(folder)
    return kept


@contextmanager
def running() -> Iterator[StripeMock]:
    """A stripe-mock of one's own, until the context ends."""
    ports = _free_ports(2)
    addresses = ["-http-addr", f"127.0.0.1:{ports[0]}", "-https-addr", f"127.0.0.1:{ports[1]}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([str(binary()), *addresses], start_new_session=True, **quiet)  # type: ignore[call-overload]
    try:
        _listens(ports[0], process)
        found = StripeMock(ports[0])
        yield found
        found.connection.close()
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(DEADLINE_SECONDS)


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def _listens(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "stripe-mock ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"stripe-mock does not listen within {DEADLINE_SECONDS} s")
