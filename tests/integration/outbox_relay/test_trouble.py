"""What the relay does when something is wrong: it stands still, says so, and goes on when it is mended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, RequestTimedOutError
from aiokafka.protocol.transaction import EndTxnRequest

from outbox_relay import commands, metrics
from outbox_relay.domain.cursor import Cursor, Identity, Position, Snapshot
from outbox_relay.publisher import TxnPublisher, Unacknowledged, acknowledged
from outbox_relay.publisher.client import Producer
from outbox_relay.relay import Halted, Relay
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.support.kafka import MakeTopic, read_all

ONE = "insert into outbox.event (topic, key, headers, payload) values ($1, 'k', $2::text::jsonb, $3)"


async def put(it: Arena, topic: str, headers: str = "{}", payload: bytes = b"{}") -> None:
    async with it.connection() as connection:
        await connection.execute(ONE, topic, headers, payload)


async def holding(relay: Relay) -> str:
    await until(lambda: relay.ready() != "", 20)
    return relay.ready()


@pytest.mark.parametrize(
    ("headers", "payload", "why"),
    [
        ('{"n": 1}', b"{}", "its headers are not a JSON object of strings"),
        ("[]", b"{}", "its headers are not a JSON object of strings"),
        ("{}", bytes(3000), "it is larger than one Kafka record may be"),
    ],
)
async def test_it_stands_before_a_row_that_cannot_go(
    arena: MakeArena, headers: str, payload: bytes, why: str
) -> None:
    it = await arena(record_bytes=2000)
    await it.insert(rows=10)
    await put(it, it.topic, headers, payload)
    await it.insert(rows=10)
    relay = it.relay()
    async with running(relay):
        assert await holding(relay) == f"outbox row 11 cannot be published: {why}"
        await it.published(10)
    account = await it.account()
    assert account == Account(rows=21, lost=11)  # none of them stepped over
    async with it.connection() as connection:
        waiting, _ = await commands.unpublished(connection, await commands.position(it.kafka, it.cursor))
    assert waiting == 11


async def test_a_missing_topic_is_waited_for(arena: MakeArena) -> None:
    it = await arena()
    later = f"{it.topic}.later"
    await it.insert(rows=5)
    await put(it, later)
    await it.insert(rows=5)
    relay = it.relay()
    admin = AIOKafkaAdminClient(bootstrap_servers=it.kafka)
    await admin.start()
    try:
        async with running(relay):
            assert (
                await holding(relay)
                == "outbox row 6 cannot be published: its topic does not exist; create it"
            )
            await admin.create_topics([NewTopic(later, 2, 1)])
            await it.published(10)
            assert len(await read_all(it.kafka, later)) == 1
            await until(lambda: relay.ready() == "")
    finally:
        await admin.delete_topics([later])
        await admin.close()
    assert await it.account() == Account(rows=10)


async def test_a_failed_batch_never_lets_the_cursor_pass(arena: MakeArena, topics: MakeTopic) -> None:
    """The broker refuses what the topic does not allow; the client's commit would report success."""
    it = await arena()
    small = await topics("small", partitions=1, config={"max.message.bytes": "2000"})
    await it.insert(rows=5)
    await put(it, small, payload=random.Random(1).randbytes(20_000))  # no compression helps
    await it.insert(rows=5)
    relay, before = it.relay(), fences()
    async with running(relay):
        await until(lambda: fences() > before + 2, 30)  # it tried, failed, and fenced anew
        assert await commands.position(it.kafka, it.cursor) is None
        admin = AIOKafkaAdminClient(bootstrap_servers=it.kafka)
        await admin.start()
        await allow(admin, small)
        await admin.close()
        await it.published(10)
    assert await it.account() == Account(rows=10)
    assert len(await read_all(it.kafka, small)) == 1


def fences() -> float:
    return metrics.FENCES._value.get()  # type: ignore[no-any-return]  # the library's counter is untyped


async def allow(admin: AIOKafkaAdminClient, topic: str) -> None:
    await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "900000"})]
    )


HERE = Identity(1, 1, 1)


@asynccontextmanager
async def publisher(it: Arena) -> AsyncIterator[TxnPublisher]:
    made = TxnPublisher(it.kafka, it.cursor, deadline_seconds=5, transaction_seconds=5, batch_bytes=100_000)
    try:
        await made.fence()
        yield made
    finally:
        await made.discard()


async def test_a_successor_fences_and_reads_what_its_predecessor_committed(arena: MakeArena) -> None:
    it = await arena()
    cursors = [Cursor(HERE, Position(Snapshot(n, n)), {}) for n in range(10, 13)]
    async with publisher(it) as first:
        await first.publish([], cursors[0])
        await first.send([], cursors[1])  # and never commits
        async with publisher(it) as second:
            assert await commands.position(it.kafka, it.cursor) == cursors[0]
            with pytest.raises((KafkaError, AssertionError)):
                await first.commit()
            await second.publish([], cursors[2])
    assert await commands.position(it.kafka, it.cursor) == cursors[2]


