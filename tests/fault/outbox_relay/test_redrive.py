"""A relay that dies while it parks rows, or while it carries out what was decided about them: once, in order."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outbox_relay.commands import quarantine
from outbox_relay.commands.quarantine import Wanted
from outbox_relay.domain.cursor import Cursor
from outbox_relay.publisher import nothing
from outbox_relay.relay import Relay
from outbox_relay.store.quarantine import Shelf
from tests.fault.outbox_relay.dying_redrive import AFTER_STATEMENT, POINTS
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, RelayProcess, running, until
from tests.integration.outbox_relay.test_quarantine import (
    LIMITS,
    PATIENCE,
    TIGHT,
    decide,
    often,
    parked,
    put,
    settled,
)
from tests.support.kafka import read_all

__all__ = ["often"]

RUNS = int(os.environ.get("FAULT_RUNS", "0"))


async def dies_at(it: Arena, point: str, passage: int = 1, *, publishing: bool = True) -> None:
    """A relay that comes to this point and never further: what it asked for is done, what it knew is lost."""
    relay, there = it.relay(), asyncio.Event()
    if not publishing:
        relay.publisher.publish = never  # type: ignore[method-assign]
    left = iter(range(passage - 1, -1, -1))

    async def die() -> None:
        if next(left, -1) == 0:
            there.set()
            await asyncio.Event().wait()

    if point in AFTER_STATEMENT:
        relay.quarantine._open = after(relay.quarantine._open, point, die)
    else:
        around_redrive(relay, point, die)
    task = asyncio.create_task(relay.run(asyncio.Event()))
    try:
        await asyncio.wait_for(there.wait(), PATIENCE)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def never(batches: Any, cursor: Cursor, halfway: Callable[[], None] = nothing) -> None:
    """The next page is planned while this one is on its way for ever."""
    halfway()
    await asyncio.Event().wait()


def after(opening: Callable[[], Any], statement: str, die: Callable[[], Any]) -> Callable[[], Any]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Shelf]:
        async with opening() as shelf:
            doing = getattr(shelf, statement)

            async def done(*args: object) -> object:
                result = await doing(*args)
                await die()
                return result

            setattr(shelf, statement, done)
            yield shelf

    return opened


def around_redrive(relay: Relay, point: str, die: Callable[[], Any]) -> None:
    """Only the transactions that carry a decision out."""
    publishing, known = relay.publisher.publish, 0

    async def publish(batches: Any, cursor: Cursor, *halfway: Callable[[], None]) -> None:
        nonlocal known
        if cursor.redriven > known and point == "before_redrive":
            await die()
        await publishing(batches, cursor, *halfway)
        if cursor.redriven > known and point == "after_redrive":
            await die()
        known = cursor.redriven

    relay.publisher.publish = publish  # type: ignore[method-assign,assignment]


LONGER = {"decided", "park_again"}  # nightly: before the transaction, like others


@pytest.mark.parametrize(
    "point", [pytest.param(p, marks=[pytest.mark.nightly] if p in LONGER else []) for p in POINTS]
)
async def test_killed_at_any_step_of_a_redrive_every_row_goes_once_and_in_order(
    arena: MakeArena, point: str
) -> None:
    it = await arena(**TIGHT)
    it.overrides["block_key"] = it.topic
    await put(it, "acct_1/a", payload=bytes(1500))
    for _ in range(3):
        await put(it, "acct_1/a")
    await put(it, "acct_1/b", payload=bytes(1500))
    bad = await put(it, "acct_1/b", headers="[]")
    last = await put(it, "acct_1/b")
    await it.insert(rows=10)
    if point == "park":
        await dies_at(it, point)
    async with running(it.relay()):
        await it.published(10)
    await put(it, "acct_1/a")  # waits behind its key, wherever the relay dies
    it.overrides.update(LIMITS)
    await decide(it, "retry")
    if point != "park":
        await dies_at(it, point, 2 if point in ("carried_out", "release") else 1)  # once as its term begins
    async with running(it.relay()):
        await it.published(10 + 5 + 1)
        await settled(it)
        assert [(e.id, e.reason) for e in await parked(it)] == [(bad, "bad_headers"), (last, "behind")]
        await decide(it, "drop", bad)
        await it.published(10 + 5 + 2)
        await put(it, "acct_1/b")
        await it.published(10 + 5 + 3)
        await settled(it)
    assert await it.account() == Account(rows=19, lost=1)


async def test_a_decision_waits_for_the_page_that_steps_over_its_row(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was parked and the relay died before the page: earlier rows of the key are not published yet."""
    monkeypatch.setattr("outbox_relay.relay.quarantine.LOOK_SECONDS", 60)  # a page is read ahead
    it = await arena(page_rows=2, **TIGHT)
    for _ in range(3):
        await put(it)
    row = await put(it, payload=bytes(1500))
    await dies_at(it, "park", publishing=False)
    monkeypatch.setattr("outbox_relay.relay.quarantine.LOOK_SECONDS", -1)  # between any two pages
    it.overrides.update(LIMITS)
    assert await decide(it, "retry") == [row]
    async with running(it.relay()):
        await it.published()
        await settled(it)
    assert await it.account() == Account(rows=4)


