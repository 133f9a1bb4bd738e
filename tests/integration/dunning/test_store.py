"""The statements, the rights of the role, the optimistic lock, and what the operators' commands show."""

from __future__ import annotations

import asyncpg
import pytest

from dunning import commands, store
from dunning.domain import Case
from dunning.fold import fold
from dunning.store import SCHEMA
from millrace import postgres
from millrace.consumer import Applied, Batches
from millrace.errors import Retryable
from millrace.postgres import Pool
from tests.integration.dunning.conftest import MakePool
from tests.support.database import Database
from tests.support.events import ACCOUNT, record
from tests.unit.dunning.runner import POLICIES, judge
from tests.unit.dunning.told import day, told

STATEMENTS = {name: text for name, text in vars(store).items() if isinstance(text, str) and "\n--" in text}


def test_there_are_statements_to_prepare() -> None:
    assert len(STATEMENTS) == 14


@pytest.mark.parametrize("name", STATEMENTS)
async def test_every_statement_is_valid_and_opens_with_a_sentence(name: str, pool: Pool) -> None:
    assert STATEMENTS[name].startswith("\n-- ")
    async with postgres.transaction(pool) as connection:
        await connection.prepare(STATEMENTS[name])


REFUSED = """
delete from dunning."case"
truncate dunning."case"
delete from dunning.timer
update dunning.departed set at = now()
update dunning.timer set due_at = now()
update dunning.timer set timer = 'x'
update outbox.event set topic = 'x'
select * from outbox.event
drop table dunning.timer
"""


@pytest.mark.parametrize("statement", REFUSED.strip().splitlines())
async def test_the_role_may_do_no_more_than_it_must(statement: str, pool: Pool) -> None:
    async with postgres.transaction(pool) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


IMPOSSIBLE = """
grace_has_an_end              update dunning."case" set stage = 'restricted'
grace_ends_once               update dunning."case" set grace_until = null
a_case_began_with_a_failure   update dunning."case" set failed_at = null
ended_cases_have_ended        update dunning."case" set ended = 'paid'
case_stage_check              update dunning."case" set stage = 'forgiven', grace_until = null
"""


@pytest.mark.parametrize("row", IMPOSSIBLE.strip().splitlines())
async def test_a_case_that_cannot_be_is_refused_by_the_table(row: str, pool: Pool) -> None:
    constraint, statement = row.split(maxsplit=1)
    await Batches(pool, fold(lambda: POLICIES)).apply([record(told("failed 1", 0))])
    async with postgres.transaction(pool) as connection:
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await connection.execute(statement)
    assert refused.value.constraint_name == constraint


def _applied(case: Case | None, words: str, at: float) -> Applied[Case]:
    event = told(words, at)
    decision = judge(case, event)
    assert decision.state is not None
    return Applied(f"{ACCOUNT}/in_1", event, decision.state, decision.reason)


async def test_two_that_make_the_same_case_at_once_do_not_lose_either(new_pool: MakePool) -> None:
    """A decline and its failure travel on two topics: the second to commit must judge again."""
    pool = await new_pool()
    async with postgres.transaction(pool) as tx:
        await store.save_cases(tx, [_applied(None, "declined lost_card", 0)])
    with pytest.raises(Retryable, match="changed by somebody else"):
        async with postgres.transaction(pool) as tx:
            await store.save_cases(tx, [_applied(None, "failed 1", 0)])
    await Batches(pool, fold(lambda: POLICIES)).apply([record(told("failed 1", 0))])
    async with postgres.transaction(pool) as connection:
        [case] = await commands.cases(connection)
    assert (case["decline_code"], case["grace_until"]) == ("lost_card", day(3))


async def test_a_case_that_moved_since_it_was_loaded_is_not_overwritten(pool: Pool) -> None:
    first = _applied(None, "failed 1", 0)
    async with postgres.transaction(pool) as tx:
        await store.save_cases(tx, [first])
    second, late = _applied(first.state, "failed 2", 3), _applied(first.state, "failed 3", 5)
    async with postgres.transaction(pool) as tx:
        await store.save_cases(tx, [second])
    with pytest.raises(Retryable):
        async with postgres.transaction(pool) as tx:
            await store.save_cases(tx, [late])


async def test_commands_show_the_open_cases_and_all_that_is_known_of_one(pool: Pool) -> None:
    batches = Batches(pool, fold(lambda: POLICIES))
    story = [("failed 1", 0), ("declined expired_card", 0), ("failed 2", 3)]
    await batches.apply([record(told(words, at)) for words, at in story])
    await batches.apply(
        [record(told("failed 1", 1, invoice="in_2")), record(told("paid 2", 2, invoice="in_2"))]
    )
    await batches.apply([record(told("paid 1", 2, invoice="in_3"))])
    async with postgres.transaction(pool) as connection:
        still_open = await commands.cases(connection)
        every = await commands.cases(connection, open_only=False)
        whole = await commands.case(connection, "in_1")
        unknown = await commands.case(connection, "in_9")
    assert [(c["invoice"], c["stage"], c["attempts"], c["decline_code"]) for c in still_open] == [
        ("in_1", "grace", 2, "expired_card")
    ]
    assert [(c["invoice"], c["stage"]) for c in every] == [("in_1", "grace"), ("in_2", "recovered")]
    assert whole is not None and unknown is None
    assert [timer["due_at"] for timer in whole["timers"]] == [day(7)]
    assert [step["action"] for step in whole["history"]] == [
        "applied stripe.invoice.payment_failed",
        "applied stripe.payment_intent.payment_failed",
        "applied stripe.invoice.payment_failed",
    ]


async def test_what_cannot_be_read_is_parked_and_its_neighbours_are_not(pool: Pool) -> None:
    bad = told("failed 1", 0, invoice="in_1")
    bad.data["data"]["object"]["attempt_count"] = "one"
    beside = told("failed 1", 0, invoice="in_2")
    object.__setattr__(beside, "key", f"{ACCOUNT}/cus_2")
    report = await Batches(pool, fold(lambda: POLICIES)).apply([record(bad), record(beside)])
    assert (report.applied, report.parked) == (1, 1)


def test_the_schema_is_built_by_its_own_role() -> None:
    assert SCHEMA.role == "millrace_dunning"


async def test_no_statement_reads_more_than_the_rows_it_names(pool: Pool, db: Database) -> None:
    """The scans that grow with history must stay on their index."""
    connection = await asyncpg.connect(db.owner)
    try:
        await connection.execute(MANY)
        await connection.execute("analyze dunning.timer")
        plan = await connection.fetch(
            f"explain {store.CLAIM_DUE.replace('$1', 'now()').replace('$2', '500')}"
        )
    finally:
        await connection.close()
    assert any("timer_due" in row[0] for row in plan), plan


MANY = """
insert into dunning.timer (account, invoice, timer, customer, due_at, fired_at, trace)
select 'acct', 'in_' || n, 'grace', 'cus', now(), case when n % 100 > 0 then now() end, ''
  from generate_series(1, 5000) n
"""
