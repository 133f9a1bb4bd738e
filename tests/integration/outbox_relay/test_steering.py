"""A person moves a lane: to the beginning, to the end, to a place of their own; and changes the number of lanes."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner

from millrace.cli import application
from millrace.postgres import Connection
from outbox_relay import store
from outbox_relay.commands import position, resharding
from outbox_relay.commands.office import Refused, Site
from outbox_relay.commands.resharding import Reshard, reshard
from outbox_relay.commands.steering import Move, To, fence, look, put, rebase
from outbox_relay.domain.cursor import Cursor, Position
from outbox_relay.domain.lane import Lane, lanes
from outbox_relay.domain.page import Record
from outbox_relay.publisher import Halted, TxnPublisher
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until
from tests.support.kafka import read_all

MAIN = Lane()


@pytest.fixture(autouse=True)
def only_our_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests make the product's topics, each with as many partitions as it likes."""
    monkeypatch.setattr(resharding, "CARRIED", ())


def site(it: Arena) -> Site:
    return Site(it.owner, it.kafka, it.cursor)


class Witness:
    """Counts what was written down."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, tx: Connection) -> None:
        assert tx.is_in_transaction()
        self.times += 1


async def moved(it: Arena, to: To) -> Move:
    return await rebase(site(it), MAIN, to, Witness())


async def published(it: Arena) -> list[tuple[str, int]]:
    """Under which name each record was published, and of which row it is."""
    headers = [dict(record.headers) for record in await read_all(it.kafka, it.topic)]
    return [(h["millrace-outbox"].decode(), int(h["millrace-outbox-id"])) for h in headers]


async def relayed(it: Arena, records: int | None = None) -> None:
    """What a relay publishes until so many records are there, by default as many as rows."""
    async with running(it.lanes()):
        await it.published(records)


async def halts(it: Arena) -> str:
    with pytest.raises(Halted) as halted:
        async with asyncio.timeout(60):
            await it.lanes().run(asyncio.Event())
    return str(halted.value)


# --- rebase ---


async def test_the_first_row_again_in_another_generation_with_dense_numbers(arena: MakeArena) -> None:
    it, witness = await arena(page_rows=20), Witness()
    await it.insert(rows=50)
    await relayed(it)
    before = await look(site(it), MAIN, To.REPUBLISH)
    move = await rebase(site(it), MAIN, To.REPUBLISH, witness)
    assert (before.cursor, move.cursor.generation, witness.times) == (move.cursor, 1, 1)
    assert await position(it.kafka, it.cursor) == move.cursor
    await it.insert(rows=10)
    await relayed(it, 110)
    assert await it.account() == Account(rows=60, doubled=50, inverted=(await it.account()).inverted)
    names = Counter(name for name, _ in await published(it))
    assert names == {"main@0": 50, "main@1": 60}


async def test_behind_everything_that_is_committed(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=30)
    await moved(it, To.AT_END)
    await it.insert(rows=20)
    await relayed(it, 20)
    assert await it.account() == Account(rows=50, lost=30)


async def test_a_transaction_that_is_open_at_the_end_is_published_when_it_commits(arena: MakeArena) -> None:
    it = await arena()
    async with it.connection() as late, late.transaction():
        await late.execute(
            "insert into outbox.event (topic, key, headers, payload) values ($1, 'late', '{}', '')", it.topic
        )
        await it.insert(rows=5)
        await moved(it, To.AT_END)
    await relayed(it, 1)
    assert await it.account() == Account(rows=6, lost=5)


async def test_nothing_is_moved_while_a_relay_leads_and_it_says_who_does(arena: MakeArena) -> None:
    it, witness = await arena(), Witness()
    await it.insert(rows=5)
    async with running(it.lanes()):
        await it.published()
        left = await position(it.kafka, it.cursor)
        with pytest.raises(
            Refused, match=r"main is led by server process \d+, of a relay at 127.0.0.1 .*Stop"
        ):
            await rebase(site(it), MAIN, To.REPUBLISH, witness)
        with pytest.raises(Refused, match="main is led"):
            await reshard(site(it), "main", 1, 3, witness)
        with pytest.raises(Refused, match="main is led"):  # by another division
            await reshard(site(it), "main", 3, 1, witness)
    now = await position(it.kafka, it.cursor)
    assert left and now and (now.generation, witness.times) == (left.generation, 0)


async def test_a_cursor_that_kafka_lost_is_not_taken_for_a_first_start(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=5)
    async with running(it.lanes()):
        await it.published()
        await until(lambda: copied(it))
    it.cursor = f"{it.cursor}-anew"
    await topic(it, it.cursor)
    assert "its cursor topic is empty" in await halts(it)
    move = await moved(it, To.REPUBLISH)
    assert move.cursor.generation == 1
    await relayed(it, 10)
    assert await it.account() == Account(rows=5, doubled=5)


async def copied(it: Arena) -> bool:
    async with it.connection() as connection:
        return bool(await connection.fetchval("select count(*) from outbox.cursor where record is not null"))


async def topic(it: Arena, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=it.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()


# --- rows that came from another cluster ---

RESTORED = """
alter table only outbox.event disable trigger event_only_grows;
update outbox.event set xid = (xid::text::bigint + 1000000)::text::xid8 where id % 2 = 0;
alter table only outbox.event enable trigger event_only_grows;
"""


async def test_rows_of_transactions_that_have_not_begun_halt_it_and_are_adopted(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=20)
    async with it.connection() as connection:
        await connection.execute(RESTORED)
    words = await halts(it)
    assert words.startswith("10 rows of the outbox")
    assert "`millrace relay rebase --lane main --republish --yes`" in words
    assert (await look(site(it), MAIN, To.REPUBLISH)).restored == 10
    assert (await moved(it, To.REPUBLISH)).restored == 10
    await relayed(it)
    assert await it.account() == Account(rows=20)
    async with it.connection() as connection:
        with pytest.raises(asyncpg.RestrictViolationError):  # the guard is back
            await connection.execute("update outbox.event set key = 'other'")


# --- a cursor of one's own ---


async def test_a_cursor_is_put_back_and_numbers_go_on(arena: MakeArena) -> None:
    it, witness = await arena(), Witness()
    await it.insert(rows=20)
    await relayed(it)
    kept = await position(it.kafka, it.cursor)
    assert kept
    await it.insert(rows=10)
    await relayed(it)
    move = await put(site(it), MAIN, kept.record(), witness)
    assert (move.rows, move.cursor.generation, witness.times) == (10, 1, 1)
    await relayed(it, 40)
    account = await it.account()
    assert (account.doubled, account.gaps, account.lost) == (10, 0, 0)
    for record in (b"{}", b"no json", b"[]"):
        with pytest.raises(Refused, match="cursor show --json"):
            await put(site(it), MAIN, record, witness)


# --- fence ---


async def test_after_a_fence_a_zombie_commits_nothing(arena: MakeArena) -> None:
    it = await arena()
    zombie = TxnPublisher(
        it.kafka, MAIN, cursor_prefix=it.cursor,
        deadline_seconds=10, transaction_seconds=15, batch_bytes=1 << 20,
    )  # fmt: skip
    await it.insert(rows=5)
    await relayed(it)
    left = await zombie.fence()
    assert left
    await zombie.partitions([it.topic])
    assert await fence(site(it), MAIN) == left
    with pytest.raises(Exception):  # noqa: B017 whatever the client makes of the broker's refusal
        await zombie.publish(zombie.encode({(it.topic, 0): [Record(b"k", b"zombie", [])]}), left)
    await zombie.discard()
    assert await it.account() == Account(rows=5)


async def test_a_leader_that_is_fenced_starts_over(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=5)
    async with running(it.lanes()):
        await it.published()
        await fence(site(it), MAIN)
        await it.insert(rows=5)
        await it.published()
    assert await it.account() == Account(rows=10)


# --- the number of lanes ---


async def resharded(it: Arena, old: int, new: int) -> Reshard:
    made = await reshard(site(it), "main", old, new, Witness())
    it.overrides["shards"] = new
    return made


@pytest.mark.timeout(300)
async def test_the_number_of_lanes_changes_and_no_row_is_lost_or_doubled(arena: MakeArena) -> None:
    """Rows wait at each change, and a transaction stays open over all of them."""
    it = await arena(partitions=6, page_rows=20)
    async with it.connection() as late, late.transaction():
        await late.execute(
            "insert into outbox.event (topic, key, headers, payload) values ($1, 'late', '{}', '')", it.topic
        )
        for old, new in [(1, 2), (2, 3), (3, 1)]:
            await it.insert(rows=50, keys=31)
            made = await resharded(it, old, new)
            assert (made.rows, len(made.new)) == (50, new)
            await it.insert(rows=30, keys=31)
            await relayed(it)
    await relayed(it)
    account = await it.account()
    assert account == Account(rows=241, inverted=account.inverted)
    names = {name for name, _ in await published(it)}
    assert names == {"main@0", *(f"{lane}@0" for n in (2, 3) for lane in lanes("main", n))}


async def test_a_relay_of_the_other_number_halts_before_and_after(arena: MakeArena) -> None:
    it = await arena(partitions=4)
    await it.insert(rows=10, keys=31)
    async with running(it.lanes()):
        await it.published()
        await until(lambda: copied(it))
    for lane in lanes("main", 2):
        await topic(it, lane.cursor_topic(it.cursor))  # somebody made them by hand
    it.overrides["shards"] = 2
    assert "`millrace relay reshard --lane-database main --from … --to 2`" in await halts(it)
    await resharded(it, 1, 2)
    it.overrides["shards"] = 1
    assert "has given its rows to 2 shards" in await halts(it)
    it.overrides["shards"] = 2
    await it.insert(rows=10, keys=31)
    await relayed(it)
    assert await it.account() == Account(rows=20)


async def test_a_window_that_is_open_is_finished_before_the_common_one(arena: MakeArena) -> None:
    it = await arena(partitions=3)
    await it.insert(rows=50)
    async with store.outbox(
        it.dsn, page_rows=20, page_bytes=1 << 20, record_bytes=1 << 20, read_seconds=30
    ) as source:
        page, (identity, _) = await source.page(Position()), await source.identity()
    assert page.position.window
    await put(
        site(it), MAIN, Cursor(identity, page.position, {}).record(), Witness()
    )  # as if 20 were published
    await it.insert(rows=30)
    assert (await resharded(it, 1, 3)).rows == 60
    assert (await it.account()).lost == 20
    async with it.connection() as connection:  # the copies say so too
        assert (await store.obstacles(connection)).known == tuple(map(str, lanes("main", 3)))


async def test_what_cannot_be_shared_out_is_refused(arena: MakeArena) -> None:
    it = await arena(partitions=3)
    await it.insert(rows=10)
    with pytest.raises(Refused, match=rf"{it.topic} has 3.*choose a number"):
        await resharded(it, 1, 2)  # though nothing was published yet when it began
    with pytest.raises(Refused, match="already"):
        await resharded(it, 1, 1)
    await resharded(it, 1, 3)
    assert (await resharded(it, 1, 3)).rows == 0  # again, after it was done
    with pytest.raises(Refused, match="have given their rows to 3 shards"):
        await resharded(it, 1, 6)
    await relayed(it)
    assert await it.account() == Account(rows=10)


# --- as it is typed ---


async def millrace(it: Arena, *words: str, code: int = 0, feed: bytes | None = None) -> str:
    """A command, which must end with this code; what it printed."""
    told = {
        "MILLRACE_DATABASE": it.owner,
        "MILLRACE_KAFKA": it.kafka,
        "MILLRACE_RELAY_CURSOR_TOPIC": it.cursor,
    }
    done = await asyncio.to_thread(CliRunner().invoke, application(), ["relay", *words], env=told, input=feed)
    assert done.exit_code == code, f"{done.exit_code}: {done.output}{done.exception!r}"
    return done.output


async def audits(it: Arena) -> list[tuple[str, str, str]]:
    async with it.connection() as connection:
        rows = await connection.fetch("select action, subject, reason from sealing.audit order by seq")
        return [tuple(row) for row in rows]


@pytest.mark.timeout(300)
async def test_what_will_happen_is_told_first_and_written_down_when_it_does(arena: MakeArena) -> None:
    it = await arena()
    await it.insert(rows=20)
    await relayed(it)
    plan = await millrace(it, "rebase", "--lane", "main", "--republish")
    assert "generation 0 → generation 1" in plan
    assert "rows are published again" in plan
    assert "add --yes" in plan
    assert await audits(it) == []
    kept = await millrace(it, "cursor", "show", "--json")
    rebase_ = ("rebase", "--lane", "main", "--republish", "--yes", "--reason", "a drill")
    done = orjson.loads(await millrace(it, *rebase_, "--json"))
    assert (done["done"], done["cursor"]["generation"]) == (True, 1)
    await millrace(it, "cursor", "set", "--lane", "main", "-", "--yes", feed=kept.encode())
    assert orjson.loads(await millrace(it, "fence", "--lane", "main", "--json"))["cursor"]["generation"] == 2
    await millrace(it, "reshard", "--from", "1", "--to", "3", "--yes")
    it.overrides["shards"] = 3
    await it.insert(rows=10)
    await relayed(it)
    assert await it.account() == Account(rows=30)
    assert await audits(it) == [
        ("rebased lane: republish", "main", "a drill"),
        ("set cursor", "main", ""),
        ("resharded outbox", "main", "1 → 3"),
    ]


async def test_what_is_refused_says_so_and_misspelling_is_named(arena: MakeArena) -> None:
    it = await arena()
    await millrace(it, "rebase", "--lane", "main", code=2)
    await millrace(it, "rebase", "--lane", "main", "--republish", "--at-end", code=2)
    await millrace(it, "fence", "--lane", "main.3of2", code=2)
    assert "does not exist" in await millrace(it, "fence", "--lane", "main.0of2", code=1)
    assert "has no cursor to continue from" in await millrace(
        it, "rebase", "--lane", "main", "--continue", code=1
    )
    assert "has 1 lanes already" in await millrace(it, "reshard", "--from", "1", "--to", "1", "--yes", code=1)
    assert "nothing was changed" in await millrace(it, "reshard", "--from", "1", "--to", "2")
