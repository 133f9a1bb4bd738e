"""What is stored: prepared statements, least rights, one writer at a time, history that only grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from entitlement import commands, store
from entitlement.domain.customer import Customer
from millrace import postgres
from millrace.consumer import Applied, Batches, Fold, Report
from millrace.postgres import Pool, Transaction
from tests.support.database import Database
from tests.support.events import ACCOUNT, event_of, record, records_of
from tests.unit.entitlement.telling import CATALOG, CUSTOMER, FOLD, NOON, Told, dunning, instant

STATEMENTS = {
    f"{module.__name__}.{name}": text
    for module in (store, commands)
    for name, text in vars(module).items()
    if isinstance(text, str) and text.startswith("\n--")
}


async def test_every_statement_prepares_with_the_rights_of_the_service(pool: Pool) -> None:
    assert len(STATEMENTS) > 15
    async with pool.acquire() as connection:
        for text in STATEMENTS.values():
            await connection.prepare(text)


HOT = {
    "load access": (store.LOAD_ACCESS, (["a"], ["c"])),
    "load subscriptions": (store.LOAD_SUBSCRIPTIONS, (["a"], ["c"])),
    "load restrictions": (store.LOAD_RESTRICTIONS, (["a"], ["c"])),
    "delete items": (store.DELETE_ITEMS, (["a"], ["s"])),
    "access now": (store.ACCESS_NOW, ("c", None)),
    "access then": (store.ACCESS_THEN, ("c", None, instant(NOON))),
    "freshest": (store.FRESHEST, ()),
}


async def test_no_hot_statement_reads_a_whole_table(db: Database) -> None:
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute(FILLED)
        plans = {
            name: "\n".join(row[0] for row in await connection.fetch("explain " + text.strip(), *given))
            for name, (text, given) in HOT.items()
        }
    finally:
        await connection.close()
    assert {name: plan for name, plan in plans.items() if "Seq Scan" in plan} == {}


FILLED = """
insert into entitlement.access
select 'a', 'c' || n, 1, 1, '1', '{}', now() + n * interval '1 s', '' from generate_series(1, 5000) n;
insert into entitlement.access_history
select 'a', 'c' || n, 1, now() + n * interval '1 s', now(), '1', '{}', '' from generate_series(1, 5000) n;
insert into entitlement.subscription (account, subscription, customer, status, created, event, doubt, recent)
select 'a', 's' || n, 'c' || n, 'active', now(), '', '', '{}' from generate_series(1, 5000) n;
insert into entitlement.item (account, subscription, item, price)
select 'a', 's' || n, 'i', 'p' from generate_series(1, 5000) n;
insert into entitlement.restriction
select 'a', 'i' || n, 'c' || n, null, false, 1, '', '' from generate_series(1, 5000) n;
analyze entitlement.access, entitlement.access_history, entitlement.subscription, entitlement.item,
        entitlement.restriction
