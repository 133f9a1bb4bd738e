"""What is taken in is stored whole, once, with its outbox row, and only then acknowledged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import orjson
import pytest

from ingest.door import Limits
from ingest.store import SCHEMA
from tests.integration.ingest.edge import ACCOUNT, NOW, Edge, body_of, edge_on, opening, until
from tests.support.database import MakeDatabase


@asynccontextmanager
async def commits_held(edge: Edge) -> AsyncIterator[asyncpg.Connection]:
    """While this lasts no event can be committed: their flush waits for a lock."""
    connection = await asyncpg.connect(edge.db.owner)
    try:
        async with connection.transaction():
            await connection.execute("lock table ingest.event_id in access exclusive mode")
            yield connection
    finally:
        await connection.close()


async def flush_waits(edge: Edge, flushes: int = 1) -> bool:
    """Whether so many group commits have a statement at the server that waits for the lock."""
    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%arriving%'"
    found = await edge.rows(waiting + " and datname = current_database() and pid <> pg_backend_pid()")
    return len(found) >= flushes


async def held_batch(edge: Edge, *raws: bytes, flushes: int = 1) -> list[asyncio.Task[int]]:
    """Post one event that gets stuck in its flush, then the others, which gather for the next one."""
    first = asyncio.create_task(status(edge, body_of("evt_first")))
    await until(lambda: flush_waits(edge, flushes))
    rest = [asyncio.create_task(status(edge, raw)) for raw in raws]
    await gathered(edge, len(raws))
    return [first, *rest]


async def gathered(edge: Edge, events: int) -> None:
    """Wait until so many events wait for the next flush."""
    assert edge.commits
    queue = edge.commits.queue

    async def all_there() -> bool:
        return len(queue) == events

    await until(all_there)


async def status(edge: Edge, raw: bytes) -> int:
    return (await edge.post(raw)).status_code


ODD_BODIES = {
    "indented, keys in Stripe's order": orjson.dumps(orjson.loads(body_of()), option=orjson.OPT_INDENT_2),
    "NUL in a text": body_of(note="a\0b"),
    "lone surrogate": body_of(note="@").replace(b"@", b"\\ud800"),
    "any script": body_of(note="Zażółć 売上 🧾"),
    "escapes where none are needed": body_of(note="@").replace(b"@", b"\\u0041\\/"),
    "numbers with all their digits": body_of(note="@").replace(b'"@"', b"[1.10, 1e3, 123456789012345678901234567890]"),
    "space around": b" \n" + body_of() + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("raw", ODD_BODIES.values(), ids=ODD_BODIES.keys())
async def test_the_body_comes_back_byte_for_byte_from_store_and_is_published_with_its_meaning(
    edge: Edge, raw: bytes
) -> None:
    assert await status(edge, raw) == 200
    [row] = await edge.rows("select * from ingest.event")
    assert await edge.raw("evt_1") == raw
    assert (row["source"], row["account"], row["customer"]) == ("webhook", ACCOUNT, "cus_1")
    assert (row["endpoint"], row["secret"], row["cards"]) == ("main", "new", 0)
    assert row["received_at"] == NOW and row["signature"].startswith("t=")
    assert json.loads(await edge.payload("evt_1")) == json.loads(raw, parse_int=as_readers_see)


def as_readers_see(digits: str) -> float | int:
    """Beyond 64 bits a number is a double to nearly everybody who reads JSON."""
    return int(digits) if abs(int(digits)) < 2**64 else float(digits)


async def test_nothing_personal_is_published_or_stored_in_the_clear(edge: Edge) -> None:
    person = {"id": "cus_1", "object": "customer", "email": "anna@example.com", "name": "Anna Karenina"}
    assert await status(edge, body_of("evt_1", type="customer.created", data={"object": person})) == 200
    for table in ("ingest.event", "outbox.event", "sealing.blind_index"):
        for row in await edge.rows(f"select * from {table}"):
            assert "anna" not in repr(tuple(row)).lower() and "karenina" not in repr(tuple(row)).lower()
    assert b"anna" not in (await edge.payload("evt_1")).lower()
    assert orjson.loads(await edge.raw("evt_1"))["data"]["object"] == person


async def test_an_e_mail_address_finds_its_customer_by_the_index_alone(edge: Edge) -> None:
    person = {"id": "cus_1", "object": "customer", "email": "Anna@Example.com "}
    assert await status(edge, body_of("evt_1", type="customer.created", data={"object": person})) == 200
    async with opening(edge.db) as keys:
        digest = (await keys.index(ACCOUNT)).digest("customer.email", "anna@example.com")
    rows = await edge.rows("select customer from sealing.blind_index where digest = $1", digest)
    assert [row["customer"] for row in rows] == ["cus_1"]


async def test_a_card_number_is_cut_out_and_the_event_is_kept(edge: Edge) -> None:
    raw = body_of(note="my card 4242 4242 4242 4242, thanks")
    assert await status(edge, raw) == 200
    kept = raw.replace(b"4242 4242 4242 4242", b"[card number 1 removed]")
    assert await edge.raw("evt_1") == kept
    assert b"4242 4242" not in await edge.payload("evt_1")
    [row] = await edge.rows("select cards from ingest.event")
    assert row["cards"] == 1


async def test_an_unknown_type_in_a_version_of_2017_is_stored_and_published(edge: Edge) -> None:
    assert await status(edge, body_of("evt_17", type="moon.risen", api_version="2017-08-15")) == 200
    [row] = await edge.rows("select type, api_version from ingest.event")
    assert tuple(row) == ("moon.risen", "2017-08-15")
    [row] = await edge.rows("select topic, key, headers::text from outbox.event")
    head = orjson.loads(row["headers"])
    assert (row["topic"], row["key"]) == ("stripe.other", f"{ACCOUNT}/cus_1")
    assert (head["ce_id"], head["ce_type"]) == ("evt_17", "stripe.moon.risen")
    assert (head["ce_dataschema"], head["ce_source"]) == ("2017-08-15", f"stripe/{ACCOUNT}")
    assert head["traceparent"].startswith("00-")


async def test_a_duplicate_is_acknowledged_and_not_stored_again(edge: Edge) -> None:
    """Stripe's redelivery differs in `pending_webhooks`; the first one is kept."""
    first, again = body_of("evt_1"), body_of("evt_1", pending_webhooks=3)
    assert [await status(edge, raw) for raw in (first, again, first)] == [200, 200, 200]
    assert await edge.stored() == ["evt_1"] == await edge.published()
    assert await edge.raw("evt_1") == first


