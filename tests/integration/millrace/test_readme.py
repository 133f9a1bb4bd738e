"""The library's README, carried out: what it tells other teams to write does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncpg

from millrace import postgres
from millrace.consumer import TABLES, Batches, Each
from millrace.postgres import Schema
from tests.support.database import MakeDatabase
from tests.support.events import record_of

README = Path(__file__).parents[3] / "libs" / "millrace" / "README.md"
CRM = Schema("crm", TABLES)
CREATED: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.created",
    "created": 1772366400,
    "api_version": "2026-10-28.endive",
    "livemode": False,
    "data": {"object": {"id": "cus_1", "object": "customer"}},
}


def example() -> dict[str, Any]:
    """The names that the README's first example defines."""
    (first, *_) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(first, str(README), "exec"), names)
    return names


async def test_the_handler_of_the_readme_happens_once(database: MakeDatabase) -> None:
    db = await database(CRM)
    owner = await asyncpg.connect(db.owner)
    pool = await postgres.pool(db.dsn(CRM))
    try:
        await owner.execute("create table crm.welcome (customer text primary key)")
        await owner.execute(f"grant select, insert on crm.welcome to {CRM.role}")
        crm = Batches(pool, Each("crm", {"stripe.customer.created": example()["welcomed"]}))
        first = await crm.apply([record_of(CREATED)])
        again = await crm.apply([record_of(CREATED)])
        assert (first.applied, again.duplicate) == (1, 1)
        assert await owner.fetchval("select array_agg(customer) from crm.welcome") == ["cus_1"]
        assert await owner.fetchval("select reason from crm.processed_events") == "welcomed"
    finally:
        await pool.close()
        await owner.close()
