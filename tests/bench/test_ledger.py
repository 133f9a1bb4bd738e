"""What an event costs the ledger, and where: decoding, judging, or the database."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from lab.stripe import quarter
from ledger import commands
from ledger.fold import RULES, fold
from ledger.store import SCHEMA
from millrace import postgres
from millrace.consumer import Batches, Record, read, run
from tests.support.database import MakeDatabase
from tests.support.events import records_of
from tests.support.ledger_bodies import another

QUARTERS = int(os.environ.get("LEDGER_BENCH_QUARTERS", "5"))
BATCH = 500
REPORT = Path(".millrace/bench/ledger.json")


def prepared(only_money: bool) -> list[Record]:
    """Some quarters of a small company; either everything on the topics or only what the ledger judges."""
    told = [one for _, one in quarter.build(seed=1).events]
    kept = [one for one in told if not only_money or f"stripe.{one['type']}" in RULES]
    return records_of(one for number in range(QUARTERS) for one in another(kept, number))


@pytest.mark.bench
@pytest.mark.timeout(900)
async def test_events_are_applied(database: MakeDatabase) -> None:
    figures = {
        "everything on the topics": await measured(database, prepared(only_money=False)),
        "events about money": await measured(database, prepared(only_money=True)),
    }
    report(figures)
    assert all(figure["poisoned"] == 0 for figure in figures.values())


def report(figures: dict[str, dict[str, float]]) -> None:
    """A file for comparison, and the same for people."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(figures, indent=2))
    print(f"\n{json.dumps(figures, indent=2)}")  # noqa: T201 a report for people


async def measured(database: MakeDatabase, records: list[Record]) -> dict[str, float]:
    began = time.perf_counter()
    for r in records:
        read(r.topic, r.partition, r.offset, r.key, r.headers.items(), r.value)
    decode = time.perf_counter() - began
    began = time.perf_counter()
    run(fold(), None, records)
    judge = time.perf_counter() - began
    total, poisoned, lines = await _applied(database, records)
    share = 1e6 / len(records)
    return {
        "events": len(records),
        "events_a_second": round(len(records) / (decode + total)),
        "lines_a_second": round(lines / (decode + total)),
        "decode_us": round(decode * share, 1),
        "judge_us": round(judge * share, 1),
        "sql_us": round((total - judge) * share, 1),
        "poisoned": poisoned,
    }


async def _applied(database: MakeDatabase, records: list[Record]) -> tuple[float, int, int]:
    """Seconds, poisoned events and journal lines of applying the records in batches."""
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA), timeout_seconds=60)
    try:
        batches, poisoned, began = Batches(pool, fold()), 0, time.perf_counter()
        for start in range(0, len(records), BATCH):
            poisoned += (await batches.apply(records[start : start + BATCH])).poisoned
        seconds = time.perf_counter() - began
        lines = await pool.fetchval("select count(*) from ledger.entry")
        async with postgres.transaction(pool) as tx:
            assert await commands.drift(tx) == []
        return seconds, poisoned, lines
    finally:
        await pool.close()
