"""What `millrace consumer new` writes, run as its owner runs it: on a real Kafka and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from lab.stack import Stack
from millrace.events import Event
from millrace.scaffold import Form, create
from millrace.testing import Bus, stripe_event
from millrace.topics import STRIPE_BILLING
from tests.support.database import databases
from tests.support.kafka import making

DEADLINE = 60.0
JULY = 1_782_864_000  # 2026-07-01


@dataclass(frozen=True, slots=True)
class Case:
    """A generated consumer, an event that concerns it alone, and what that leaves."""

    name: str
    event: Event
    query: str
    row: tuple[Any, ...]


CASES: dict[Form, Case] = {
    "fold": Case(
        "crm_mail",
        stripe_event("invoice.paid", {"id": "in_1", "customer": "cus_1", "amount_paid": 4900}),
        "select key, invoices_paid, last_invoice from crm_mail.customer",
        ("acct_test/cus_1", 1, "in_1"),
    ),
    "each": Case(
        "welcome",
        stripe_event("customer.created", {"id": "cus_1", "created": JULY}),
        "select account, customer, day::text from welcome.letter",
        ("acct_test", "cus_1", "2026-07-06"),
    ),
}


@pytest.fixture
async def billing(stack: Stack) -> AsyncIterator[str]:
    """The topic that the generated consumers read."""
    async with making(stack.kafka) as make:
        yield await make(STRIPE_BILLING, partitions=1, exact=True)


@asynccontextmanager
async def running(name: str, folder: Path, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m NAME` in its project; told to stop at the end, which it must do well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", name, cwd=folder,
        env={**os.environ, **{f"{name.upper()}_{field}": value for field, value in settings.items()}},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0, said.decode()


async def test_an_event_that_is_sent_twice_has_one_effect(stack: Stack, billing: str, tmp_path: Path) -> None:
    events = [case.event for case in CASES.values()]
    await sent(stack.kafka, *events, *events)
    async with databases(stack) as make_database:
        owner = (await make_database()).owner
        connection = await asyncpg.connect(owner)
        try:
            await asyncio.gather(
                *(consumed(form, case, tmp_path, owner, stack.kafka) for form, case in CASES.items())
            )
            for case in CASES.values():
                assert [tuple(row) for row in await connection.fetch(case.query)] == [case.row]
                outcomes = f"select event_id, outcome from {case.name}.processed_events"
                found = {row["event_id"]: row["outcome"] for row in await connection.fetch(outcomes)}
                assert found == {event.id: "applied" if event is case.event else "noop" for event in events}
        finally:
            await connection.close()


async def consumed(
    form: Form,
    case: Case,
    into: Path,
    owner: str,
    kafka: str,
) -> None:
    """Written, migrated, and run until it has met everything that was sent."""
    create(case.name, into, form)
    await asyncio.to_thread(migrate, case.name, into / case.name, owner)
    dsn = owner.replace("postgres@", f"millrace_{case.name}@")
    async with (
        running(case.name, into / case.name, DATABASE=dsn, KAFKA=kafka) as process,
        asyncio.timeout(DEADLINE),
    ):
        while process.returncode is None and not await met(case, owner):  # noqa: ASYNC110 the database is the signal
            await asyncio.sleep(0.05)


async def met(case: Case, owner: str) -> bool:
    """Whether it has decided all four records; what the database says is the signal."""
    connection = await asyncpg.connect(owner)
    try:
        return bool(await connection.fetchval(f"select sum(records) = 4 from {case.name}.progress"))
    finally:
        await connection.close()


def migrate(name: str, folder: Path, owner: str) -> None:
    environment = os.environ | {"MILLRACE_DATABASE": owner}
    done = subprocess.run(
        [sys.executable, "-m", f"{name}.migrate"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"{name}/{name}/0001_" in done.stdout


async def sent(kafka: str, *events: Event) -> None:
    """As the relay sends them."""
    bus = Bus(partitions=1)
    bus.send(*events)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    for r in bus.records:
        await producer.send_and_wait(r.topic, r.value, r.key, r.partition, headers=list(r.headers.items()))
    await producer.stop()


@pytest.mark.parametrize("form", CASES)
def test_its_integration_tests_pass_as_written(stack: Stack, tmp_path: Path, form: Form) -> None:
    create(CASES[form].name, tmp_path, form)
    done = its_tests(tmp_path / CASES[form].name, {"MILLRACE_TEST_DATABASE": stack.postgres})
    assert done.returncode == 0, done.stdout[-3000:]
    assert "1 passed" in done.stdout


def test_without_a_database_they_say_what_is_missing(tmp_path: Path) -> None:
    create("welcome", tmp_path, "each")
    done = its_tests(tmp_path / "welcome", {})
    assert done.returncode == 1
    assert "MILLRACE_TEST_DATABASE is missing" in done.stdout


def its_tests(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "MILLRACE_TEST_DATABASE"}
    command = [sys.executable, "-m", "pytest", "-q", "tests/integration"]
    return subprocess.run(command, cwd=folder, env=inherited | settings, capture_output=True, text=True)
