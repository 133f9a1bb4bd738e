"""Through the real database: any order, any size of batch, any repeats, and the digest is the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from dunning import commands
from dunning.fold import fold
from dunning.store import case_of
from lab.northwind import stories
from millrace import postgres
from millrace.consumer import Batches, Report
from millrace.events import Event
from millrace.postgres import Pool
from tests.integration.dunning.way_out import owner_fetch
from tests.support.database import Database
from tests.support.events import event_of, record
from tests.unit.dunning.runner import FOLD, POLICIES, run
from tests.unit.dunning.told import told

LIFE = [
    told("declined insufficient_funds", 0),
    told("failed 1", 0),
    told("failed 2", 3),
    told("timer 7", 7),
    told("failed 3 last", 9),
    told("paid 3", 20),
]
BESIDE = [
    told(words, at, invoice="in_2") for words, at in (("failed 1", 0), ("timer 7", 7), ("failed 2 last", 9))
]
CASES = 'select * from dunning."case"'
FORGET = 'truncate dunning."case", dunning.timer, dunning.processed_events, dunning.parked_event'


async def _deliver(pool: Pool, events: Sequence[Event], size: int) -> Report:
    """Batches of a size, as the consumer would apply them."""
    batches, total = Batches(pool, fold(lambda: POLICIES)), Report()
    records = [record(event, offset=n) for n, event in enumerate(events)]
    for start in range(0, len(records), size):
        total += await batches.apply(records[start : start + size])
    return total


async def _end(db: Database, events: Sequence[Event], size: int) -> tuple[Report, str]:
    """The digest of an empty database after these events; what is stored is what the pure fold says."""
    await owner_fetch(db, FORGET)
    pool = await postgres.pool(db.dsn(commands.SCHEMA), size=2)
    try:
        report = await _deliver(pool, events, size)
        async with postgres.transaction(pool) as connection:
            stored = {f"{r['account']}/{r['invoice']}": case_of(r) for r in await connection.fetch(CASES)}
            assert stored == run(events)
            return report, await commands.digest(connection)
    finally:
        await pool.close()


def _orders(life: Sequence[Event], count: int) -> list[tuple[Event, ...]]:
    return random.Random(7).sample(list(itertools.permutations(life)), count)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6])
async def test_orders_in_batches_of_a_size_end_in_one_digest(size: int, db: Database) -> None:
    reports, digests = zip(
        *[await _end(db, [*order, *BESIDE], size) for order in (tuple(LIFE), *_orders(LIFE, 5))],
        strict=True,
    )
    assert len(set(digests)) == 1
    assert {(r.parked, r.duplicate, r.applied + r.noop) for r in reports} == {(0, 0, 9)}


async def test_sizes_of_batch_end_in_one_digest_with_repeats(db: Database) -> None:
    repeated = [*LIFE, *LIFE[:3], *BESIDE, *LIFE]
    digests = {(await _end(db, repeated, size))[1] for size in (1, 4, 18)}
    assert digests == {(await _end(db, [*LIFE, *BESIDE], 6))[1]}


async def test_the_digest_sees_a_difference(db: Database) -> None:
    """A digest that could not differ would prove nothing."""
    digests = [(await _end(db, [*LIFE[:upto]], 6))[1] for upto in range(len(LIFE) + 1)]
    assert len(set(digests)) == len(digests)


async def test_the_labs_invoice_in_sampled_orders_ends_in_one_digest(db: Database) -> None:
    life = [event_of(body) for body in stories.invoice_lifecycle()]
    ours = [event for event in life if event.type in FOLD.apply]
    ends = [await _end(db, order, 1 + n % 6) for n, order in enumerate(_orders(ours, 6))]
    assert len({digest for _, digest in ends}) == 1
