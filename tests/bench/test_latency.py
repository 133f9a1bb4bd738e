"""From Stripe's acknowledgement to effective access, through every process, at a steady rate.

Open loop: deliveries start on a fixed schedule whatever the answers take, so a stall is counted for every
event that it holds up. Access is effective when entitlement's row for the customer is committed.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import orjson
import pytest

from lab.demo.processes import Owner, processes
from lab.demo.site import ACCOUNT, Endpoint, Site, prepare
from lab.northwind import stories
from lab.stack import manage
from lab.stack.jars import CHECKOUT
from operations.send import Sender, sender

RATE = int(os.environ.get("BENCH_RATE", "200"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "20"))
WARM_SECONDS = 3
FOLDER = CHECKOUT / ".millrace" / "bench-stack"
RESULT = Path(".millrace/bench/latency.json")

EFFECTIVE = """
-- Which of these customers have access by now.
select customer from entitlement.access where customer = any($1::text[])
"""


def subscriptions(count: int) -> Iterator[tuple[str, bytes]]:
    """(customer, body): a new active subscription for each of many customers."""
    created = next(
        e for e in stories.subscription_lifecycle() if e["type"] == "customer.subscription.created"
    )
    text = orjson.dumps(created).decode()
    obj = created["data"]["object"]
    for n in range(count):
        names = {created["id"]: f"evt_bench{n}", obj["id"]: f"sub_bench{n}", obj["customer"]: f"cus_bench{n}"}
        body = text
        for old, new in names.items():
            body = body.replace(old, new)
        yield f"cus_bench{n}", body.encode()


@pytest.mark.bench
@pytest.mark.timeout(300)
async def test_acknowledged_to_effective_access() -> None:
    manage.down(FOLDER, wipe=True)
    with Owner(FOLDER):
        stack = manage.up(FOLDER)
        site = await prepare(FOLDER, stack, [Endpoint(ACCOUNT, livemode=False)], datetime.now(UTC))
        async with processes(site):
            acknowledged, effective = await measure(site)
    report(sorted(effective[c] - acknowledged[c] for c in acknowledged))


async def measure(site: Site) -> tuple[dict[str, float], dict[str, float]]:
    """Customer → when its event was acknowledged; customer → when its access was effective."""
    acknowledged: dict[str, float] = {}
    effective: dict[str, float] = {}
    total = RATE * (SECONDS + WARM_SECONDS)
    watching = asyncio.create_task(watch(site, total, effective))
    async with sender(
        site.url(Endpoint(ACCOUNT, livemode=False)), site.secret, site.clock, at_once=64
    ) as door:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for n, (customer, body) in enumerate(subscriptions(total)):
                await asyncio.sleep(max(0.0, began + n / RATE - time.perf_counter()))
                group.create_task(deliver(door, customer, body, acknowledged))
    await watching
    warm = {f"cus_bench{n}" for n in range(RATE * WARM_SECONDS)}
    return {c: at for c, at in acknowledged.items() if c not in warm}, effective


async def deliver(door: Sender, customer: str, body: bytes, acknowledged: dict[str, float]) -> None:
    await door.send(body, customer)
    acknowledged[customer] = time.perf_counter()


async def watch(site: Site, total: int, effective: dict[str, float]) -> None:
    """Look for new access every few milliseconds until everybody has it."""
    connection = await asyncpg.connect(site.database)
    pending = {f"cus_bench{n}" for n in range(total)}
    try:
        async with asyncio.timeout(SECONDS + 60):
            while pending:
                ahead = sorted(pending, key=lambda c: int(c.removeprefix("cus_bench")))[: RATE * 2]
                found = {row["customer"] for row in await connection.fetch(EFFECTIVE, ahead)}
                now = time.perf_counter()
                effective.update(dict.fromkeys(found, now))
                pending -= found
                await asyncio.sleep(0.003)
    finally:
        await connection.close()


def report(latencies: list[float]) -> None:
    """A file for comparison, and the same for people. Units: milliseconds."""
    figures = {"rate": RATE, "events": len(latencies)} | {
        f"p{p}_ms": round(latencies[min(len(latencies) - 1, len(latencies) * p // 100)] * 1000, 1)
        for p in (50, 90, 99)
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2))
    print(f"\n{json.dumps(figures)}")  # noqa: T201
