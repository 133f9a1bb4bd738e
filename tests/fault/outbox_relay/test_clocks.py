"""Check 18: the clocks of the hosts are wrong. None of them decides an order, or whether a row is seen.

A row's time is the database's; a writer's own clock has no way into it. libfaketime turns the clocks of the
processes, read again from a file, so that they jump while everything runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from lab.stack import Stack, StackError, packages, postgres
from millrace import outbox
from millrace.postgres import migrate
from tests.fault.outbox_relay.test_servers import folder
from tests.integration.outbox_relay.arena import COMPACT, Account, Arena, MakeArena, RelayProcess, until
from tests.integration.outbox_relay.writers import Writers
from tests.support.kafka import MakeTopic, read_all

__all__ = ["folder"]

FAKETIME = packages.Package("faketime", "faketime", "libfaketime", "libfaketime")
PLACES = ("/usr/lib/*/faketime", "/usr/lib*/faketime", "/opt/homebrew/lib/faketime")
ONE = "insert into outbox.event (topic, key, headers, payload) values ($1, 'acct_1/cus_1', '{}', '')"


def library() -> Path | None:
    found = [path for place in PLACES for path in Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1")]
    return found[0] if found else None


@dataclass
class Clock:
    """The clock of a process, turned by hand."""

    file: Path
    library: Path

    def turn(self, offset: str) -> None:
        """Such as +59m, or -14d."""
        begun = self.file.with_suffix(".begun")
        begun.write_text(f"{offset}\n")
        begun.chmod(0o644)
        begun.rename(self.file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@dataclass
class Hosts:
    """A database, a relay and their clocks."""

    it: Arena
    server: postgres.Server
    database: Clock
    relay: Clock

    async def hours(self, wanted: float) -> None:
        """Wait until the database is so many hours off."""

        async def so() -> bool:
            async with self.it.connection() as connection:
                now: float = await connection.fetchval("select extract(epoch from clock_timestamp())::float8")
            return abs((now - time.time()) / 3600 - wanted) < 0.1

        await until(so)


@pytest.fixture
def turned(folder: Path) -> Callable[[str], Clock]:
    """`turned("relay")` makes a clock that is right, for now."""
    if not library():
        packages.install(FAKETIME, print)
    if not (found := library()):
        pytest.skip(packages.sentence(FAKETIME))

    def make(name: str) -> Clock:
        clock = Clock(folder / f"{name}.clock", found)
        clock.turn("+0")
        return clock

    return make


@pytest.fixture
async def hosts(
    folder: Path,
    stack: Stack,
    topics: MakeTopic,
    turned: Callable[[str], Clock],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Hosts]:
    try:
        server = postgres.Server.new(folder, print)
    except StackError as problem:
        pytest.skip(f"no PostgreSQL of our own to turn the clock of: {problem}")
    database = turned("database")
    with monkeypatch.context() as patch:
        for name, value in database.environment.items():
            patch.setenv(name, value)
        await asyncio.to_thread(server.start, print)
    await migrate(server.address, outbox.SCHEMA)
    cursor = await topics("cursor", partitions=1, config=COMPACT)
    it = Arena(server.address, stack.kafka, await topics("billing"), cursor, {"lease_seconds": 4})
    yield Hosts(it, server, database, turned("relay"))
    await asyncio.to_thread(server.kill)
    server.wipe()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", [-1, pytest.param(1, marks=pytest.mark.nightly)], ids=["behind", "ahead"])
async def test_order_and_completeness_do_not_follow_the_clocks(
    hosts: Hosts, tmp_path: Path, first: int
) -> None:
    """The database an hour off, the relay to the other side, and both jump across while rows come."""
    it, writers = hosts.it, Writers(hosts.it, seed=18)
    hosts.database.turn(f"{first * 59:+d}m")
    hosts.relay.turn(f"{-first * 59:+d}m")
    await hosts.hours(first * 59 / 60)
    relay = await RelayProcess.start(it, tmp_path / "relay.log", **hosts.relay.environment)
    work = asyncio.create_task(writers.run(4))
    await it.published(100, 60)
    hosts.database.turn(f"{-first * 59:+d}m")
    hosts.relay.turn(f"{first * 59:+d}m")
    await hosts.hours(-first * 59 / 60)

    async def jumped() -> bool:
        records = await read_all(it.kafka, it.topic)
        stamps: list[float] = [record.timestamp / 1000 - time.time() for record in records]
        return min(stamps) < -1800 and max(stamps) > 1800

    await until(jumped)  # or the relay's clock was never wrong, and this proved nothing
    writers.stopping.set()
    await work
    await it.published(deadline_seconds=90)
    account = await it.account()
    assert account == Account(rows=account.rows)
    assert relay.process.returncode is None
    await relay.kill()


@pytest.mark.timeout(200)
async def test_no_row_is_to_blame_for_the_clock_of_the_relay(
    arena: MakeArena, turned: Callable[[str], Clock], tmp_path: Path
) -> None:
    """Kafka refuses records that come from more than an hour ahead. Whatever it says, no row is parked for it."""
    it, clock = await arena(), turned("relay")
    clock.turn("+3h")
    relay = await RelayProcess.start(it, tmp_path / "relay.log", **clock.environment)
    await it.insert(50)
    await until(lambda: sum(line.get("message") == "starting over" for line in relay.logged()) > 3)
    async with it.connection() as connection:
        assert await connection.fetchval("select count(*) from outbox.quarantine") == 0
    clock.turn("+0")
    await it.published(50, 90)
    assert await it.account() == Account(rows=50)
    async with it.connection() as connection:
        assert await connection.fetchval("select count(*) from outbox.quarantine") == 0
    await relay.kill()


@pytest.mark.nightly
@pytest.mark.timeout(300)
async def test_a_database_two_weeks_ahead_refuses_rows_until_days_are_made(
    hosts: Hosts, tmp_path: Path
) -> None:
    """And back again: what was written in the future is published like anything else."""
    it = hosts.it
    async with it.connection() as connection:
        await connection.execute(ONE, it.topic)
        hosts.database.turn("+14d")
        await hosts.hours(14 * 24)
        with pytest.raises(asyncpg.CheckViolationError, match="no partition of relation"):
            await connection.execute(ONE, it.topic)
        assert len(await outbox.make_days(connection)) == 9
        await connection.execute(ONE, it.topic)
        hosts.database.turn("+0")
        await hosts.hours(0)
        await connection.execute(ONE, it.topic)
    relay = await RelayProcess.start(it, tmp_path / "relay.log")
    await it.published(3, 60)
    assert await it.account() == Account(rows=3)
    await relay.kill()