async def test_a_predecessor_may_commit_until_it_is_fenced_and_that_is_seen(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor is read after the fence: read before, it would be one page behind, and the page come twice."""
    it = await arena()
    last = Cursor(HERE, Position(Snapshot(11, 11)), {})
    async with publisher(it) as first:
        await first.send([], last)

        class Overtaken(Producer):
            async def start(self) -> None:
                await first.commit()
                await super().start()

        monkeypatch.setattr("outbox_relay.publisher.Producer", Overtaken)
        successor = TxnPublisher(
            it.kafka, it.cursor, deadline_seconds=5, transaction_seconds=5, batch_bytes=1000
        )
        try:
            assert await successor.fence() == last
        finally:
            await successor.discard()


async def test_the_cursor_is_found_behind_any_number_of_aborted_ones(arena: MakeArena) -> None:
    it = await arena()
    kept = Cursor(HERE, Position(Snapshot(10, 10)), {})
    async with publisher(it) as one:
        await one.publish([], kept)
        for n in range(70):  # more than the reader first looks back
            await one.send([], Cursor(HERE, Position(Snapshot(n + 11, n + 11)), {}))
            assert one.producer is not None
            await one.producer.abort_transaction()  # only here: the product never aborts
        assert await one.fence() == kept


async def test_an_undecided_transaction_halts_the_successor(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's open transaction stands for the one that a dead broker left without its end."""
    monkeypatch.setattr("outbox_relay.publisher.SCAN_SECONDS", 0.5)
    it = await arena()
    stranger = Producer(it.kafka, f"{it.cursor}.stranger", seconds=5, transaction_seconds=60, batch=1000)
    successor = TxnPublisher(it.kafka, it.cursor, deadline_seconds=5, transaction_seconds=1, batch_bytes=1000)
    try:
        await stranger.start()
        await stranger.begin_transaction()
        await stranger.send_and_wait(it.cursor, b"may count", key=b"cursor", partition=0)
        with pytest.raises(Halted, match=r"find-hanging --topic"):
            await successor.fence()
        await stranger.abort_transaction()
        assert await successor.fence() is None
    finally:
        await stranger.discard()
        await successor.discard()


async def test_the_end_of_a_transaction_is_asked_for_once(arena: MakeArena) -> None:
    """An answer that never comes may still have been a yes; asking again could end the next transaction."""
    it = await arena()
    asked: list[object] = []
    async with publisher(it) as one:
        assert one.producer is not None
        sending = one.producer.client.send

        async def silent(node: int, request: object, **options: object) -> object:
            if not isinstance(request, EndTxnRequest):
                return await sending(node, request, **options)
            asked.append(request)
            raise RequestTimedOutError

        one.producer.client.send = silent
        with pytest.raises(KafkaError):
            await one.publish([], Cursor(HERE, Position(Snapshot(10, 10)), {}))
        assert len(asked) == 1
        assert await one.fence() is None


async def test_every_future_is_asked() -> None:
    loop = asyncio.get_running_loop()
    good, bad, late = (loop.create_future() for _ in range(3))
    good.set_result(None)
    bad.set_exception(ValueError("refused"))
    with pytest.raises(Unacknowledged):
        await acknowledged([good, bad, late])
    assert late.cancelled()


async def test_another_database_halts_with_code_3_and_says_what_to_type(
    arena: MakeArena, tmp_path: Path
) -> None:
    it, other = await arena(), await arena()
    await it.insert(rows=3)
    async with running(it.relay()):
        await it.published()
    moved = Arena(other.owner, it.kafka, it.topic, it.cursor)
    await moved.insert(rows=4)
    process = await RelayProcess.start(moved, tmp_path / "halt.log")
    assert await process.ended() == 3
    last = str(process.logged()[-1]["message"])
    assert "another database of the cluster" in last
    adopt = last.split("RELAY_ADOPT=")[1].split(" ")[0]
    moved.overrides["adopt"] = adopt
    async with running(moved.relay()):
        await moved.published(3 + 4)
    position = await commands.position(it.kafka, it.cursor)
    assert position is not None and position.generation == 1


async def test_the_commands_account_agrees(arena: MakeArena) -> None:
    it = await arena(page_rows=30)
    await it.insert(rows=100)
    async with running(it.relay()):
        await it.published()
    async with it.connection() as connection:
        found = await commands.published(it.kafka, connection, [it.topic])
    damage: Sequence[str] = ("missing", "strange", "duplicates", "inversions", "gaps")
    assert (found["rows"], found["records"], [found[name] for name in damage]) == (100, 100, [0] * 5)


async def test_a_quiet_relay_commits_its_cursor_now_and_then(arena: MakeArena) -> None:
    """So that readiness means that the whole way works, not that the process lives."""
    it = await arena(heartbeat_seconds=0.2)
    async with running(it.relay()):
        await until(lambda: committed(it), 20)


async def committed(it: Arena) -> bool:
    return await commands.position(it.kafka, it.cursor) is not None
