"""Endpoints as they are run: a rotation under load, a bad file, and what the operator is told meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
from typer.testing import CliRunner

from ingest.domain.rotation import Used
from ingest.domain.signature import sign
from ingest.store import SCHEMA
from ingest.usage import used
from millrace.cli import application
from millrace.postgres import Connection
from tests.integration.ingest.edge import ACCOUNT, Edge, Process, body_of, process_on, until
from tests.support.database import Database, MakeDatabase

SENDERS = 8


@dataclass
class Sender:
    """Stripe: signs with every secret that is active there, without a pause, and remembers each answer."""

    edge: Edge
    active: list[bytes]
    answers: list[tuple[str, int]] = field(default_factory=list)

    async def run(self, number: int) -> None:
        for count in range(1_000_000):
            await self.one(f"evt_{number}_{count}")

    async def one(self, id_: str) -> int:
        raw, at = body_of(id_), int(time.time())
        first, *others = [sign(raw, secret, at) for secret in self.active]
        header = ",".join([first, *(other.split(",")[1] for other in others)])
        answer = await self.edge.post(raw, signature=header)
        self.answers.append((id_, answer.status_code))
        return answer.status_code

    async def more(self, count: int = 50) -> None:
        """Wait for so many more answers."""
        enough = len(self.answers) + count

        async def there() -> bool:
            return len(self.answers) >= enough

        await until(there)


@asynccontextmanager
async def load(sender: Sender) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(sender.run(number)) for number in range(SENDERS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Site:
    """A running edge, and the files that it reads its endpoints from."""

    folder: Path
    running: Process
    edge: Edge

    def secrets(self, **values: str) -> None:
        for name, value in values.items():
            put(self.folder / name, value)

    def endpoints(self, *secrets: str) -> None:
        """The file anew, with these secrets of main; whatever else is said of one stands after its name."""
        lines = "".join(f"    - file: {self.folder}/{secret}\n" for secret in secrets)
        put(
            self.folder / "endpoints.yaml",
            f"main:\n  account: {ACCOUNT}\n  livemode: false\n  secrets:\n{lines}",
        )

    async def told(self, message: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the log says something so many times."""
        found: list[dict[str, Any]] = []

        async def said() -> bool:
            found[:] = [line for line in self.running.log if line["message"] == message]
            return len(found) >= times

        await until(said)
        return found


@pytest.fixture
async def site(database: MakeDatabase, tmp_path: Path) -> AsyncIterator[Site]:
    db = await database(SCHEMA)
    async with (
        process_on(db, tmp_path) as running,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}", timeout=30) as client,
    ):
        yield Site(tmp_path, running, Edge(running.port, db, client))


READ = "new version read"


async def test_a_secret_is_rotated_under_load_with_not_one_request_refused(site: Site) -> None:
    """As the runbook has it: rolled at Stripe, which signs with both; put in here; expired there; taken out here."""
    stripe = Sender(site.edge, [b"whsec_new"])  # which the process was started with
    async with load(stripe):
        await stripe.more()
        site.secrets(old="whsec_new", new="whsec_newest")
        site.endpoints("old")
        await site.told(READ, 1)
        stripe.active[:] = [b"whsec_newest", b"whsec_new"]
        await stripe.more()
        site.endpoints("new", "old\n      not_after: 2099-01-01T00:00:00Z")
        await site.told(READ, 2)
        await stripe.more()
        stripe.active[:] = [b"whsec_newest"]
        await stripe.more()
        site.endpoints("new")
        await site.told(READ, 3)
        await stripe.more()
    assert {status for _, status in stripe.answers} == {200}
    assert {id_ for id_, _ in stripe.answers} <= set(await site.edge.stored())
    assert await Sender(site.edge, [b"whsec_new"]).one("evt_late") == 400
    counted = await site.edge.rows("select secret, count(*) from ingest.event group by secret")
    assert {row["secret"] for row in counted} == {
        "env TEST_WEBHOOK_SECRET", f"file {site.folder}/old", f"file {site.folder}/new"
    }  # fmt: skip


async def test_a_bad_file_is_refused_in_the_log_and_the_old_one_stays_in_force(site: Site) -> None:
    stripe = Sender(site.edge, [b"whsec_new"])
    async with load(stripe):
        site.endpoints("nowhere")
        (line,) = await site.told("new version refused, the one before stays")
        await stripe.more()
    assert line["problem"] == (
        f"{site.folder}/endpoints.yaml:5: main.secrets[0].file: '{site.folder}/nowhere' holds no secret; "
        "put the endpoint's whsec_… there"
    )
    assert {status for _, status in stripe.answers} == {200}


async def test_an_end_comes_without_anybody_doing_anything(site: Site) -> None:
    """A secret that ends within seconds opens the door until then, and nothing afterwards."""
    ends = datetime.now(UTC) + timedelta(seconds=4)
    site.secrets(old="whsec_old")
    site.endpoints(f"old\n      not_after: {ends.isoformat()}")
    stripe = Sender(site.edge, [b"whsec_old"])
    answers: list[tuple[datetime, int]] = []

    async def refused_after_its_end() -> bool:
        answers.append((datetime.now(UTC), await stripe.one(f"evt_{len(answers)}")))
        return answers[-1][0] > ends + timedelta(seconds=3)

    await until(refused_after_its_end)
    assert 200 in {status for at, status in answers if at < ends}
    assert {status for at, status in answers if at > ends + timedelta(seconds=1.5)} == {
        400
    }  # `now` in whole seconds


# --- what the operator is told ---

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)

