"""The Stripe double in one process: how many writes it takes, and how many webhooks it sends, in a second.

    writes       POST /v1/customers over 16 connections; floor: an application behind the same uvicorn that
                 answers a constant, asked by the same client with the same bytes
    deliveries   signed events of one second to a receiver that does nothing; floor: the same client posting
                 bytes of the same size, unsigned and unrecorded
    a year       of a company with 1,000 customers, without deliveries; floor: writing its events once

Counted in CPU seconds of the one process that is measured, so that a busy machine takes nothing away: what it
does in a second of one core. What the wall clock said is told beside it.

BENCH_REQUESTS   of each run (6,000)
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import aiohttp
import orjson
import pytest

from millrace_lab.account import Account
from millrace_lab.api import Api
from millrace_lab.clockwork import furnished
from millrace_lab.delivery.letters import envelope, written
from millrace_lab.delivery.mail import Mail
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.delivery.sender import AT_ONCE, Sender
from millrace_lab.storm.companies import Company
from millrace_lab.storm.lives import CAST
from tests.bench.ingest_cpu import used
from tests.integration.millrace_lab.terminal import begin, end
from tests.support.double import OPENS

REQUESTS = int(os.environ.get("BENCH_REQUESTS", "6000"))
CONNECTIONS = 16
WRITES_A_SECOND, DELIVERIES_A_SECOND = 500, 2000
YEAR_SECONDS = 180
WRITES_OF_FLOOR, DELIVERIES_OF_FLOOR = 0.15, 0.4

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]


@contextmanager
def other(*words: str) -> Iterator[tuple[int, str]]:
    """A process of `double_sink`: its id and its address."""
    command = [sys.executable, "-m", "tests.bench.double_sink", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.pid, f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


class Rates(NamedTuple):
    """How many in a second of the process's CPU, and in a second of the wall."""

    cpu: float
    wall: float


async def rates(pid: int, do: Callable[[], Awaitable[None]]) -> Rates:
    cpu, wall = used([pid]), time.perf_counter()
    await do()
    return Rates(REQUESTS / (used([pid]) - cpu), REQUESTS / (time.perf_counter() - wall))


async def post_all(url: str, body: bytes, lanes: int, headers: dict[str, str]) -> None:
    connector = aiohttp.TCPConnector(limit=lanes)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        left = iter(range(REQUESTS))

        async def lane() -> None:
            for _ in left:
                async with session.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 200
                    await answer.read()

        await asyncio.gather(*(lane() for _ in range(lanes)))


async def test_writes() -> None:
    body = b"name=Ada+Lovelace&email=ada%40example.com&metadata%5Btier%5D=2"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Bearer sk_test_lab"}
    with other("constant") as (pid, url):
        floor = await rates(pid, lambda: post_all(f"{url}/v1/customers", body, CONNECTIONS, headers))
    process, about = begin("--clock", "held")
    try:
        url = f"{about['url']}/v1/customers"
        found = await rates(process.pid, lambda: post_all(url, body, CONNECTIONS, headers))
    finally:
        end(process)
    tell("writes", found, floor)
    assert found.cpu >= WRITES_A_SECOND
    assert found.cpu / floor.cpu >= WRITES_OF_FLOOR


async def test_deliveries() -> None:
    account = furnished(Account(1, OPENS))
    mail, api = Mail(account, Schedule(1, "kind")), Api(account)
    with other() as (_, url):
        api.post("/v1/webhook_endpoints", url=f"{url}/hook", enabled_events=["*"])
        for number in range(REQUESTS):
            api.post("/v1/customers", name=f"Customer {number}", email="ada@example.com")
        letters = mail.take(OPENS)
        post = written(account, letters[0], OPENS)
        floor = await rates(os.getpid(), lambda: post_all(post.url, post.body, AT_ONCE, dict(post.headers)))
        async with Sender(mail) as sender:
            found = await rates(os.getpid(), lambda: sender.send(letters))
    assert len(letters) == REQUESTS
    assert all(attempt.answer.accepted for attempt in mail.log)
    tell("deliveries", found, floor)
    assert found.cpu >= DELIVERIES_A_SECOND
    assert found.cpu / floor.cpu >= DELIVERIES_OF_FLOOR


def test_a_year_of_a_thousand_customers() -> None:
    """Lived without deliveries; floor: writing each of its events once, as a webhook carries it."""
    began = time.process_time()
    account = Company(seed=1, days=365, customers=1000, cast=CAST).play()
    lived = time.process_time() - began
    for told in account.events:
        orjson.dumps(envelope(account, told))
    written_ = time.process_time() - began - lived
    print(  # noqa: T201
        f"\na year of 1,000 customers: {lived:.1f} s of one core, {len(account.events):,} events, "
        f"{lived / written_:.2f} of writing them"
    )
    assert len(account.events) > 50_000
    assert lived < YEAR_SECONDS


def tell(what: str, found: Rates, floor: Rates) -> None:
    share = found.cpu / floor.cpu
    print(  # noqa: T201
        f"\n{what}: {found.cpu:,.0f} in a second of one core, {share:.2f} of the floor ({floor.cpu:,.0f}); "
        f"by the wall {found.wall:,.0f} ({floor.wall:,.0f})"
    )
