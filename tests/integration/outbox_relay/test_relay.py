"""The relay on a real PostgreSQL and a real Kafka: every row once, in order, and a cursor that is never ahead."""

from __future__ import annotations

from pathlib import Path

from tests.integration.outbox_relay.arena import Account, MakeArena, RelayProcess, running


async def test_every_row_arrives_once_in_order(arena: MakeArena) -> None:
    it = await arena(partitions=3, page_rows=50)
    await it.insert(rows=500)
    async with running(it.relay()):
        await it.published()
    assert await it.account() == Account(rows=500)


async def test_the_process_drains_stops_when_asked_and_goes_on_where_it_stopped(
    arena: MakeArena, tmp_path: Path
) -> None:
    it = await arena(page_rows=50)
    for part in (1, 2):
        await it.insert(rows=300)
        relay = await RelayProcess.start(it, tmp_path / f"relay-{part}.log")
        await it.published()
        relay.process.terminate()
        assert await relay.ended() == 0
    assert await it.account() == Account(rows=600)