async def test_a_zombie_writes_nothing_into_the_quarantine_of_its_successor(arena: MakeArena) -> None:
    """Both believe that they lead. The one that came later has ended the other's session."""
    it = await arena()
    one, two = it.relay().quarantine, it.relay().quarantine
    async with one._open() as first:
        await first.open()
        async with two._open() as second:
            with pytest.raises(Exception, match=r"terminat|closed"):
                await first.release()
            await second.release()


@pytest.mark.nightly
async def test_killed_at_random_while_rows_are_parked_and_decided(arena: MakeArena, tmp_path: Path) -> None:
    """FAULT_RUNS deaths by SIGKILL, at random points, with whatever is parked then tried again or dropped."""
    it = await arena(page_rows=7, partitions=3)
    it.overrides["block_key"] = it.topic
    chance, dropped = random.Random(11), 0
    for death in range(max(RUNS, 10)):
        await some_rows(it, chance)
        it.overrides.update(chance.choice((TIGHT, LIMITS)))
        if some := [e.id for e in await parked(it) if chance.random() < 0.7]:
            await decide(it, "retry", *some)
        where = {"DIE_AT": chance.choice(POINTS), "DIE_AT_PASSAGE": str(chance.randint(1, 3))}
        relay = await RelayProcess.start(
            it, tmp_path / f"{death}.log", "tests.fault.outbox_relay.dying_redrive", **where
        )
        await asyncio.wait(
            [asyncio.create_task(relay.process.wait())], timeout=6
        )  # or it found nothing to die of
        await relay.kill()
    it.overrides.update(LIMITS)
    async with running(it.relay()):
        await until(lambda: accounted_for(it), PATIENCE)
        await settled(it)
        while left := await parked(it):
            async with it.connection() as connection, connection.transaction():
                wanted = Wanted(reason="bad_headers")
                dropped += len(await quarantine.decide(connection, wanted, "drop", "ada", "never fit"))
            if mended := [e.id for e in left if e.reason != "bad_headers"]:
                await decide(it, "retry", *mended)
            await settled(it)
    account = await it.account()
    assert account == Account(rows=account.rows, lost=dropped)
    assert dropped > 0


async def some_rows(it: Arena, chance: random.Random) -> None:
    for _ in range(25):
        kind = chance.random()
        await put(
            it,
            f"acct_1/{chance.choice('abcde')}",
            headers="[]" if kind < 0.06 else "{}",
            payload=bytes(1500) if kind > 0.8 else b"{}",
        )


async def accounted_for(it: Arena) -> bool:
    """Every row is in Kafka, in quarantine, or dropped."""
    aside = [entry for entry in await parked(it, ended=True) if entry.status != "published"]
    return len(await read_all(it.kafka, it.topic)) + len(aside) == len(await it.committed())