PUT = """
-- An event as ingest stores it, with a body that nobody opens here.
insert into ingest.event (account, id, type, created, api_version, livemode, received_at, source, raw, signature,
                          endpoint, secret)
values ($1, $2, 'x', $3, 'v', false, $3, 'webhook', '\\x01', '', $4, $5)
"""


async def stored(db: Database, *rows: tuple[str, str, float]) -> None:
    """Events by endpoint, secret and hours before now."""
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.executemany(
            PUT,
            [
                (ACCOUNT, f"evt_{n}", NOW - timedelta(hours=hours), endpoint, secret)
                for n, (endpoint, secret, hours) in enumerate(rows)
            ],
        )
    finally:
        await connection.close()


async def test_it_is_counted_by_endpoint_and_secret_since_an_instant(database: MakeDatabase) -> None:
    db = await database(SCHEMA)
    await stored(
        db, ("main", "a", 1), ("main", "a", 2), ("main", "a", 25), ("main", "b", 3), ("test", "a", 4),
        ("main", "", 1),
    )  # fmt: skip
    connection: Connection = await asyncpg.connect(db.dsn(SCHEMA))
    try:
        assert await used(connection, NOW - timedelta(hours=24)) == {
            ("main", "a"): Used(2, NOW - timedelta(hours=1)),
            ("main", "b"): Used(1, NOW - timedelta(hours=3)),
            ("test", "a"): Used(1, NOW - timedelta(hours=4)),
        }
    finally:
        await connection.close()


@dataclass
class Operator:
    """The command, at a database and a clock of the test's own."""

    db: Database
    folder: Path

    async def check(self, text: str, *arguments: str, code: int) -> str:
        put(self.folder / "clock", NOW.isoformat())
        put(self.folder / "endpoints.yaml", text)
        told = {
            "MILLRACE_DATABASE": self.db.owner,
            "MILLRACE_CLOCK": f"file:{self.folder}/clock",
            "OLD": "whsec_old",
            "NEW": "whsec_new",
            "COLUMNS": "150",
        }
        command = ["endpoints", "check", "--file", str(self.folder / "endpoints.yaml"), *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, application(), command, env=told)
        assert done.exit_code == code, f"{done.output}{done.exception!r}"
        assert "whsec_old" not in done.output and "whsec_new" not in done.output
        return done.output


ONE = f"main: {{account: {ACCOUNT}, livemode: false, secrets: [{{env: NEW}}]}}\n"
TWO = f"""
main:
  account: {ACCOUNT}
  livemode: true
  connect: true
  api_version: 2026-10-28.endive
  networks: [203.0.113.0/24]
  secrets:
    - env: OLD
      not_after: 2026-11-22T00:00:00Z
    - env: NEW
test:
  account: {ACCOUNT}
  livemode: false
  secrets: [{{env: NEW}}]
"""


async def test_the_operator_sees_what_is_in_force_and_what_to_look_at(
    database: MakeDatabase, tmp_path: Path
) -> None:
    operator = Operator(await database(SCHEMA), tmp_path)
    await stored(operator.db, ("main", "env OLD", 1), ("main", "env OLD", 30), ("test", "env NEW", 2))
    assert orjson.loads(await operator.check(TWO, "--json", code=3)) == {
        "file": f"{tmp_path}/endpoints.yaml",
        "since": "2026-11-20T12:00:00+00:00",
        "endpoints": [
            {
                "name": "main", "account": ACCOUNT, "connect": True, "livemode": True,
                "api_version": "2026-10-28.endive", "sources": ["webhook"], "networks": ["203.0.113.0/24"],
                "secrets": [
                    {"name": "env NEW", "not_after": None, "events": 0, "last": None},
                    {"name": "env OLD", "not_after": "2026-11-22T00:00:00+00:00", "events": 1,
                     "last": "2026-11-21T11:00:00+00:00"},
                ],
            },
            {
                "name": "test", "account": ACCOUNT, "connect": False, "livemode": False, "api_version": "",
                "sources": ["webhook"], "networks": [],
                "secrets": [{"name": "env NEW", "not_after": None, "events": 1, "last": "2026-11-21T10:00:00+00:00"}],
            },
        ],
        "warnings": [
            {"endpoint": "main", "secret": "env NEW",
             "says": "is new and has verified nothing yet; is it the one that Stripe signs with?"},
            {"endpoint": "main", "secret": "env OLD",
             "says": "still verifies and opens nothing from 2026-11-22T00:00:00Z on; "
                     "give it longer, or roll it before"},
        ],
    }  # fmt: skip
    shown = await operator.check(TWO, code=3)
    for line in ("main: env OLD still verifies", "live, connected accounts", "2026-11-21 11:00:00", "never"):
        assert line in shown


async def test_all_is_well_when_nothing_is_to_be_done(database: MakeDatabase, tmp_path: Path) -> None:
    operator = Operator(await database(SCHEMA), tmp_path)
    assert orjson.loads(await operator.check(ONE, "--json", code=0))["warnings"] == []
    await stored(operator.db, ("main", "env NEW", 1))
    await operator.check(ONE, "--since", "30d", code=0)


async def test_a_misspelt_instant_is_misspelt(database: MakeDatabase, tmp_path: Path) -> None:
    assert "24h" in await Operator(await database(SCHEMA), tmp_path).check(ONE, "--since", "lately", code=2)


def put(file: Path, text: str) -> None:
    """A new version, all at once."""
    fresh = file.with_name("fresh")
    fresh.write_text(text)
    fresh.replace(file)
