"""The acceptance of sealing: nothing personal lies anywhere in the clear, and who is erased is gone for good.

Looks at the demo that the other tests have looked at; the second half changes what it left, and comes last.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
import zstandard
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest import commands as ingest
from lab.demo.processes import Owner, processes
from lab.demo.site import ACCOUNT, SERVICES, Endpoint, Site
from lab.northwind import quarter, truth
from ledger import commands as ledger
from millrace import postgres
from millrace.errors import Poison
from millrace.events import decode
from millrace.sealing import Keys, Opener, provider
from operations import flow
from operations.send import sender
from tests.e2e import copies
from tests.e2e.demo import CUSTOMERS, SEED, Played

pytestmark = pytest.mark.timeout(420)

Values = dict[str, frozenset[str]]


@pytest.fixture(scope="module")
def company() -> quarter.Quarter:
    return quarter.build(SEED, customers=CUSTOMERS)


@pytest.fixture(scope="module")
def personal(company: quarter.Quarter) -> Values:
    """Every personal value of every customer, as the company's own account knows them."""
    return truth.personal(company.account)


async def copied(site: Site, folder: Path) -> Path:
    await copies.tables(site.database, folder / "tables")
    await copies.topics(site.stack.kafka, folder / "topics")
    copies.logs(site.folder / "logs", folder / "logs")
    return folder


# --- nothing in the clear ---


async def test_no_personal_value_lies_in_a_table_a_topic_or_a_log(
    played: Played, personal: Values, tmp_path: Path
) -> None:
    folder = await copied(played.result.site, tmp_path / "copies")
    everything = frozenset[str]().union(*personal.values())
    assert len(personal) == CUSTOMERS and len(everything) > 400
    assert copies.found(everything, folder) == {}
    assert {f"logs/{service}.log" for service in SERVICES} <= {
        str(p.relative_to(folder)) for p in folder.rglob("*")
    }
    ids = copies.found(personal, folder)  # they are no secret, and show that the copies are complete
    assert ids.keys() == personal.keys()
    assert all({"tables/outbox.event.payload", "topics/stripe.billing"} <= places for places in ids.values())


async def test_a_value_that_lies_in_the_clear_is_found_wherever_it_is(
    played: Played, personal: Values, tmp_path: Path
) -> None:
    site = played.result.site
    values = sorted(personal[min(personal)])
    text, packed, key, header, value, logged = (f"{one} planted" for one in values[:6])
    connection = await asyncpg.connect(site.database)
    admin = AIOKafkaAdminClient(bootstrap_servers=site.stack.kafka)
    producer = AIOKafkaProducer(bootstrap_servers=site.stack.kafka)
    log = site.folder / "logs" / "planted.log"
    try:
        await connection.execute("create table planted (said jsonb, packed bytea)")
        row = orjson.dumps({"a": text}).decode(), zstandard.compress(packed.encode())
        await connection.execute("insert into planted values ($1, $2)", *row)
        await asyncio.gather(admin.start(), producer.start())
        await admin.create_topics([NewTopic("planted", 1, 1)])
        await producer.send_and_wait(
            "planted", value.encode(), key=key.encode(), headers=[("a", header.encode())]
        )
        log.write_text(orjson.dumps({"message": logged}).decode())
        folder = await copied(site, tmp_path / "copies")
    finally:
        log.unlink(missing_ok=True)
        await connection.execute("drop table if exists planted")
        await connection.close()
        await producer.stop()
        await admin.delete_topics(["planted"])
        await admin.close()
    assert copies.found([text, packed, key, header, value, logged], folder) == {
        text: {"tables/public.planted"},
        packed: {"tables/public.planted.packed"},
        key: {"topics/planted"}, header: {"topics/planted"}, value: {"topics/planted"},
        logged: {"logs/planted.log"},
    }  # fmt: skip


# --- erased ---


@dataclass(frozen=True, slots=True)
class Erased:
    """A customer who was erased while everything ran, and another one who was not."""

    customer: str
    other: str
    told: dict[str, Any]
    books: tuple[str, str]  # the ledger's digest before and after
    later: list[str]  # events of the customer that came afterwards
    before: Path  # whatever could be opened before …
    after: Path  # … and after


