"""A payload too large for Kafka stays in PostgreSQL, and its consumer's handler never knows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import orjson
import pytest
from zstandard import ZstdCompressor

from lab.stack import Stack
from millrace import outbox, postgres
from millrace.claims import Claims
from millrace.consumer import Batches, Consumer, Each
from millrace.errors import Poison, Retryable
from millrace.events import Event, decode, headers
from millrace.events.dataref import HEADER, Claim
from millrace.events.keys import key_hash
from millrace.postgres import Pool, Transaction
from outbox_relay.domain.lane import Lane
from tests.integration.outbox_relay.arena import COMPACT, Arena, running, until
from tests.support.database import Database, MakeDatabase
from tests.support.kafka import MakeTopic, read_all
from tests.support.tally import SCHEMA, event

PATIENCE = 90.0  # seconds, on a machine that does much else
LAY_UP = """
insert into outbox.claim (outbox_id, topic, payload, unpacked, sha256)
values (nextval('outbox.event_id'), 't', $1, $2, $3) returning ref::text
"""


@dataclass
class Reader:
    """A database with an outbox and a consumer's schema, a topic, and what the consumer's handler was given."""

    stack: Stack
    db: Database
    pool: Pool
    it: Arena
    seen: list[Event]

    async def publish(self, *events: Event) -> None:
        async with asyncio.timeout(30), postgres.transaction(self.pool) as tx:
            await outbox.publish(tx, [outbox.Message(self.it.topic, e) for e in events])

    async def publish_packed(self, it: Event) -> None:
        """As ingest stores what it received."""
        payload = orjson.dumps(it.data)
        row = (
            self.it.topic,
            it.key,
            key_hash(it.key),
            headers(it),
            ZstdCompressor().compress(payload),
            len(payload),
        )
        await self.pool.execute(
            "insert into outbox.event (topic, key, hash, headers, payload, unpacked) values ($1, $2, $3, $4, $5, $6)",
            *row,
        )

    def consumer(self, **more: object) -> Consumer:
        async def look(_: Transaction, received: Event) -> None:
            self.seen.append(received)

        each = Each("tally", {event("add", "e").type: look})
        made = Consumer(each, topics=[self.it.topic], pool=self.pool, kafka=self.stack.kafka, **more)  # type: ignore[arg-type]
        made.name = f"claims-{self.it.topic}"
        return made


@pytest.fixture
async def reader(stack: Stack, database: MakeDatabase, topics: MakeTopic) -> AsyncIterator[Reader]:
    db = await database(SCHEMA)
    pool = await postgres.pool(db.dsn(SCHEMA))
    cursor = await topics("cursor", partitions=1, config=COMPACT)
    limits: dict[str, object] = {"record_bytes": 20_000, "claim_bytes": 10_000}
    it = Arena(db.owner, stack.kafka, await topics("large", partitions=1), cursor, limits)
    yield Reader(stack, db, pool, it, [])
    await pool.close()


def large(number: int, size: int = 50_000) -> Event:
    whole = event("add", f"e{number}")
    return replace(whole, data={**whole.data, "note": "x" * size})


@asynccontextmanager
async def consuming(consumer: Consumer) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


async def test_the_handler_is_given_the_whole_event(reader: Reader) -> None:
    sent = [large(1), event("add", "e2"), large(3), large(4), large(5)]
    await reader.publish(*sent)
    await reader.publish_packed(large(6))
    async with running(reader.it.relay()):
        await reader.it.published(6)
    records = await read_all(reader.stack.kafka, reader.it.topic)
    assert max(len(r.value) for r in records) < 300
    async with consuming(reader.consumer(batch_bytes=60_000)):  # more than one, fewer than all
        await until(lambda: len(reader.seen) == 6, PATIENCE)
    assert reader.seen == [*sent, large(6)]
    assert (await reader.it.account()).clean


async def test_a_claim_is_the_same_when_its_page_is_read_again(reader: Reader) -> None:
    """It is laid up before the transaction that carries its record; that one may fail."""
    await reader.publish(large(1))
    async with reader.it.connection() as owner:
        before = await owner.fetchval(LAY_UP.replace("nextval('outbox.event_id')", "1"), *laid(b"{}"))
    async with running(reader.it.relay()):
        await reader.it.published(1)
    [record] = await read_all(reader.stack.kafka, reader.it.topic)
    assert dict(record.headers)[HEADER] == f"millrace:main/{before}".encode()


async def test_without_its_payload_a_record_is_no_event(reader: Reader) -> None:
    """Whoever forgets to fetch it does not take the claim for the event."""
    claim = Claim("main", "8c5c2c0e-0b0c-4d1e-9a52-5d8f3d0e4a11", 3, "")
    carried = {n: v.encode() for n, v in headers(large(1)).items()} | {HEADER: claim.dataref.encode()}
    with pytest.raises(Poison, match=r"millrace\.claims"):
        decode(b"acct_1/cus_1", carried, claim.value())


async def test_an_outbox_out_of_reach_makes_the_partition_rest_and_what_came_before_is_applied(
    reader: Reader,
) -> None:
    relay = reader.it.relay()
    relay.quarantine.lane = Lane("ledger")
    sent = [event("add", "e1"), large(2), event("add", "e3")]
    await reader.publish(*sent)
    async with running(relay):
        await reader.it.published(3)
    async with consuming(reader.consumer()):  # it knows no such outbox
        await until(lambda: len(reader.seen) == 1, PATIENCE)
    assert reader.seen == sent[:1]
    async with consuming(reader.consumer(claims={"ledger": reader.db.dsn(SCHEMA)})):
        await until(lambda: len(reader.seen) == 3, PATIENCE)
    assert reader.seen == sent


def laid(payload: bytes, unpacked: int | None = None) -> tuple[bytes, int | None, bytes]:
    return payload, unpacked, hashlib.sha256(payload).digest()


PACKED = ZstdCompressor().compress(b"a" * 5000)


@pytest.mark.parametrize(
    ("payload", "unpacked", "said", "why"),
    [
        (PACKED, 5000, Claim("main", "", 5000, hashlib.sha256(PACKED).hexdigest()), ""),
        (PACKED, 5000, Claim("main", "", 4999, hashlib.sha256(PACKED).hexdigest()), "does not unpack into 4,999"),
        (PACKED, 5000, Claim("main", "", 5001, hashlib.sha256(PACKED).hexdigest()), "there are 5,000"),
        (PACKED[:-9], 5000, Claim("main", "", 5000, hashlib.sha256(PACKED[:-9]).hexdigest()), "does not unpack"),
        (b"other", None, Claim("main", "", 5, "00" * 32), "not what was written"),
        (b"large", None, Claim("main", "", 9_000, "00" * 32), "this reader takes 8,000"),
    ],
)  # fmt: skip
async def test_only_what_was_written_is_given_out(
    reader: Reader, payload: bytes, unpacked: int | None, said: Claim, why: str
) -> None:
    async with reader.it.connection() as owner:
        ref = await owner.fetchval(LAY_UP, *laid(payload, unpacked))
    claims = Claims({"main": reader.pool}, bytes_max=8000)
    if why:
        with pytest.raises(Poison, match=why):
            await claims.fetch(replace(said, ref=ref))
    else:
        assert await claims.fetch(replace(said, ref=ref)) == b"a" * 5000


async def test_a_claim_that_is_gone_is_parked_and_says_what_to_type(reader: Reader) -> None:
    await reader.publish(large(1), event("add", "e2", of="acct_1/other"))
    async with running(reader.it.relay()):
        await reader.it.published(2)
    async with reader.it.connection() as owner:
        await owner.execute("delete from outbox.claim")
    async with consuming(reader.consumer()):
        await until(lambda: len(reader.seen) == 1, PATIENCE)
    [row] = await reader.pool.fetch("select reason from tally.parked_event")
    assert "is gone" in row["reason"] and "millrace relay replay --ids" in row["reason"]


async def test_a_parked_event_keeps_its_payload(reader: Reader) -> None:
    """So that trying it again needs no claim any more."""
    await reader.publish(large(1))
    async with running(reader.it.relay()):
        await reader.it.published(1)
    refuse = Each("tally", {event("add", "e").type: refused})
    consumer = reader.consumer()
    consumer.batches = Batches(reader.pool, refuse)
    async with consuming(consumer):
        await until(lambda: parked_events(reader), PATIENCE)
    async with reader.it.connection() as owner:
        await owner.execute("delete from outbox.claim")
    again = reader.consumer()
    await again.batches.redrive()
    assert reader.seen == [large(1)]


async def refused(_: Transaction, __: Event) -> None:
    raise Poison("not today")


async def parked_events(reader: Reader) -> bool:
    return bool(await reader.pool.fetchval("select exists (select from tally.parked_event)"))


@pytest.mark.parametrize(
    ("outboxes", "why"),
    [
        ({}, "knows no outbox 'main'.*claims={'main': dsn}"),
        ({"main": "postgresql://x@127.0.0.1:9/x"}, "cannot be asked"),
    ],
)
async def test_what_is_out_of_reach_may_come_back(outboxes: dict[str, str], why: str) -> None:
    with pytest.raises(Retryable, match=why):
        await Claims(outboxes).fetch(Claim("main", "8c5c2c0e-0b0c-4d1e-9a52-5d8f3d0e4a11", 3, ""))


async def test_a_reader_may_have_what_it_has_a_reference_to_and_nothing_else(reader: Reader) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.pool.fetch("select * from outbox.claim")
