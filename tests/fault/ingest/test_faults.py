"""Whatever breaks, what was acknowledged is there: event and outbox row, once each.

The recorder is the sender's own list of ids that were answered 200; it knows nothing of the edge's insides.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import asyncpg
import httpx
import pytest

from ingest.store import SCHEMA
from lab.stack import wire
from millrace import postgres
from millrace.sealing import Files, Keys, Subject, Unopenable, new_key
from tests.integration.ingest.edge import (
    ACCOUNT,
    AT,
    Edge,
    Process,
    body_of,
    edge_on,
    key_folder,
    process_on,
    until,
)  # fmt: skip
from tests.integration.ingest.test_storing import commits_held, flush_waits
from tests.support.database import Database, MakeDatabase


class Senders:
    """Posts events without a pause over several connections and keeps what was answered."""

    def __init__(self, edge: Edge, at: int = AT) -> None:
        self.edge, self.at = edge, at
        self.numbers = count()
        self.acknowledged: list[str] = []
        self.answers: dict[int, int] = {}
        self.stopping = False

    async def one(self) -> None:
        while not self.stopping:
            id = f"evt_{next(self.numbers):06}"
            try:
                answer = await self.edge.post(body_of(id), at=self.at)
            except httpx.TransportError:
                if self.stopping:
                    return
                await asyncio.sleep(0.01)  # nobody there: knock again soon
                continue
            self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
            if answer.status_code == 200:
                self.acknowledged.append(id)

    @asynccontextmanager
    async def sending(self, connections: int = 16) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.one()) for _ in range(connections)]
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*tasks)

    async def more_acknowledged(self, events: int) -> None:
        goal = len(self.acknowledged) + events

        async def enough() -> bool:
            return len(self.acknowledged) >= goal

        await until(enough)


async def nothing_lost(edge: Edge, acknowledged: list[str]) -> None:
    """Every acknowledged id has its event and its outbox row, and nothing is there twice or by half."""
    stored, published = await edge.stored(), await edge.published()
    assert set(acknowledged) <= set(stored)
    assert sorted(published) == stored
    assert len(set(stored)) == len(stored)


async def cut_sessions(db: Database) -> int:
    """End every session of the ingest role in this database, whatever it is doing."""
    connection = await asyncpg.connect(db.owner)
    try:
        cut = await connection.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename = $2",
            db.name,
            SCHEMA.role,
        )
        return len(cut)
    finally:
        await connection.close()


@asynccontextmanager
async def database_gone(db: Database, maintenance: str) -> AsyncIterator[None]:
    """The database takes no connections and has dropped those it had."""
    connection = await asyncpg.connect(maintenance)
    try:
        await connection.execute(f"alter database {db.name} allow_connections false")
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", db.name
        )
        yield
    finally:
        await connection.execute(f"alter database {db.name} allow_connections true")
        await connection.close()


async def test_a_connection_cut_in_its_commit_is_replaced_and_nothing_is_doubled(
    database: MakeDatabase,
) -> None:
    async with edge_on(await database(SCHEMA)) as edge:
        async with commits_held(edge):
            post = asyncio.create_task(edge.post(body_of("evt_1")))
            await until(lambda: flush_waits(edge))
            assert await cut_sessions(edge.db) >= 1
        assert (await post).status_code == 200
        assert await edge.stored() == ["evt_1"] == await edge.published()


async def test_sessions_cut_again_and_again_under_load_lose_nothing(database: MakeDatabase) -> None:
    async with edge_on(await database(SCHEMA)) as edge:
        senders = Senders(edge)
        async with senders.sending():
            for _ in range(10):
                await senders.more_acknowledged(20)
                await cut_sessions(edge.db)
            await senders.more_acknowledged(20)
        assert set(senders.answers) <= {200, 503}
        await nothing_lost(edge, senders.acknowledged)


async def test_without_a_database_it_says_503_and_not_ready_and_comes_back(
    database: MakeDatabase, stack: object
) -> None:
    db = await database(SCHEMA)
    async with edge_on(db, pool_seconds=2.0) as edge:
        assert edge.commits
        assert (await edge.post(body_of("evt_before"))).status_code == 200
        assert edge.commits.ready() == ""
        async with database_gone(db, stack.postgres):  # type: ignore[attr-defined]  # lab.stack.Stack
            answer = await edge.post(body_of("evt_during"))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert answer.json() == {"error": "the database is out of reach"}
            assert "database" in edge.commits.ready()
        commits = edge.commits

        async def ready_again() -> bool:
            return commits.ready() == ""

        await until(ready_again)  # by itself: an edge that is not ready gets no traffic
        assert (await edge.post(body_of("evt_during"))).status_code == 200
        assert await edge.stored() == ["evt_before", "evt_during"]


@asynccontextmanager
async def senders_on_a_process(
    db: Database, folder: Path, connections: int
) -> AsyncIterator[tuple[Process, Edge, Senders]]:
    """The real process with senders that give up when it is gone."""
    async with (
        process_on(db, folder) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        edge = Edge(running.port, db, client)
        senders = Senders(edge, int(time.time()))
        async with senders.sending(connections):
            yield running, edge, senders
            senders.stopping = True


@pytest.mark.parametrize("events", [60, 97, 151])
async def test_killed_under_load_it_has_kept_whatever_it_acknowledged(
    database: MakeDatabase, tmp_path: Path, events: int
) -> None:
    """I1, with SIGKILL at a moment of nobody's choosing: the senders' list against the tables."""
    async with senders_on_a_process(await database(SCHEMA), tmp_path, 32) as (running, edge, senders):
        await senders.more_acknowledged(events)
        running.kill()
        await running.process.wait()
    await nothing_lost(edge, senders.acknowledged)
    assert len(senders.acknowledged) >= events


async def test_killed_while_a_commit_is_held_up_it_had_acknowledged_nothing_of_it(
    database: MakeDatabase, tmp_path: Path
) -> None:
    """I1, with SIGKILL at the worst moment: a flush at the server, every sender waiting."""
    async with senders_on_a_process(await database(SCHEMA), tmp_path, 32) as (running, edge, senders):
        await senders.more_acknowledged(50)
        async with commits_held(edge):
            await until(lambda: flush_waits(edge))
            running.kill()
            await running.process.wait()
    await nothing_lost(edge, senders.acknowledged)


async def test_stopped_under_load_it_answers_what_is_in_flight_and_ends_well(
    database: MakeDatabase, tmp_path: Path
) -> None:
    async with senders_on_a_process(await database(SCHEMA), tmp_path, 16) as (running, edge, senders):
        await senders.more_acknowledged(50)
        assert await running.stop() == 0
    assert set(senders.answers) == {200}
    assert sorted(senders.acknowledged) == await edge.stored()  # in flight was committed and answered
    await nothing_lost(edge, senders.acknowledged)


# --- trouble with keys ---


@pytest.fixture
def keys_folder(tmp_path: Path) -> Path:
    """A folder of one's own to spoil, with the key that the tests open with."""
    return Path(shutil.copytree(key_folder(), tmp_path / "keys"))


