"""The process around the fold: it refuses an unmigrated database, opens months, reads Kafka, stops when asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from lab.stack import Stack
from ledger import app, commands
from ledger.fold import fold
from ledger.jobs import Months
from ledger.settings import Settings
from millrace.consumer import Consumer
from millrace.errors import Misconfigured
from tests.integration.ledger.conftest import Ledger
from tests.support import ledger_bodies as stripe
from tests.support.database import MakeDatabase
from tests.support.events import records_of
from tests.support.kafka import MakeTopic
from tests.support.ledger_bodies import event


def test_settings_are_read_by_their_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_DATABASE", "postgresql://somewhere")
    monkeypatch.setenv("LEDGER_MONTHS_AHEAD", "5")
    read = Settings.read()
    assert (read.database.get_secret_value(), read.months_ahead) == ("postgresql://somewhere", 5)
    monkeypatch.setenv("LEDGER_MONTHS_AHEAD", "0")
    with pytest.raises(Misconfigured, match="LEDGER_MONTHS_AHEAD"):
        Settings.read()


async def test_it_does_not_start_on_a_database_that_is_not_migrated(
    database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_DATABASE", (await database()).owner)
    with pytest.raises(Misconfigured, match="run `millrace migrate`"):
        await app.main(Settings.read())


async def test_months_are_opened_ahead(ledger: Ledger) -> None:
    running = asyncio.create_task(Months(ledger.pool, ahead=4).run(stop := asyncio.Event()))
    today, expected = datetime.now(UTC), set()
    for ahead in range(5):
        year, month = divmod(today.year * 12 + today.month - 1 + ahead, 12)
        expected.add(f"entry_{year:04d}{month + 1:02d}")
    async with asyncio.timeout(20):
        while not expected <= await _partitions(ledger.owner):
            await ledger.owner.execute("select pg_sleep(0.01)")
    stop.set()
    await asyncio.wait_for(running, 10)


async def _partitions(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    rows = await connection.fetch("select relname from pg_class where relname like 'entry\\_______'")
    return {row["relname"] for row in rows}


async def test_what_is_on_kafka_is_in_the_books(ledger: Ledger, stack: Stack, topics: MakeTopic) -> None:
    billing, payments = await topics("billing"), await topics("payments")
    told = [
        (payments, event("charge.succeeded", stripe.charge(1190, stripe.transaction(1190, 65)))),
        (billing, event("invoice_payment.paid", stripe.invoice_payment(1190))),
        (billing, event("invoice.finalized", stripe.invoice(stripe.line(1000, tax=190)))),
    ]
    await _sent(stack.kafka, told)
    consumer = Consumer(fold(), topics=[billing, payments], pool=ledger.pool, kafka=stack.kafka)
    running = asyncio.create_task(consumer.run(stop := asyncio.Event()))
    async with asyncio.timeout(60):
        while await ledger.role.fetchval("select count(*) from ledger.fact") < 3 and not running.done():
            await ledger.role.execute("select pg_sleep(0.05)")
    stop.set()
    await asyncio.wait_for(running, 30)
    assert await commands.receivable(ledger.role) == {}
    assert [c.balance_minor for c in await commands.clearing(ledger.role)] == [0]
    assert [tuple(b)[0::5] for b in await commands.trial_balance(ledger.role) if b.balance_minor] == [
        (1010, 1125),
        (2000, -190),
        (2100, -1000),
        (6000, 65),
    ]


async def _sent(kafka: str, told: list[tuple[str, dict[str, object]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        for topic, body in told:
            (one,) = records_of([body])
            await producer.send_and_wait(topic, one.value, key=one.key, headers=list(one.headers.items()))
    finally:
        await producer.stop()
