"""What the relay does when something is wrong: it stands still, says so, and goes on when it is mended.

Rows that cannot go are the quarantine's: test_quarantine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from outbox_relay import commands
from outbox_relay.relay import Relay
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.support.kafka import read_all

ONE = "insert into outbox.event (topic, key, headers, payload) values ($1, 'k', $2::text::jsonb, $3)"


async def put(it: Arena, topic: str, headers: str = "{}", payload: bytes = b"{}") -> None:
    async with it.connection() as connection:
        await connection.execute(ONE, topic, headers, payload)


async def holding(relay: Relay) -> str:
    await until(lambda: relay.ready() != "", 20)
    return relay.ready()


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
    assert "`millrace relay rebase --lane main --republish`" in last
    assert len(await read_all(it.kafka, it.topic)) == 3  # nothing of the other one was published


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
