"""The whole way, as a person would walk it: signed webhooks in; access, books and dunning out, and the proof.

Everything but the last two looks at what one quiet quarter left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from lab.demo.story import company, recorded
from lab.stack import manage
from lab.stack.jars import CHECKOUT
from millrace import postgres
from operations.verify import verify
from tests.e2e.demo import CONSUMERS, CUSTOMERS, SEED, Played, play, rebuilt, wrong

AGAIN = CHECKOUT / ".millrace" / "test-demo-again"

pytestmark = pytest.mark.timeout(420)


@pytest.fixture
def again() -> Iterator[Path]:
    """A folder for another demo, beside the one that all look at."""
    yield AGAIN
    manage.down(AGAIN, wipe=True)


def test_everything_acknowledged_is_stored_published_once_and_applied_and_agrees_with_stripe(
    played: Played,
) -> None:
    assert wrong(played.result.checks) == []
    assert played.result.deliveries > 800


FIRST = "select min(id) from outbox.event where topic like 'stripe.%'"  # before it, a heartbeat may stand
TAMPERED = [
    ("a stored event vanishes", "delete from ingest.event where id = (select min(id) from ingest.event)",
     "acknowledged = stored"),
    ("an event has no outbox row", f"delete from outbox.event where id = ({FIRST})",
     "stored = outbox, row by row"),
    ("a row was never published", f"""insert into outbox.event (topic, key, hash, headers, payload)
      select topic, key, hash, headers, payload from outbox.event where id = ({FIRST})""",
     "outbox = published"),
    ("a consumer forgot an event", "delete from ledger.processed_events where event_id = "
     "(select min(event_id) from ledger.processed_events)", "ledger: applied + no-op + parked"),
    ("a parked event was thrown away", "update dunning.processed_events set outcome = 'parked' where event_id = "
     "(select min(event_id) from dunning.processed_events)", "dunning: what is parked is kept"),
    ("somebody took a cent", "update ledger.entry set amount = amount + 1 where (tx_id, line_no) = "
     "(select tx_id, line_no from ledger.entry limit 1)", "every journal transaction sums to zero"),
    ("the audit log was edited", "update entitlement.audit set reason = 'because' where (chain, seq) = "
     "(select chain, seq from entitlement.audit limit 1)", "audit chains hold"),
    ("the books may be changed", "alter table ledger.entry disable trigger only_grows; "
     "grant update on ledger.entry to millrace_ledger",
     "the books refuse changes"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "check"), [pytest.param(s, c, id=name) for name, s, c in TAMPERED])
async def test_the_proof_names_what_was_tampered_with(played: Played, statement: str, check: str) -> None:
    connection: postgres.Connection = await asyncpg.connect(played.result.site.database)
    await postgres.prepare(connection)
    acknowledged = [r["id"] for r in await connection.fetch("select id from ingest.event_id")]
    around = connection.transaction()
    await around.start()
    try:
        await connection.execute(
            "set local session_replication_role = replica"
        )  # past the triggers, as a DBA could
        await connection.execute(statement)
        await connection.execute("set local session_replication_role = origin")
        failed = [
            c.name for c in await verify(connection, played.result.site.stack.kafka, acknowledged) if not c.ok
        ]
    finally:
        await around.rollback()
        await connection.close()
    assert check in failed


def test_the_commands_tell_the_same_story_as_json(played: Played) -> None:
    status = played.json("status")
    assert status["stored"]["events"] > 800
    assert status["unpublished"]["rows"] <= 1  # a heartbeat may be written while the relay is told to stop
    assert [c["behind"] for c in status["consumers"]] == [0, 0, 0]
    books = played.json("books")
    assert books["unbalanced"] == []
    assert {line["currency"] for line in books["trial_balance"]} == {"usd", "eur", "jpy"}
    assert all(check["ok"] for check in played.json("verify"))
    cases = played.json("dunning", "--all")
    assert cases
    [report] = played.json("access", cases[0]["customer"])
    assert all(verdict["evidence"] for verdict in report["features"].values())


def test_the_commands_show_tables_to_people(played: Played) -> None:
    assert "Trial balance EUR" in played.millrace("books").stdout
    assert "✓" in played.millrace("verify").stdout
    assert "entitlement" in played.millrace("status").stdout


def test_an_unknown_customer_is_exit_code_3_and_one_sentence(played: Played) -> None:
    done = played.millrace("access", "cus_nobody")
    assert (done.returncode, done.stderr.strip()) == (3, "no subscription of cus_nobody has arrived")


def test_migrating_again_does_nothing(played: Played) -> None:
    assert played.json("migrate", "--partitions", "6", "--replication", "1") == {
        "migrations": [],
        "topics": [],
        "days": [],
    }


def test_every_process_killed_once_ends_in_the_same_state(
    played: Played, again: Path, tmp_path: Path
) -> None:
    killed = play(company(SEED, CUSTOMERS), again, tmp_path / "env", chaos=SEED)
    assert sorted(killed.killed) == ["dunning", "entitlement", "ingest", "ledger", "outbox_relay"]
    assert wrong(killed.checks) == []
    assert killed.digest == played.result.digest
    for consumer in CONSUMERS:
        rebuilt(Played(killed, again, tmp_path / "env"), consumer)


OLD = {
    "object": "event",
    "api_version": "2017-08-15",
    "livemode": True,
    "pending_webhooks": 1,
    "request": None,
}


def test_a_persons_own_events_of_any_version_and_type_go_the_same_way(again: Path, tmp_path: Path) -> None:
    subscription = {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "plan": {},
    }
    events = [
        {**OLD, "id": "evt_a", "created": 1500000000, "type": "invented.by_nobody", "data": {"object": {"id": "x"}}},
        {**OLD, "id": "evt_b", "created": 1500000001, "type": "customer.subscription.created",
         "data": {"object": subscription}},
        {**OLD, "id": "evt_c", "created": 1500086400, "type": "charge.succeeded", "livemode": False,
         "account": "acct_Connected", "data": {"object": {"id": "ch_1", "object": "charge", "customer": "cus_1"}}},
    ]  # fmt: skip
    file = tmp_path / "events.json"
    file.write_text(json.dumps({"object": "list", "data": events}))
    result = play(recorded(file, SEED), again, tmp_path / "env")
    assert wrong(result.checks) == []
