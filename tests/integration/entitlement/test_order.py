"""The same lives through a real PostgreSQL: sampled orders, in batches of every size from 1 to 6."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from itertools import permutations

import asyncpg
import pytest

from entitlement import commands
from millrace.consumer import Batches, Record
from millrace.postgres import Connection
from tests.support.database import Database
from tests.support.events import records_of
from tests.unit.entitlement.telling import dunning
from tests.unit.entitlement.test_order import LIVES

SAMPLE = 18  # orders a life: three for each batch size


EMPTY = """
-- Everything this consumer has ever done, forgotten; only a superuser gets past the triggers that forbid it.
set session_replication_role = replica;
truncate entitlement.access, entitlement.access_history, entitlement.item, entitlement.subscription,
         entitlement.restriction, entitlement.processed_events, entitlement.parked_event, entitlement.audit
"""


@pytest.fixture
async def owner(db: Database) -> AsyncIterator[Connection]:
    connection: Connection = await asyncpg.connect(db.owner)
    yield connection
    await connection.close()


async def digest_after(batches: Batches, owner: Connection, order: Sequence[Record], size: int) -> str:
    """What is known after these records, applied in batches of `size` to empty tables."""
    await owner.execute(EMPTY)
    for start in range(0, len(order), size):
        report = await batches.apply(order[start : start + size])
        assert (report.parked, report.duplicate) == (0, 0)
    return await commands.digest(owner)


@pytest.mark.parametrize("life", LIVES)
async def test_sampled_orders_in_every_batch_size_leave_equal_digests(
    life: str, batches: Batches, owner: Connection
) -> None:
    records = records_of(LIVES[life][0])
    orders = random.Random(life).sample(list(permutations(records)), SAMPLE)
    digests = {
        await digest_after(batches, owner, order, number % 6 + 1)
        for number, order in enumerate([records, *orders])
    }
    assert len(digests) == 1


async def test_dunning_among_subscription_events_in_any_order_and_batch(
    batches: Batches, owner: Connection
) -> None:
    events = records_of(LIVES["paused and resumed last"][0][:4])
    records = [*events, dunning("restricted", 2), dunning("given", 3)]
    orders = random.Random(9).sample(list(permutations(records)), SAMPLE)
    digests = {await digest_after(batches, owner, order, n % 6 + 1) for n, order in enumerate(orders)}
    assert len(digests) == 1
    assert await digest_after(batches, owner, records[:-1], 6) not in digests


async def test_the_digest_sees_every_event(batches: Batches, owner: Connection) -> None:
    records = records_of(LIVES["bought and left"][0])
    seen = [await digest_after(batches, owner, records[:n], 6) for n in range(1, 7)]
    assert len(set(seen)) == 6
