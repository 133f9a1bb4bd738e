"""The whole process on real Kafka and Postgres: a failure comes in, its deadline passes, it stops when asked."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from dunning import app
from dunning.settings import Settings
from dunning.store import SCHEMA
from lab.stack import Stack
from millrace import topics as names
from millrace.clock import FileClock
from tests.integration.dunning.way_out import first_sent, owner_fetch
from tests.support.database import Database
from tests.support.events import record
from tests.support.kafka import MakeTopic
from tests.unit.dunning.told import day, told


async def _send(kafka: str, topic: str) -> None:
    sent = record(told("failed 1", 0, price="prod_unknown"))
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait(topic, sent.value, key=sent.key, headers=list(sent.headers.items()))
    finally:
        await producer.stop()


async def test_the_process_judges_what_it_reads_and_fires_what_is_due(
    stack: Stack, db: Database, topics: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing = await topics("dunning.billing", partitions=1)
    monkeypatch.setattr(app, "TOPICS", (billing,))
    clock = FileClock(tmp_path / "clock")
    clock.turn(day(1))
    settings = Settings(
        database=SecretStr(db.dsn(SCHEMA)),
        kafka=stack.kafka,
        instance=f"test-{os.getpid()}",
        clock=f"file:{clock.path}",
        policies=Path("lab/company/dunning.yaml"),
        timer_seconds=0.02,
    )
    await _send(stack.kafka, billing)
    running = asyncio.create_task(app.main(settings))
    async with asyncio.timeout(90):
        await first_sent(db, names.DUNNING_CHANGED)
        clock.turn(day(7))
        due = await first_sent(db, names.DUNNING_TIMERS)
        signal.raise_signal(signal.SIGTERM)
        await running
    assert due.time == day(7)
    [case] = await owner_fetch(db, 'select stage, attempts from dunning."case"')
    assert (case["stage"], case["attempts"]) == ("grace", 1)