def of_customer(id: str, customer: str) -> bytes:
    return body_of(id, data={"object": {"id": f"in_{id}", "object": "invoice", "customer": customer}})


@asynccontextmanager
async def edge_with_keys(db: Database, folder: Path, keys: Path) -> AsyncIterator[tuple[Process, Edge]]:
    """The real process, with its key-encryption keys in this folder; `readyz` is asked by `is_ready`."""
    [health_port] = wire.free_ports(1)
    async with (
        process_on(db, folder, health_port, INGEST_KEYS=f"files:{keys}") as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        yield running, Edge(running.port, db, client)


async def is_ready(running: Process) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{running.health_port}/readyz")).status_code == 200


def problems(running: Process, message: str) -> list[str]:
    return [line["problem"] for line in running.log if line["message"] == message]


REFUSED = "new version refused, the one before stays"


async def test_key_encryption_keys_that_vanish_or_break_stay_in_force_until_the_process_ends(
    database: MakeDatabase, tmp_path: Path, keys_folder: Path
) -> None:
    """Everybody is served, new customers too, and it stays ready; only a process that starts now does not."""
    db = await database(SCHEMA)
    async with edge_with_keys(db, tmp_path, keys_folder) as (running, edge):

        async def served(id: str, customer: str) -> bool:
            return (await edge.post(of_customer(id, customer), at=int(time.time()))).status_code == 200

        assert await served("evt_1", "cus_known")
        (keys_folder / "0002.key").write_text("nonsense")
        assert await served("evt_2", "cus_known") and await served("evt_3", "cus_new")
        shutil.move(keys_folder, tmp_path / "gone")
        assert await served("evt_4", "cus_known") and await served("evt_5", "cus_newer")
        await until(lambda: is_ready(running))
        broken, gone = problems(running, REFUSED)
        assert broken.startswith(f"{keys_folder}/0002.key: others may read or change it; chmod 0400")
        assert gone.startswith(
            f"{keys_folder}: cannot be read: No such file or directory; make 0001.key there"
        )
        with pytest.raises(AssertionError, match="cannot be read"):
            async with edge_with_keys(db, tmp_path, keys_folder):
                pass
        assert [await edge.raw(f"evt_{n}") for n in (3, 5)] == [
            of_customer("evt_3", "cus_new"), of_customer("evt_5", "cus_newer")
        ]  # fmt: skip


async def test_a_customer_whose_key_cannot_be_unwrapped_here_waits_alone(
    database: MakeDatabase, tmp_path: Path, keys_folder: Path
) -> None:
    """Another process has taken over a newer key-encryption key, which is not here yet."""
    db = await database(SCHEMA)
    newer = Path(shutil.copytree(keys_folder, tmp_path / "newer"))
    newest = new_key(newer)
    pool = await postgres.pool(db.dsn(SCHEMA), size=1)
    await Keys(pool, Files(newer)).of(Subject(ACCOUNT, "cus_far"))
    await pool.close()
    async with edge_with_keys(db, tmp_path, keys_folder) as (running, edge):
        post = partial(edge.post, at=int(time.time()))
        for n in range(3):
            far = await post(of_customer("evt_far", "cus_far"))
            assert (far.status_code, far.headers["retry-after"]) == (503, "5")
            assert far.json() == {"error": "could not be stored"}  # where our keys are is nobody's business
            assert (await post(of_customer(f"evt_{n}", f"cus_{n}"))).status_code == 200
        await until(lambda: is_ready(running))
        assert f"{keys_folder}/{newest.name} is missing" in problems(running, "not sealed yet")[0]
        shutil.copy2(newest, keys_folder)
        assert (await post(of_customer("evt_far", "cus_far"))).status_code == 200
    assert await edge.stored() == ["evt_0", "evt_1", "evt_2", "evt_far"] == sorted(await edge.published())


TAMPERED = {
    "a bit": "set_byte(wrapped, 20, get_byte(wrapped, 20) # 1)",
    "another customer's": "(select wrapped from sealing.subject_key where customer = 'cus_other')",
    "nothing left of it": "''::bytea",
}


@pytest.mark.parametrize("how", TAMPERED)
async def test_a_data_key_that_was_changed_seals_nothing_and_someone_is_told(
    database: MakeDatabase, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    db = await database(SCHEMA)
    async with edge_on(db) as edge:
        for id, customer in (("evt_1", "cus_changed"), ("evt_2", "cus_other")):
            assert (await edge.post(of_customer(id, customer))).status_code == 200
        await edge.rows(
            f"update sealing.subject_key set wrapped = {TAMPERED[how]} where customer = 'cus_changed'"
        )
        assert (
            await edge.post(of_customer("evt_3", "cus_changed"))
        ).status_code == 200  # it is in memory still
    async with edge_on(db) as edge:
        answer = await edge.post(of_customer("evt_4", "cus_changed"))
        assert (answer.status_code, answer.json()) == (503, {"error": "could not be stored"})
        assert (await edge.post(of_customer("evt_5", "cus_other"))).status_code == 200
        assert await edge.stored() == ["evt_1", "evt_2", "evt_3", "evt_5"] == sorted(await edge.published())
    [told] = [record for record in caplog.records if record.name == "ingest.http"]
    assert (told.levelname, told.getMessage()) == ("ERROR", "not sealed")
    assert told.exc_info and told.exc_info[0] is Unopenable
