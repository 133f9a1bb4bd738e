"""Every event once more from offset zero, over consumers that have met them all: no business table changes."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest

from dunning.commands import SCHEMA as DUNNING
from entitlement.commands import SCHEMA as ENTITLEMENT
from ingest.domain.routing import topic_of
from lab.northwind import quarter
from ledger.commands import SCHEMA as LEDGER
from millrace import postgres
from millrace.consumer import Batches, Record
from tests.integration.operations.rebuilding import digest, subjects
from tests.support.database import MakeDatabase
from tests.support.events import event_of, record

BATCH = 500


def companies(events: int) -> Iterator[list[Record]]:
    """Small companies' quarters one after another, as records of their topics, until there are so many events."""
    offsets: Counter[str] = Counter()
    told = 0
    for seed in itertools.count(1):
        batch = []
        for _, body in quarter.build(seed, customers=10).events:
            topic = topic_of(body["type"])
            event = event_of(body, account=f"acct_{seed}")
            batch.append(record(event, topic=topic, offset=offsets[topic]))
            offsets[topic] += 1
        yield batch
        told += len(batch)
        if told >= events:
            return


@pytest.mark.timeout(6 * 3600)
@pytest.mark.parametrize("events", [4_000, pytest.param(2_000_000, marks=pytest.mark.nightly)])
async def test_all_events_once_more_change_no_business_table(database: MakeDatabase, events: int) -> None:
    db = await database(ENTITLEMENT, LEDGER, DUNNING)
    async with await postgres.pool(db.owner, size=2, timeout_seconds=300) as pool:
        consumers = [(Batches(pool, one.fold), one.topics) for one in subjects().values()]

        async def deliver() -> tuple[Counter[str], dict[str, str]]:
            count: Counter[str] = Counter()
            for records in companies(events):
                for batches, topics in consumers:
                    report = await batches.apply([r for r in records if r.topic in topics])
                    assert not report.resting
                    count.update(applied=report.applied, noop=report.noop, again=report.duplicate)
            return count, {name: await digest(pool, name) for name in subjects()}

        first, once = await deliver()
        second, twice = await deliver()
    assert first["applied"] > events / 4 and first["again"] == 0
    assert (second["applied"], second["noop"], second["again"]) == (0, 0, first["applied"] + first["noop"])
    assert twice == once
