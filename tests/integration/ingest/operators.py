"""An operator at an event log of a test's own: a database, keys, a clock that is turned by hand, the commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from typer.testing import CliRunner, Result

from ingest.store import SCHEMA
from millrace import postgres, sealing
from millrace.cli import application
from millrace.clock import FileClock
from millrace.errors import Misconfigured
from tests.support.database import Database, MakeDatabase

POLICY = Path(__file__).parents[3] / "schemas" / "sealing.yaml"
ACCOUNT = "acct_1Operator"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def event(id_: str, **changes: Any) -> dict[str, Any]:
    """A snapshot event of a customer with a name that nobody else has."""
    customer = changes.pop("customer", "cus_1")
    whole = {
        "id": id_,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(NOW.timestamp()) - 60,
        "data": {
            "object": {"id": "in_1", "object": "invoice", "customer": customer, "amount_due": 2900,
                       "customer_email": f"{customer}@example.test", "customer_name": "Ada Sealed"}
        },
        "livemode": False,
        "type": "invoice.paid",
    }  # fmt: skip
    return whole | changes


@dataclass
class Operator:
    """What an operator has: the database as its owner, a folder, the commands."""

    db: Database
    folder: Path
    clock: FileClock
    environment: dict[str, str]

    async def run(self, *args: str | Path, code: int = 0) -> Result:
        """A command, which must end with this code."""
        done = await asyncio.to_thread(
            CliRunner().invoke, application(), [str(arg) for arg in args], env=self.environment
        )
        ended = (
            78 if isinstance(done.exception, Misconfigured) else done.exit_code
        )  # as `millrace.cli.main` would
        assert ended == code, f"{ended}: {done.output}{done.exception!r}"
        return done

    async def json(self, *args: str | Path, code: int = 0) -> Any:
        return orjson.loads((await self.run(*args, "--json", code=code)).stdout)

    def file(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    async def take_in(self, *events: dict[str, Any], name: str = "events.jsonl") -> Any:
        """Import events, which must all be taken."""
        lines = self.file(name, b"\n".join(orjson.dumps(one) for one in events))
        return await self.json("import", lines, "--account", ACCOUNT, "--test")

    async def rows(self, query: str, *args: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.db.owner)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    async def erase(self, customer: str) -> None:
        connection = await asyncpg.connect(self.db.owner)
        try:
            async with connection.transaction():
                assert await sealing.destroy(connection, ACCOUNT, customer) > 0
        finally:
            await connection.close()

    @asynccontextmanager
    async def keys(self) -> AsyncIterator[sealing.Keys]:
        async with await postgres.pool(self.db.owner, size=2) as pool:
            yield sealing.Keys(pool, sealing.provider(self.environment["MILLRACE_KEYS"]))


@pytest.fixture
async def operator(database: MakeDatabase, tmp_path: Path) -> Operator:
    db = await database(sealing.SCHEMA, SCHEMA)
    sealing.new_key(tmp_path / "keys")
    clock = FileClock(tmp_path / "clock")
    clock.turn(NOW)
    environment = {
        "MILLRACE_DATABASE": db.owner,
        "MILLRACE_KEYS": f"files:{tmp_path / 'keys'}",
        "MILLRACE_SEALING": str(POLICY),
        "MILLRACE_CLOCK": f"file:{tmp_path / 'clock'}",
    }
    return Operator(db, tmp_path, clock, environment)
