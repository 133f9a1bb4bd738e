"""The command as a person types it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.millrace_lab.served import Hook
from tests.integration.millrace_lab.terminal import DEADLINE_SECONDS, PROGRAM, Terminal, begin, end
from tests.support.double import OPENS


def test_the_clock_is_shown_and_turned(terminal: Terminal) -> None:
    assert terminal.about["now"] == OPENS
    assert terminal.run("clock", "show") == "2026-07-01 00:00:00, held\n"
    assert terminal.run("clock", "advance", "31d") == "2026-08-01 00:00:00\n"
    assert "Not a time" in terminal.run("clock", "advance", "soon", code=1)


def test_an_event_is_triggered_listed_and_sent_again(terminal: Terminal) -> None:
    told = terminal.json("trigger", "invoice.payment_failed")["events"]
    assert "invoice.payment_failed" in [each["type"] for each in told]
    assert terminal.json("deliveries")["attempts"] == []
    assert "No such event" in terminal.run("resend", "evt_nothing", code=1)
    assert "invoice.paid" in terminal.run("trigger", "invoice.praised", code=1)


async def test_what_is_told_is_forwarded_while_one_listens(terminal: Terminal, hook: Hook) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "listen", "--forward-to", hook.url.removeprefix("http://"), "--events", "product.created",
        stdout=asyncio.subprocess.PIPE, env=os.environ | {"MILLRACE_LAB": terminal.about["url"]},
    )  # fmt: skip
    assert process.stdout
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            ready = (await process.stdout.readline()).decode()
            await asyncio.to_thread(terminal.run, "trigger", "product.updated")
            line = (await process.stdout.readline()).decode()
    finally:
        process.send_signal(signal.SIGINT)
        code = await process.wait()
    assert "whsec_" in ready
    assert hook.types() == ["product.created"]
    assert "200 in" in line
    assert "product.created" in line
    assert code == 0
    assert terminal.json("deliveries")["waiting"] == []


def test_a_state_file_is_written_at_the_end_and_taken_up_again(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    process, about = begin("--state", state, "--clock", "held", "--start", "2026-07-01")
    Terminal(about).lab("/trigger/customer.subscription.created")
    Terminal(about).lab("/clock/advance", by="31d")
    end(process)
    kept = Path(state).read_bytes()
    process, about = begin("--state", state, "--clock", "held")
    end(process)
    assert about["now"] == OPENS + 31 * 86400
    assert Path(state).read_bytes() == kept


def test_without_a_server_it_says_how_to_get_one() -> None:
    away = Terminal({"url": "http://127.0.0.1:9"})
    assert "stripe serve" in away.run("clock", "show", code=1)
    assert "nowhere is not a double's address" in Terminal({"url": "nowhere"}).run("clock", "show", code=1)


def test_the_commands_start_fast() -> None:
    """What only a server needs is not imported by anything else."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import millrace_lab.commands, sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"uvicorn", "pydantic", "starlette", "aiohttp", "millrace_lab.api"} & set(loaded)
