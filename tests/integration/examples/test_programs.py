"""The examples that use the library, as processes on real Kafka and PostgreSQL: each effect happens once."""

from __future__ import annotations

import copy
import os
import signal
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg

from lab.stack import Stack
from millrace import postgres, sealing
from millrace.events import Event, decode
from millrace.events.ours import LedgerPosted
from millrace.sealing import Files, Keys, Policy, Subject, new_key
from tests.integration.examples.provider import serving
from tests.integration.millrace.sealing import EDGE
from tests.integration.outbox_relay.arena import COMPACT, Arena, running
from tests.support.database import MakeDatabase
from tests.support.events import ACCOUNT, event_of
from tests.support.kafka import MakeTopic, read_all
from tests.support.program import program, send

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
LATER = "0099_later.sql"
POLICY = Policy.read(ROOT / "schemas" / "sealing.yaml")


def stripe(kind: str, event_id: str, **obj: Any) -> dict[str, Any]:
    """A webhook of Stripe's about this object."""
    return {
        "id": event_id,
        "object": "event",
        "type": kind,
        "created": 1772366400,
        "api_version": "2026-10-28.endive",
        "livemode": False,
        "data": {"object": obj},
    }


def paid(event_id: str, invoice: str, customer: str, email: str) -> dict[str, Any]:
    return stripe(
        "invoice.paid", event_id, id=invoice, object="invoice", customer=customer, customer_email=email
    )


async def sealed(keys: Keys, body: dict[str, Any], customer: str) -> Event:
    """The event as ingest publishes it."""
    after = copy.deepcopy(body)
    POLICY.seal(after, await keys.of(Subject(ACCOUNT, customer)), f"{ACCOUNT}/{body['id']}")
    assert "@" not in str(after)
    return replace(event_of(body), data=after)


async def test_a_mailer_killed_between_the_call_and_the_commit_sends_one_mail(
    stack: Stack, database: MakeDatabase, topics: MakeTopic, tmp_path: Path
) -> None:
    db, topic = await database(EDGE), await topics("billing", partitions=1)
    new_key(tmp_path / "keys")
    pool = await postgres.pool(db.dsn(EDGE))
    keys = Keys(pool, Files(tmp_path / "keys"))
    anna = await sealed(keys, paid("evt_1", "in_1", "cus_anna", "anna@example.com"), "cus_anna")
    again = await sealed(keys, paid("evt_2", "in_1", "cus_anna", "anna@example.com"), "cus_anna")
    bert = await sealed(keys, paid("evt_3", "in_2", "cus_bert", "bert@example.com"), "cus_bert")
    cleo = await sealed(keys, paid("evt_4", "in_3", "cus_cleo", "cleo@example.com"), "cus_cleo")
    await pool.close()
    owner = await asyncpg.connect(db.owner)
    async with owner.transaction():
        await sealing.destroy(owner, ACCOUNT, "cus_bert")
    with serving() as provider:
        more = {"keys": f"files:{tmp_path / 'keys'}", "provider": provider.url}
        file = EXAMPLES / "mailer" / "mailer.py"
        async with program("mailer", file, stack, db, topic, tmp_path / "log", **more) as mailer:
            await mailer.migrate()
            provider.taken = lambda: os.kill(mailer.pid, signal.SIGKILL)
            provider.answers = [503, 200]  # not now; then it takes the mail, and the process dies
            await mailer.start()
            await send(stack.kafka, topic, [anna, again, bert])
            assert await mailer.ended() == -signal.SIGKILL
            assert await owner.fetchval("select count(*) from mailer.processed_events") == 0
            provider.taken, provider.answers = lambda: None, []
            await mailer.start()
            await mailer.until(lambda: _settled(owner, "mailer", 3))
            provider.answers = [422]
            await send(stack.kafka, topic, [cleo])
            await mailer.until(lambda: _settled(owner, "mailer", 4))
            await mailer.stop()
    receipt = f"receipt:{ACCOUNT}:in_1"
    assert provider.calls == [receipt] * 4 + [f"receipt:{ACCOUNT}:in_3"]
    assert provider.mails == {receipt: {"to": "anna@example.com", "template": "receipt", "invoice": "in_1"}}
    assert await _outcomes(owner, "mailer") == [
        ("evt_1", "applied", "receipt sent"),
        ("evt_2", "applied", "receipt sent"),
        ("evt_3", "applied", "the address cannot be opened any more: its customer is erased"),
        ("evt_4", "parked", "the mail provider refuses it: 422"),
    ]
    kept = [str(dict(row)) for row in await owner.fetch("select * from mailer.parked_event")]
    assert "example.com" not in (tmp_path / "log").read_text() + "".join(kept)
    await owner.close()


