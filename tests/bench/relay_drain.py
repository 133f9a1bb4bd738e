"""Ours, draining: the product's own parts, with its cost counted. Settings come from the environment.

python -m tests.bench.relay_drain ROWS   drains that many rows, prints its cost as JSON, and ends
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from outbox_relay import app, metrics
from outbox_relay.settings import Settings


async def main(rows: int) -> None:
    relay = app.relay(Settings.read())
    stop = asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    while not (done := published()):  # noqa: ASYNC110 a counter tells nobody
        await asyncio.sleep(0.001)
    began, cpu, early = time.perf_counter(), time.process_time(), done
    rss = []
    while (done := published()) < rows and not running.done():
        await asyncio.sleep(0.02)
        rss.append(resident_mib())
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    stop.set()
    await running
    report = {"rows": done - early, "seconds": seconds, "cpu_seconds": cpu, "rss_mib": max(rss),
              "rss_mib_half_way": rss[len(rss) // 2]}  # fmt: skip
    print(json.dumps(report))  # noqa: T201


def published() -> int:
    return int(
        sum(s.value for m in metrics.PUBLISHED.collect() for s in m.samples if s.name.endswith("_total"))
    )


def resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // 2**20


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
