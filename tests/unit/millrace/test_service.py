"""A process: its parts stop together, the first failure is the one told, and the probes answer over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import pytest

from millrace import service

DEADLINE_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Part:
    """Runs until it is stopped, fails when it is told to, and writes down what happens to it."""

    name: str
    story: list[str]
    waits_for: str = ""
    fails: asyncio.Event = field(default_factory=asyncio.Event)
    fails_while_stopping: bool = False

    async def run(self, stop: asyncio.Event) -> None:
        self.story.append(f"{self.name} runs")
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, self.fails)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if self.fails.is_set() or self.fails_while_stopping:
            raise OSError(f"{self.name} broke")
        self.story.append(f"{self.name} drained")

    def ready(self) -> str:
        return self.waits_for


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 what is waited for sets no event
            await asyncio.sleep(0.005)


async def get(port: int, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(get_now, port, path)


def get_now(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_every_part(number: int) -> None:
    story: list[str] = []
    running = asyncio.create_task(service.run(Part("reader", story), Part("timer", story)))
    await until(lambda: len(story) == 2)
    os.kill(os.getpid(), number)
    await asyncio.wait_for(running, DEADLINE_SECONDS)
    assert story == ["reader runs", "timer runs", "reader drained", "timer drained"]


async def test_the_first_failure_stops_the_others_and_is_raised() -> None:
    story: list[str] = []
    reader, timer = Part("reader", story), Part("timer", story)
    running = asyncio.create_task(service.run(reader, timer))
    await until(lambda: len(story) == 2)
    timer.fails.set()
    with pytest.raises(OSError, match="timer broke"):
        await asyncio.wait_for(running, DEADLINE_SECONDS)
    assert story[-1] == "reader drained"


async def test_a_failure_that_followed_does_not_hide_the_first(caplog: pytest.LogCaptureFixture) -> None:
    story: list[str] = []
    reader, timer = Part("reader", story, fails_while_stopping=True), Part("timer", story)
    running = asyncio.create_task(service.run(reader, timer))
    await until(lambda: len(story) == 2)
    timer.fails.set()
    with pytest.raises(OSError, match="timer broke"):
        await asyncio.wait_for(running, DEADLINE_SECONDS)
    assert [vars(r)["part"] for r in caplog.records if r.message == "part failed while stopping"] == [
        "reader"
    ]


async def test_cancelling_the_process_drains_too() -> None:
    story: list[str] = []
    running = asyncio.create_task(service.run(Part("reader", story)))
    await until(lambda: story)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert story == ["reader runs", "reader drained"]


async def test_a_part_that_does_not_drain_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Part):
        async def run(self, stop: asyncio.Event) -> None:
            self.story.append("begun")
            await asyncio.Event().wait()

    monkeypatch.setattr(service, "DRAIN_SECONDS", 0.05)
    story: list[str] = []
    running = asyncio.create_task(service.run(Stubborn("mule", story)))
    await until(lambda: story)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, DEADLINE_SECONDS)
    assert [vars(r)["part"] for r in caplog.records if r.levelno == logging.ERROR] == ["mule"]


async def test_what_asyncio_could_tell_nobody_is_logged_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    story: list[str] = []
    running = asyncio.create_task(service.run(Part("reader", story)))
    await until(lambda: story)
    asyncio.get_running_loop().call_soon(lambda: [].index("jane@example.com"))  # type: ignore[arg-type]  # raises in the loop
    await until(lambda: caplog.records)
    running.cancel()
    await asyncio.wait([running])
    assert all("jane" not in r.getMessage() for r in caplog.records)
    assert caplog.records[0].exc_info


async def test_the_probes_say_what_the_parts_say() -> None:
    port, part = free_port(), Part("reader", [], waits_for="no partition assigned")
    running = asyncio.create_task(service.run(part, Part("timer", []), health_port=port))
    await until(lambda: part.story)
    assert await get(port, "/readyz") == (503, "reader: no partition assigned\n")
    assert await get(port, "/livez") == (200, "ok\n")
    part.waits_for = ""
    assert await get(port, "/readyz") == (200, "ok\n")
    assert "python_info" in (await get(port, "/metrics"))[1]
    assert (await get(port, "/"))[0] == 404
    running.cancel()
    await asyncio.wait([running])


async def test_a_silent_connection_keeps_no_probe_waiting() -> None:
    port, part = free_port(), Part("reader", [])
    running = asyncio.create_task(service.run(part, health_port=port))
    await until(lambda: part.story)
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET /livez HT")
        asked = time.monotonic()
        assert await get(port, "/livez") == (200, "ok\n")
        assert time.monotonic() - asked < service._Quiet.timeout  # it was not waited out
    running.cancel()
    await asyncio.wait([running])


def test_a_loop_that_is_stuck_is_told_from_outside_while_it_is_stuck() -> None:
    port = free_port()
    with Process(STUCK, port=port) as process:
        process.until_says("stuck")
        status, said = eventually(lambda: get_now(port, "/livez"), lambda answer: answer[0] == 503)
        assert (status, said.split(" for ")[0]) == (503, "loop has not turned")
        assert get_now(port, "/readyz")[0] == 503
        process.popen.kill()


STUCK = """
import asyncio, time
from millrace import service
service.LOOP_STUCK_SECONDS = 0.2
class Stuck:
    name = "stuck"
    def ready(self): return ""
    async def run(self, stop):
        print("stuck", flush=True)
        time.sleep(60)
asyncio.run(service.run(Stuck(), health_port=PORT))
"""

MAIN = """
import asyncio, os
from pydantic_settings import SettingsConfigDict
from millrace import service
from millrace.settings import ServiceSettings
class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MILL_")
class Part:
    name = "part"
    def ready(self): return ""
    async def run(self, stop):
        print("up", flush=True)
        if os.environ.get("MILL_BREAKS"): raise OSError("jane@example.com")
        await stop.wait()
        print("drained", flush=True)
async def app(settings): await service.run(Part())
service.main("mill", Settings, app)
"""


class Process:
    """A Python program of its own, ended by its pid whatever happens."""

    def __init__(self, program: str, *, port: int = 0, **environment: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", program.replace("PORT", str(port))],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def until_says(self, word: str) -> None:
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline().strip() == word

    def ends(self) -> tuple[int, str, str]:
        out, err = self.popen.communicate(timeout=DEADLINE_SECONDS)
        return self.popen.returncode, out, err


def eventually(ask: Any, good: Any) -> Any:
    end = time.monotonic() + DEADLINE_SECONDS
    while not good(answer := ask()):
        assert time.monotonic() < end, answer
        time.sleep(0.01)
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_was_asked_to_stop_ends_with_0(number: int) -> None:
    with Process(MAIN, MILL_DATABASE="postgresql://x") as process:
        process.until_says("up")
        process.popen.send_signal(number)
        assert process.ends() == (0, "drained\n", "")


def test_a_process_whose_part_failed_ends_with_1_and_says_where_but_not_what() -> None:
    with Process(MAIN, MILL_DATABASE="postgresql://x", MILL_BREAKS="1") as process:
        code, _, said = process.ends()
    assert code == 1
    assert "OSError at <string>" in said
    assert "jane" not in said


def test_a_process_that_is_not_configured_ends_with_78_and_one_line() -> None:
    with Process(MAIN) as process:
        assert process.ends() == (78, "", "mill: MILL_DATABASE: Field required\n")
