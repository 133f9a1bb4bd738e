"""How fast a backlog drains, ours beside the loop that most teams write, in one run on one machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.relay_backlog import backlog, pending
from tests.integration.outbox_relay.arena import Account, MakeArena, make_arena

__all__ = ["make_arena"]


ROWS = int(os.environ.get("RELAY_BENCH_ROWS", "100000"))
REPORT = Path(".millrace/bench/relay.json")


@pytest.mark.bench
@pytest.mark.timeout(900)
async def test_a_backlog_drains(arena: MakeArena) -> None:
    ours, loop = await arena(partitions=6), await arena(partitions=6)
    for it in (ours, loop):
        await backlog(it, ROWS)
    await pending(loop)
    figures = {
        "exactly once (ours)": await run("tests.bench.relay_drain", str(ROWS), **ours.environment),
        "SKIP LOCKED loop": await run("tests.bench.relay_loop", loop.owner, loop.kafka),
    }
    show(figures)
    assert await ours.account() == Account(rows=ROWS)
    assert (
        figures["exactly once (ours)"]["rss_mib"] < 1.25 * figures["exactly once (ours)"]["rss_mib_half_way"]
    )


async def run(module: str, *words: str, **environment: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *words,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    figures: dict[str, Any] = json.loads(out.splitlines()[-1])
    figures["rows_a_second"] = round(figures["rows"] / figures["seconds"])
    figures["cpu_us_a_row"] = round(1e6 * figures["cpu_seconds"] / figures["rows"], 1)
    return figures


def show(figures: dict[str, dict[str, Any]]) -> None:
    """A table for people, a file for comparison."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps({"drain": figures, "rows": ROWS}, indent=2))
    lines = [f"{'drain of ' + format(ROWS, ','):28} rows/s   CPU µs/row   RSS MiB"]
    for name, it in figures.items():
        lines.append(f"{name:28} {it['rows_a_second']:6}   {it['cpu_us_a_row']:10}   {it['rss_mib']:7}")
    print("", *lines, sep="\n")  # noqa: T201
