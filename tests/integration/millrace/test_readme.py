"""The library's README, carried out as it is printed: what it tells other teams to do does what it says."""

from __future__ import annotations

import re
import socket
import textwrap
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest

import millrace
from lab.stack import Stack
from millrace import Payload, caused, postgres, publish
from millrace.consumer import TABLES
from millrace.postgres import Schema
from millrace.running import Settings
from tests.support.database import MakeDatabase
from tests.support.events import event_of
from tests.support.kafka import MakeTopic
from tests.support.program import program, send

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "libs" / "millrace" / "README.md"
README = PAGE.read_text()
PYTHON, SQL = (re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) for language in ("python", "sql"))
CRM = Schema("crm", TABLES)


def created(event_id: str, customer: str) -> dict[str, Any]:
    return {
        "id": event_id,
        "object": "event",
        "type": "customer.created",
        "created": 1772366400,
        "api_version": "2026-10-28.endive",
        "livemode": False,
        "data": {"object": {"id": customer, "object": "customer"}},
    }


async def test_the_ten_lines_are_a_service_in_which_an_event_happens_once(
    stack: Stack, database: MakeDatabase, topics: MakeTopic, tmp_path: Path
) -> None:
    db, topic = await database(), await topics("billing", partitions=1)
    assert len(PYTHON[0].splitlines()) == 10
    (tmp_path / "crm.py").write_text(PYTHON[0])
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_welcome.sql").write_text(SQL[0])
    owner = await asyncpg.connect(db.owner)
    await owner.execute("drop schema outbox, sealing cascade")  # a database that never knew us

    async def welcomed() -> bool:
        return bool(await owner.fetchval("select count(*) = 2 from crm.welcome"))

    port = free_port()
    async with program("crm", tmp_path / "crm.py", stack, db, topic, tmp_path / "log") as crm:
        crm.environment["CRM_HEALTH_PORT"] = str(port)
        await crm.start()
        assert await crm.ended() == 78
        assert "run `python crm.py migrate`" in crm.log.read_text()
        assert "crm/crm/0001_welcome.sql" in await crm.migrate()
        (tmp_path / "migrations" / "0002_note.sql").write_text("comment on table welcome is 'whom we know';")
        await crm.start()  # the next version, before its tables
        assert await crm.ended() == 78
        assert "schema crm lacks 0002_note.sql: run `python crm.py migrate`" in crm.log.read_text()
        assert "crm/crm/0002_note.sql" in await crm.migrate()
        await crm.start()
        anna, bert = event_of(created("evt_1", "cus_anna")), event_of(created("evt_2", "cus_bert"))
        await send(stack.kafka, topic, [anna, anna, bert])
        await crm.until(welcomed)
        assert [asked(port, path) for path in ("livez", "readyz")] == ["ok\n", "ok\n"]
        assert 'consumer="crm"' in asked(port, "metrics")
        await crm.stop()
        await crm.start()  # what a topic sent again, or an offset lost, looks like
        await send(stack.kafka, topic, [bert, anna, event_of(created("evt_3", "cus_cleo"))])
        await crm.until(lambda: _met(owner, 3))
        await crm.stop()
    rows = await owner.fetch("select event_id, outcome, reason from crm.processed_events order by seq")
    assert [tuple(row) for row in rows] == [
        (f"evt_{n}", "applied", f"welcomed cus_{name}") for n, name in enumerate(("anna", "bert", "cleo"), 1)
    ]
    assert await owner.fetchval("select array_agg(customer order by customer) from crm.welcome") == [
        "cus_anna", "cus_bert", "cus_cleo",
    ]  # fmt: skip
    await owner.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return str(answer.read().decode())


async def _met(owner: asyncpg.Connection[asyncpg.Record], many: int) -> bool:
    return bool(await owner.fetchval("select count(*) >= $1 from crm.processed_events", many))


class CustomerWelcomed(Payload):
    """The README leaves it to the reader."""

    TYPE: ClassVar[str] = "crm.customer.welcomed"
    TOPIC: ClassVar[str] = "crm.customer.welcomed"


async def test_what_the_readme_publishes_is_in_the_outbox(database: MakeDatabase) -> None:
    db = await database(CRM)
    pool = await postgres.pool(db.dsn(CRM))
    given = {"publish": publish, "caused": caused, "CustomerWelcomed": CustomerWelcomed}
    async with postgres.transaction(pool) as tx:
        await carried_out(PYTHON[1], **given, tx=tx, event=event_of(created("evt_1", "cus_1")))
    await pool.close()
    owner = await asyncpg.connect(db.owner)
    [row] = await owner.fetch("select topic, key, headers ->> 'ce_id' as id from outbox.event")
    assert tuple(row) == ("crm.customer.welcomed", "acct_test/cus_1", "crm.evt_1.0")
    await owner.close()


class Rows:
    """What a team's own test puts in the place of the transaction."""

    async def execute(self, statement: str, *values: object) -> None:
        assert "insert into crm.welcome" in statement


async def test_the_test_in_the_readme_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(millrace, "run", lambda *_, **__: None, raising=False)
    names: dict[str, Any] = {"Rows": Rows}
    exec(PYTHON[0], names)
    await carried_out(PYTHON[2], **names)


async def carried_out(text: str, **names: Any) -> None:
    """Run statements that await, with these names."""
    names = {name: value for name, value in names.items() if not name.startswith("__")}
    exec(f"async def statements():\n{textwrap.indent(text, '    ')}", names)
    await names["statements"]()


PAGES = [PAGE, ROOT / "docs" / "consuming.md", *sorted(ROOT.glob("examples/**/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_every_setting_that_is_named_is_one_and_the_table_has_all_but_the_clock() -> None:
    there = {f"CRM_{name}".upper() for name in Settings.model_fields}
    named = {page.name: set(re.findall(r"CRM_[A-Z_]+", page.read_text())) for page in PAGES[:2]}
    assert named["README.md"] <= there
    assert named["consuming.md"] == there - {"CRM_CLOCK"}


def test_every_example_is_listed_and_explained() -> None:
    folders = {
        path.name for path in (ROOT / "examples").iterdir() if path.is_dir() and path.name[0] not in "._"
    }
    listed = set(re.findall(r"\| \[(\w+)\]\(", (ROOT / "examples" / "README.md").read_text()))
    assert listed == folders
    assert all((ROOT / "examples" / name / "README.md").exists() for name in folders)