async def test_duplicates_in_one_batch_and_across_batches_are_one(edge: Edge) -> None:
    async with commits_held(edge):
        twins = [
            body_of("evt_first"),
            body_of("evt_2"),
            body_of("evt_2", pending_webhooks=2),
            body_of("evt_3"),
        ]
        posts = await held_batch(edge, *twins)
    assert await asyncio.gather(*posts) == [200] * 5
    assert await edge.stored() == ["evt_2", "evt_3", "evt_first"]
    assert await edge.published() == ["evt_first", "evt_2", "evt_3"]


async def both_flush(one: Edge, other: Edge) -> bool:
    """Whether both have taken their whole queue to the server, and wait there."""
    assert one.commits and other.commits
    return not one.commits.queue and not other.commits.queue and await flush_waits(one, 2)


@asynccontextmanager
async def claimed(edge: Edge, id: str) -> AsyncIterator[None]:
    """While this lasts somebody else is about to store an event of this id; then they give it up."""
    connection = await asyncpg.connect(edge.db.owner)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("insert into ingest.event_id values ($1, $2, now())", ACCOUNT, id)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_the_same_events_through_two_edges_at_once_are_one_each_without_a_deadlock(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    """Both hold half of them, in the opposite order of the other, when the one in the middle is given up."""
    ids = [f"evt_{n:02}" for n in range(90)]
    async with edge_on(edge.db) as other:
        async with claimed(edge, "evt_45"):
            async with claimed(edge, "evt_first"):
                posts = await held_batch(edge, *[body_of(id) for id in ids])
                posts += await held_batch(other, *[body_of(id) for id in reversed(ids)], flushes=2)
            await until(lambda: both_flush(edge, other))
        assert await asyncio.gather(*posts) == [200] * 182
    assert await edge.stored() == [*ids, "evt_first"] == sorted(await edge.published())
    assert not [record.getMessage() for record in caplog.records if "row by row" in record.getMessage()]


async def test_events_of_a_batch_are_published_in_the_order_of_their_arrival(edge: Edge) -> None:
    ids = [f"evt_{n}" for n in (5, 3, 9, 1, 7)]
    async with commits_held(edge):
        posts = await held_batch(edge)
        for place, id in enumerate(ids, 1):
            posts.append(asyncio.create_task(status(edge, body_of(id))))
            await gathered(edge, place)
    await asyncio.gather(*posts)
    assert await edge.published() == ["evt_first", *ids]


async def test_nothing_is_acknowledged_before_its_commit(edge: Edge) -> None:
    """I1: while the commit cannot happen there is no answer; when there is one, both rows are there."""
    async with commits_held(edge):
        post = asyncio.create_task(edge.post(body_of("evt_1")))
        await until(lambda: flush_waits(edge))
        done, _ = await asyncio.wait([post], timeout=0.5)
        assert not done
        assert await edge.rows("select from outbox.event") == []
    assert (await post).status_code == 200
    assert await edge.stored() == ["evt_1"] == await edge.published()


async def test_the_commit_waits_for_the_disk_whatever_the_role_defaults_to(database: MakeDatabase) -> None:
    """I1: synchronous_commit is set on the connection and looked at, not hoped for."""
    db = await database(SCHEMA)
    owner = await asyncpg.connect(db.owner)
    await owner.execute(f"alter role {SCHEMA.role} in database {db.name} set synchronous_commit = off")
    await owner.close()
    async with edge_on(db) as edge:
        assert await status(edge, body_of("evt_1")) == 200
        assert edge.commits and edge.commits.connection
        assert await edge.commits.connection.fetchval("show synchronous_commit") == "on"


async def test_a_row_that_the_database_refuses_fails_alone(edge: Edge) -> None:
    await edge.rows("alter table ingest.event add constraint picky check (object_id <> 'in_bad')")
    bad = body_of("evt_bad", data={"object": {"id": "in_bad", "object": "invoice"}})
    async with commits_held(edge):
        posts = await held_batch(edge, body_of("evt_1"), bad, body_of("evt_2"), bad, body_of("evt_3"))
    assert await asyncio.gather(*posts) == [200, 200, 503, 200, 503, 200]
    assert await edge.stored() == ["evt_1", "evt_2", "evt_3", "evt_first"] == sorted(await edge.published())
    assert [r["id"] for r in await edge.rows("select id from ingest.event_id where id = 'evt_bad'")] == []


async def test_a_full_queue_answers_503_and_says_when_to_come_again(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA), events_max=2) as edge:
        async with commits_held(edge):
            posts = await held_batch(edge, body_of("evt_1"), body_of("evt_2"))
            answer = await edge.post(body_of("evt_3"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json() == {"error": "too many events wait for a commit"}
        assert await asyncio.gather(*posts) == [200, 200, 200]
        assert await status(edge, body_of("evt_3")) == 200


async def test_it_says_not_ready_before_anybody_is_turned_away(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA), events_max=4, seconds_max=4.0) as edge:
        assert edge.commits
        commits = edge.commits
        assert await status(edge, body_of("evt_0")) == 200 and commits.ready() == ""
        async with commits_held(edge):
            posts = await held_batch(edge, body_of("evt_1"))
            assert commits.ready() == ""
            posts += [asyncio.create_task(status(edge, body_of("evt_2")))]
            await gathered(edge, 2)
            assert commits.ready() == "2 events wait for a commit"
        assert await asyncio.gather(*posts) == [200, 200, 200]  # nobody was
        assert commits.ready() == ""


async def test_a_commit_that_takes_long_makes_it_not_ready_while_everybody_still_waits(
    database: MakeDatabase,
) -> None:
    async with edge_on(await database(SCHEMA), seconds_max=4.0) as edge:
        assert edge.commits
        commits = edge.commits
        async with commits_held(edge):
            posts = await held_batch(edge)

            async def says_slow() -> bool:
                return commits.ready() == "the database is slow"

            await until(says_slow)
        assert await asyncio.gather(*posts) == [200]
        assert commits.ready() == ""


async def test_a_queue_full_of_bytes_answers_503(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA), bytes_max=20_000) as edge, commits_held(edge):
        posts = await held_batch(edge, body_of("evt_1", note="x" * 30_000))
        assert await status(edge, body_of("evt_2")) == 503
        for post in posts:
            post.cancel()
        await asyncio.gather(*posts, return_exceptions=True)


async def test_a_slow_database_answers_503_in_time(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA), seconds_max=0.3) as edge:
        async with commits_held(edge):
            answer = await edge.post(body_of("evt_1"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert await status(edge, body_of("evt_1")) == 200
        assert await edge.stored() == ["evt_1"] == await edge.published()


async def test_a_half_sent_body_is_hung_up_on(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA), limits=Limits(body_seconds_max=0.2)) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"POST /webhooks/stripe/main HTTP/1.1\r\nhost: e\r\ncontent-length: 100\r\n\r\nhalf")
        answer = await asyncio.wait_for(reader.read(), 10)  # until the edge closes
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408") and b"too slowly" in answer
        assert await status(edge, body_of("evt_1")) == 200


async def test_a_sender_that_hangs_up_in_its_body_leaves_nothing(edge: Edge) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"POST /webhooks/stripe/main HTTP/1.1\r\nhost: e\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.transport.abort()
    assert await status(edge, body_of("evt_1")) == 200
    assert await edge.stored() == ["evt_1"]