@pytest.fixture(scope="module")
def erased(played: Played, company: quarter.Quarter, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    return asyncio.run(_erase(played, company, tmp_path_factory.mktemp("erased")))


async def _erase(played: Played, company: quarter.Quarter, folder: Path) -> Erased:
    """With everything running: an event that is parked, an export, the erasure, and what comes later."""
    site = played.result.site
    told = [event for _, event in company.events]
    month = f"{company.starts + timedelta(days=40):%Y-%m}"  # in which both customers have something to tell
    finalized = [
        event
        for at, event in company.events
        if event["type"] == "invoice.finalized" and f"{at:%Y-%m}" == month
    ]
    customer, other, *_ = dict.fromkeys(event["data"]["object"]["customer"] for event in finalized)
    parked = poisoned(next(event for event in finalized if event["data"]["object"]["customer"] == customer))
    later = [again(event) for event in told if is_about(event, customer) and event["type"] in LATER]
    async with AsyncExitStack() as open_:
        owner = open_.enter_context(Owner(site.folder))
        await open_.enter_async_context(processes(site))
        connection: postgres.Connection = await asyncpg.connect(site.database)
        open_.push_async_callback(connection.close)
        await postgres.prepare(connection)
        url = site.url(Endpoint(ACCOUNT, livemode=False))
        post = await open_.enter_async_context(sender(url, site.secret, site.clock))

        async def deliver(*events: dict[str, Any]) -> None:
            await post.send_all([(orjson.dumps(event), event["id"]) for event in events], at_once=1)
            await flow.Quiet(connection).wait(site.clock.now())
            await flow.published(connection, site.stack.kafka)
            assert post.sent.refused == []

        await deliver(parked)
        await asyncio.to_thread(played.json, "events", "export", "--month", month, "--to", folder / "export")
        await opened(site, folder / "export", folder / "before")
        books = await ledger.digest(connection)
        done = await asyncio.to_thread(played.json, "erase", customer, "--reason", "request 4711", "--yes")
        await deliver(*later)
        await opened(site, folder / "export", folder / "after")
        owner.keep()
        return Erased(
            customer, other, done, (books, await ledger.digest(connection)), [event["id"] for event in later],
            folder / "before", folder / "after",
        )  # fmt: skip


LATER = {"customer.created", "customer.subscription.created", "payment_method.attached"}


def is_about(event: dict[str, Any], customer: str) -> bool:
    return customer in (event["data"]["object"].get("id"), event["data"]["object"].get("customer"))


def again(event: dict[str, Any]) -> dict[str, Any]:
    """The same told once more, as another event; of a subscription, as that of another one."""
    told = event["data"]["object"]
    id_ = "sub_later" if told["object"] == "subscription" else told["id"]
    return {**event, "id": f"{event['id']}later", "data": {"object": {**told, "id": id_}}}


def poisoned(event: dict[str, Any]) -> dict[str, Any]:
    """An invoice that does not add up, which the ledger parks whole."""
    told = event["data"]["object"]
    return {
        **event,
        "id": "evt_parked",
        "data": {"object": {**told, "id": "in_parked", "total": told["total"] + 1}},
    }


async def opened(site: Site, export: Path, folder: Path) -> None:
    """Whatever somebody with all keys and all rights can open: the log, an export, topics, what is parked."""
    async with await postgres.pool(site.database, size=2) as pool:
        keys = Keys(pool, provider(site.keys))
        opener = Opener(keys, consumer="search", purpose="acceptance")
        rows = [dict(row) for row in await pool.fetch("select account, id, raw from ingest.event")]
        copies.add(copies.below(folder, "log"), *filter(None, await ingest.opened(keys, rows)))
        exported = list(_exported(export))
        copies.add(folder / "export", *filter(None, await ingest.opened(keys, exported)))
        async for record in copies.records(site.stack.kafka):
            await _write(
                opener, record.key, dict(record.headers), record.value, folder / f"topic.{record.topic}"
            )
        for row in await pool.fetch("select key, headers, value from ledger.parked_event"):
            headers = {name: value.encode() for name, value in row["headers"].items()}
            await _write(opener, row["key"], headers, row["value"], folder / "parked")


def _exported(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*.jsonl.zst")):
        for line in zstandard.ZstdDecompressor().stream_reader(file.read_bytes()).read().splitlines():
            row = orjson.loads(line)
            yield {**row, "raw": b64decode(row["raw"])}


async def _write(
    opener: Opener, key: bytes | None, headers: dict[str, bytes], value: bytes | None, file: Path
) -> None:
    try:
        event = decode(key, headers, value)
    except Poison:  # Kafka's own, and the relay's cursor: not sealed by anybody
        return
    copies.add(file, orjson.dumps(dict((await opener.event(event)).data)))


def only(personal: Values, customer: str) -> frozenset[str]:
    """What is true of this customer and stands in no value of any other."""
    others = [value for id_, values in personal.items() if id_ != customer for value in values]
    return frozenset(value for value in personal[customer] if not any(value in other for other in others))


def test_nothing_of_the_erased_customer_can_be_opened_anywhere(erased: Erased, personal: Values) -> None:
    mine, others = only(personal, erased.customer), only(personal, erased.other)
    before = copies.found(mine, erased.before)
    assert before.keys() == mine
    assert {"log", "export", "topic.stripe.billing", "topic.stripe.payments", "parked"} <= set().union(
        *before.values()
    )
    assert copies.found(mine, erased.after) == {}
    after = copies.found(others, erased.after)
    assert after.keys() == others
    assert {"log", "export", "topic.stripe.billing", "topic.stripe.payments"} <= set().union(*after.values())


async def test_what_came_later_was_stored_published_and_applied_all_the_same(
    played: Played, erased: Erased
) -> None:
    assert len(erased.later) >= 3
    connection = await asyncpg.connect(played.result.site.database)
    try:
        stored = await connection.fetch("select id from ingest.event where id = any($1)", erased.later)
        assert {row["id"] for row in stored} == set(erased.later)
        for consumer in ("entitlement", "ledger", "dunning"):
            met = await connection.fetch(
                f"select event_id, outcome from {consumer}.processed_events where event_id = any($1)",
                erased.later,
            )
            assert {row["outcome"] for row in met} <= {"applied", "noop"} and len(met) >= 2
        applied = "select count(*) from entitlement.processed_events where event_id = any($1) and outcome = 'applied'"
        assert await connection.fetchval(applied, erased.later)
    finally:
        await connection.close()


def test_the_proof_holds_and_the_books_are_unchanged(played: Played, erased: Erased) -> None:
    assert erased.books[0] == erased.books[1]
    assert [check["name"] for check in played.json("verify") if not check["ok"]] == []


def test_the_command_has_told_what_it_did(erased: Erased) -> None:
    assert erased.told["keys"] >= 1 and erased.told["index_rows"] == 1 and erased.told["events"] > 5


async def test_nothing_personal_lies_in_the_clear_after_all_of_it(
    played: Played, personal: Values, erased: Erased, tmp_path: Path
) -> None:
    folder = await copied(played.result.site, tmp_path / "copies")
    assert copies.found(frozenset[str]().union(*personal.values()), folder) == {}
