"""Ours, draining: the product's own parts, with its cost counted. Settings come from the environment.

python -m tests.bench.relay_drain ROWS   drains that many rows, prints its cost as JSON, and ends
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from itertools import pairwise

from outbox_relay import app, metrics
from outbox_relay.settings import Settings
from tests.bench.ingest_cpu import resident_mib


async def main(rows: int) -> None:
    app.tune()
    [relay] = app.relays(Settings.read())
    stop = asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    while not (done := published()):  # noqa: ASYNC110 a counter tells nobody
        await asyncio.sleep(0.001)
    began, cpu, early = time.perf_counter(), time.process_time(), done
    rss, reached = [], [(0.0, done)]
    while done < rows and not running.done():
        await asyncio.sleep(0.02)
        done = published()
        rss.append(resident_mib([os.getpid()]))
        reached.append((time.perf_counter() - began, done))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    stop.set()
    await running
    report = {"rows": done - early, "seconds": seconds, "cpu_seconds": cpu, "rss_mib": round(max(rss)),
              "rss_mib_half_way": round(rss[len(rss) // 2]), "tenths": tenths(reached, rows)}  # fmt: skip
    print(json.dumps(report))  # noqa: T201


def tenths(reached: list[tuple[float, int]], rows: int) -> list[int]:
    """Rows per second in each tenth of the rows: whether the rate holds to the end."""
    at = [next(moment for moment in reached if moment[1] >= rows * n // 10) for n in range(11)]
    return [round((b[1] - a[1]) / max(1e-9, b[0] - a[0])) for a, b in pairwise(at)]


def published() -> int:
    return int(
        sum(s.value for m in metrics.PUBLISHED.collect() for s in m.samples if s.name.endswith("_total"))
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
