"""When the relay reads, and where it works: nothing waits for what could be done meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from prometheus_client import REGISTRY

from outbox_relay.domain.cursor import Position
from outbox_relay.domain.page import Page
from outbox_relay.relay import Relay, quarantine, stream
from outbox_relay.store import reading
from tests.integration.outbox_relay.arena import Account, Arena, MakeArena, running, until


async def test_at_the_end_of_the_outbox_a_page_is_read_while_the_one_before_commits(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no commit ends before a read has begun beside it: one after the other, they would wait for ever."""
    it = await arena(heartbeat_seconds=1000)
    monkeypatch.setattr(quarantine, "LOOK_SECONDS", 1000)
    relay, before, began = it.relay(), sampled("fences_total"), asyncio.Event()
    inner: Any = relay.publisher.inner  # type: ignore[attr-defined]  # the one whose cursor is copied
    page, committed = reading.Outbox.page, inner.commit

    async def read(self: reading.Outbox, position: Position) -> Page:
        began.set()
        return await page(self, position)

    async def commit() -> None:
        began.clear()
        await asyncio.wait_for(began.wait(), 10)
        await committed()

    monkeypatch.setattr(reading.Outbox, "page", read)
    inner.commit = commit
    async with running(relay):
        for rows in (5, 10, 15):
            await it.insert(rows=5)
            await it.published(rows)
    assert sampled("fences_total") == before + 1  # no commit was given up
    assert await it.account() == Account(rows=15)


def sampled(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"millrace_relay_{name}", {"lane": "main", **labels}) or 0.0


@pytest.mark.parametrize(("rows", "beside"), [(20, False), (600, True)])
async def test_a_large_page_is_worked_on_beside_the_loop(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch, rows: int, beside: bool
) -> None:
    """Unpacked, planned and encoded in a thread, so that the loop answers meanwhile; a small one is not worth it."""
    it = await arena()
    await packed(it, rows)
    relay = it.relay()
    where = {
        "unpack": watched(monkeypatch, reading, "read_rows"),
        "plan": watched(monkeypatch, quarantine, "plan"),
        "encode": watched(monkeypatch, relay.publisher, "encode"),
    }
    async with running(relay):
        await it.published()
    assert {
        step: bool(threads - {threading.get_ident()}) for step, threads in where.items()
    } == dict.fromkeys(where, beside)
    assert await it.account() == Account(rows=rows)


def watched(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> set[int]:
    """The threads that it is called in."""
    threads: set[int] = set()
    called: Callable[..., Any] = getattr(place, name)

    def watching(*args: Any, **kwargs: Any) -> Any:
        threads.add(threading.get_ident())
        return called(*args, **kwargs)

    monkeypatch.setattr(place, name, watching)
    return threads


async def packed(it: Arena, rows: int) -> None:
    payload = b'{"padding":"' + b"x" * 500 + b'"}'
    async with it.connection() as connection:
        await connection.execute(
            "insert into outbox.event (topic, key, headers, payload, unpacked) "
            "select $1, 'k' || n % 7, '{}', $2, $3 from generate_series(1, $4) as n",
            it.topic, zstandard.compress(payload), len(payload), rows,
        )  # fmt: skip


async def test_the_quieter_the_outbox_the_longer_the_pauses_until_a_row_comes(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = await arena(poll_seconds=0.01, idle_seconds=0.08, heartbeat_seconds=1000)
    waits: list[float] = []

    async def pause(stop: asyncio.Event, seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    monkeypatch.setattr(stream, "pause", pause)
    quiet = [0.01, 0.02, 0.04, 0.08, 0.08]
    async with running(it.relay()):
        await until(lambda: waits[:5] == quiet)
        seen = len(waits)
        await it.insert(rows=1)
        await it.published()
        await until(lambda: any(waits[n : n + 5] == quiet for n in range(seen, len(waits))))


async def test_the_parts_of_a_cycle_are_measured(arena: MakeArena) -> None:
    it = await arena()
    parts = ("read", "plan", "send", "commit")
    before = {part: sampled("cycle_seconds_count", part=part) for part in parts}
    await it.insert(rows=10)
    async with running(it.relay()):
        await it.published()
        await until(lambda: all(sampled("cycle_seconds_count", part=p) > before[p] for p in parts))


async def test_progress_is_what_was_committed_and_not_a_new_beginning(
    arena: MakeArena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that begins term after term, here without a pause, and commits nothing is not ready."""
    monkeypatch.setattr("outbox_relay.relay.AGAIN_SECONDS", (0.05, 0.1))
    it = await arena(stalled_seconds=2)
    relay: Relay = it.relay()
    async with running(relay), it.connection() as connection:
        await it.insert(rows=1)
        await it.published()
        await connection.execute("revoke select on outbox.event from millrace_outbox")
        # A term still begins: what it asks first needs no more than this.
        await connection.execute("grant select (xid) on outbox.event to millrace_outbox")
        await until(lambda: relay.ready().startswith("no progress for 2 s: InsufficientPrivilege"), 30)
        assert sampled("heartbeat_age_seconds") > 2
        await connection.execute("grant select on outbox.event to millrace_outbox")
        await until(lambda: relay.ready() == "", 30)