def posted(fact: str, customer: str, on: datetime, *amounts: tuple[str, str, int]) -> Event:
    entries = [{"account": a, "currency": c, "amount_minor": n} for a, c, n in amounts]
    fields: dict[str, Any] = {"kind": "told", "effective_at": on, "entries": entries, "cause": f"evt_{fact}"}
    payload = LedgerPosted(account=ACCOUNT, customer=customer, fact=fact, **fields)
    return payload.event(id=f"ledger.evt_{fact}.0", source="millrace/ledger", at=on)


async def test_a_projection_adds_up_each_fact_once(
    stack: Stack, database: MakeDatabase, topics: MakeTopic, tmp_path: Path
) -> None:
    db, topic = await database(), await topics("posted", partitions=2)
    july, august = datetime(2026, 7, 31, 23, 30, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
    billed = [("1100", "eur", 1190), ("2000", "eur", -190), ("2100", "eur", -700), ("4000", "eur", -300)]
    told = [
        posted("invoice:1", "cus_1", july, *billed),
        posted("invoice:2", "cus_1", july, ("1100", "usd", 50), ("4000", "usd", -50)),
        posted("earned:1", "cus_1", august, ("2100", "eur", 700), ("4000", "eur", -700)),
        posted("cn:1", "cus_1", august, ("4850", "eur", 200), ("1100", "eur", -200)),
        posted("bt:1", "cus_2", august, ("1010", "eur", 90), ("1030", "eur", -90)),
    ]
    owner = await asyncpg.connect(db.owner)
    file = EXAMPLES / "projection" / "billed.py"
    await owner.execute(
        f"insert into outbox.migration values ('outbox', 99, '{LATER}', 'of a version to come')"
    )
    async with program("billed", file, stack, db, topic, tmp_path / "log") as projection:
        assert LATER not in await projection.migrate()
        await projection.start()
        await send(stack.kafka, topic, [*told, *told[:2], posted("last", "cus_1", july)])
        await projection.until(lambda: _settled(owner, "billed", 6))
        await projection.stop()
    assert {outcome for _, outcome, _ in await _outcomes(owner, "billed")} == {"applied", "noop"}
    rows = await owner.fetch(
        "select customer, month, currency, amount_minor from billed.billed order by 2, 3"
    )
    assert [tuple(row) for row in rows] == [
        ("cus_1", date(2026, 7, 1), "eur", 1000),
        ("cus_1", date(2026, 7, 1), "usd", 50),
        ("cus_1", date(2026, 8, 1), "eur", -200),
    ]
    await owner.close()


async def test_what_a_consumer_publishes_is_there_once_for_each_cause(
    stack: Stack, database: MakeDatabase, topics: MakeTopic, tmp_path: Path
) -> None:
    db, topic = await database(), await topics("billing", partitions=1)
    out = await topics("onboarding.started", partitions=1, exact=True)
    cursor = await topics("cursor", partitions=1, config=COMPACT)
    owner = await asyncpg.connect(db.owner)
    causes = [
        event_of(stripe("customer.subscription.created", f"evt_{n}", id=f"sub_{n}", customer="cus_1"))
        for n in (1, 2)
    ]
    file = EXAMPLES / "own_outbox" / "onboarding.py"
    async with (
        program("onboarding", file, stack, db, topic, tmp_path / "log") as onboarding,
        running(Arena(db.owner, stack.kafka, out, cursor).lanes()),
    ):
        await onboarding.migrate()
        await onboarding.start()
        await send(stack.kafka, topic, [causes[0], causes[0], causes[1]])
        await onboarding.until(lambda: _settled(owner, "onboarding", 2))
        await onboarding.until(lambda: _published(stack, out, 2))
        await onboarding.stop()
    told = [decode(r.key, dict(r.headers), r.value) for r in await read_all(stack.kafka, out)]
    assert [(e.id, e.type, e.source, e.subject, e.key, e.schema, e.time) for e in told] == [
        (f"onboarding.{c.id}.0", "onboarding.started", "millrace/onboarding", c.subject, f"{ACCOUNT}/cus_1",
         "onboarding/started/1", c.time)
        for c in causes
    ]  # fmt: skip
    assert [e.data["subscription"] for e in told] == ["sub_1", "sub_2"]
    assert await owner.fetchval("select array_agg(subscription order by id) from onboarding.task") == [
        "sub_1",
        "sub_2",
    ]
    await owner.close()


async def _published(stack: Stack, topic: str, many: int) -> bool:
    return len(await read_all(stack.kafka, topic)) >= many


async def _settled(owner: asyncpg.Connection[asyncpg.Record], schema: str, many: int) -> bool:
    """So many events were met, and the last of them was it for good."""
    return bool(await owner.fetchval(f"select count(*) >= $1 from {schema}.processed_events", many))


async def _outcomes(owner: asyncpg.Connection[asyncpg.Record], schema: str) -> list[tuple[str, str, str]]:
    rows = await owner.fetch(f"select event_id, outcome, reason from {schema}.processed_events order by 1")
    return [tuple(row) for row in rows]
