"""Whoever changes the number of lanes is killed at each step. Either number of lanes may be started afterwards, and
the change typed again: at no moment do both publish, and no row is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from outbox_relay.commands import resharding
from outbox_relay.commands.office import Site
from outbox_relay.domain.lane import lanes
from outbox_relay.publisher import Halted
from tests.fault.outbox_relay.resharding import HANDED_OVER, NEW, OLD, STEPS, nobody
from tests.integration.outbox_relay.arena import COMPACT, Account, Arena, MakeArena, running
from tests.support.kafka import MakeTopic

LONG = ("begun", "prepared", "drained", "sent", "copied")
STEP = [pytest.param(step, marks=[pytest.mark.nightly] if step in LONG else []) for step in STEPS]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("step", STEP)
async def test_a_change_of_lanes_that_dies_is_typed_again(
    step: str, arena: MakeArena, topics: MakeTopic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = await arena(partitions=6, shards=OLD, page_rows=20)
    for lane in lanes("main", NEW):  # they would be made; here they are made to be deleted
        await topics(lane.cursor_topic(it.cursor), partitions=1, config=COMPACT, exact=True)
    await it.insert(rows=60, keys=31)
    async with running(it.lanes()):
        await it.published()
    await it.insert(rows=60, keys=31)
    assert await dies(it, step, tmp_path / "reshard.log") == -signal.SIGKILL
    other, goes_on = (OLD, NEW) if step in HANDED_OVER else (NEW, OLD)
    await halts(it, other)
    it.overrides["shards"] = goes_on
    await it.insert(rows=30, keys=31)
    async with running(it.lanes()):
        await it.published(deadline_seconds=90)
    monkeypatch.setattr(resharding, "CARRIED", ())
    await resharding.reshard(Site(it.owner, it.kafka, it.cursor), "main", OLD, NEW, nobody)
    it.overrides["shards"] = NEW
    await it.insert(rows=30, keys=31)
    async with running(it.lanes()):
        await it.published()
    assert await it.account() == Account(rows=180)
    await halts(it, OLD)


async def dies(it: Arena, step: str, log: Path) -> int:
    where = {"DATABASE": it.owner, "KAFKA": it.kafka, "CURSOR": it.cursor, "DIE_AT": step}
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fault.outbox_relay.resharding",
            env={**os.environ, **where}, stdout=out, stderr=out,
        )  # fmt: skip
    async with asyncio.timeout(90):
        return await process.wait()


async def halts(it: Arena, shards: int) -> None:
    """A relay of this number of lanes does not begin."""
    it.overrides["shards"] = shards
    with pytest.raises(Halted, match="millrace relay reshard"):
        async with asyncio.timeout(90):
            await it.lanes().run(asyncio.Event())