"""


async def test_the_tables_follow_the_subscription(batches: Batches, pool: Pool) -> None:
    told = Told(quantity=5).created("trialing").later().moves_to("business").later().seats(2)
    await batches.apply(records_of(told.events[:1]))
    async with pool.acquire() as c:
        assert await commands.subscriptions(c) == {"sub_1": ("trialing", {"price_team_monthly_eur": 5})}  # type: ignore[arg-type]  # asyncpg's proxy of a connection
        await batches.apply(records_of(told.updated(status="active").events[1:]))
        assert await commands.subscriptions(c) == {"sub_1": ("active", {"price_business_monthly_eur": 2})}  # type: ignore[arg-type]  # the same
        assert await commands.customers(c, 10) == [CUSTOMER]  # type: ignore[arg-type]  # the same
        assert await commands.counts(c) == {  # type: ignore[arg-type]  # the same
            "customers": 1, "subscriptions": 1, "in_doubt": 0, "restricted": 0,
        }  # fmt: skip


async def test_the_report_of_a_customer_has_verdicts_subscriptions_and_restrictions(
    batches: Batches, pool: Pool
) -> None:
    await batches.apply([*records_of(Told().created("past_due").events), dunning("restricted", 2)])
    async with pool.acquire() as c:
        [report] = await commands.access(c, CUSTOMER)  # type: ignore[arg-type]  # asyncpg's proxy of a connection
        assert await commands.access(c, "cus_nobody") == []  # type: ignore[arg-type]  # the same
    assert report["features"]["seats"]["reason"] == "invoice in_9 is unpaid: grace ended"
    assert [s["status"] for s in report["subscriptions"]] == ["past_due"]
    assert [r["invoice"] for r in report["restrictions"]] == ["in_9"]


async def test_what_is_loaded_is_what_was_saved(batches: Batches, pool: Pool) -> None:
    kept: dict[str, Customer] = {}

    async def save(tx: Transaction, changes: Sequence[Applied[Customer]]) -> None:
        kept.update({change.key: change.state for change in changes})
        await store.save(tx, changes)

    told = Told(quantity=5).created("incomplete").updated(status="active").later().paused().resumed()
    fold = Fold("entitlement", FOLD.apply, key=FOLD.key, load=store.load, save=save, rules=FOLD.rules)
    await Batches(pool, fold).apply([*records_of(told.events), dunning("restricted", 2)])
    async with postgres.transaction(pool) as tx:
        [loaded] = (await store.load(tx, list(kept))).values()
    [saved] = kept.values()
    assert (loaded.subscriptions, loaded.restrictions, loaded.access) == (
        saved.subscriptions,
        saved.restrictions,
        saved.access,
    )
    assert (saved.revision, loaded.revision) == (0, 1)


@pytest.mark.parametrize("known_before", [True, False], ids=["a known customer", "a new customer"])
async def test_a_lost_race_is_retried_and_nothing_is_lost(
    known_before: bool, batches: Batches, pool: Pool
) -> None:
    """Another writer gets in between load and save, which row locks alone would prevent only for known rows."""
    born, more = records_of(Told(quantity=5).created().later().seats(8).events)
    other = records_of(Told("sub_2", quantity=3).created().events)
    if known_before:
        await batches.apply([born])
    raced: list[Report] = []

    async def load(tx: Transaction, keys: Sequence[str]) -> dict[str, Customer]:
        """Reads before it locks, as a replica of this service with an older snapshot would."""
        if raced:
            return await store.load(tx, keys)
        async with postgres.transaction(pool) as earlier:
            states = await store.load(earlier, keys)
        raced.append(await batches.apply(other))
        return states

    fold: Fold[Any, Any] = Fold(
        "entitlement", FOLD.apply, key=FOLD.key, load=load, save=store.save, rules=lambda: CATALOG
    )
    racing = Batches(pool, fold)
    report = await racing.apply([born, more])
    assert raced
    assert (report.applied, report.resting) == (1 if known_before else 2, {})
    async with pool.acquire() as c:
        [known] = await store.access_of(c, CUSTOMER, None, None)  # type: ignore[arg-type]  # asyncpg's proxy of a connection
    assert known["features"]["seats"]["limit"] == 8 + 3


async def test_each_access_that_ever_was_stays_in_the_history(batches: Batches, pool: Pool) -> None:
    told = Told(quantity=5).created().later().seats(8).later().deleted()
    await batches.apply(records_of(told.events))
    query = "select version, valid_from, features->'seats'->>'verdict' from entitlement.access_history"
    rows = [tuple(row) for row in await pool.fetch(query + " order by version")]
    assert [(version, verdict) for version, _, verdict in rows] == [
        (1, "limited"),
        (2, "limited"),
        (3, "denied"),
    ]
    assert [int(at.timestamp()) for _, at, _ in rows] == [event["created"] for event in told.events]


REFUSED = {
    "history is not changed": "update entitlement.access_history set cause = ''",
    "history is not deleted": "delete from entitlement.access_history",
    "a customer is not deleted": "delete from entitlement.access",
    "a subscription is not deleted": "delete from entitlement.subscription",
    "a restriction is not deleted": "delete from entitlement.restriction",
    "nothing is emptied": "truncate entitlement.item",
    "nothing is altered": "alter table entitlement.access add column more int",
    "the outbox is not read": "select * from outbox.event",
}


async def test_the_service_may_do_only_what_it_needs(pool: Pool) -> None:
    assert [what for what, statement in REFUSED.items() if not await _refused(pool, statement)] == []


async def _refused(pool: Pool, statement: str) -> bool:
    try:
        await pool.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


async def test_history_only_grows_even_for_its_owner(batches: Batches, db: Database) -> None:
    await batches.apply(records_of(Told().created().events))
    connection = await asyncpg.connect(db.owner)
    try:
        for change in ("update {} set cause = ''", "delete from {}", "truncate {}"):
            with pytest.raises(asyncpg.RestrictViolationError, match="history only grows"):
                await connection.execute(change.format("entitlement.access_history"))
    finally:
        await connection.close()


async def test_two_accounts_with_one_customer_id_do_not_meet(batches: Batches, pool: Pool) -> None:
    told = Told(quantity=5).created().events[0]
    await batches.apply([record(event_of(told)), record(event_of(told, account="acct_other"))])
    async with pool.acquire() as c:
        rows = await store.access_of(c, CUSTOMER, None, None)  # type: ignore[arg-type]  # asyncpg's proxy of a connection
    assert [row["account"] for row in rows] == sorted(["acct_other", ACCOUNT])
