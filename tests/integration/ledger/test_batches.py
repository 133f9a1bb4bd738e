"""The fold through real Postgres: any order, any batch size, any repetition ends in the same journal."""

from __future__ import annotations

import asyncio
import random
from itertools import permutations
from typing import Any

import pytest

from lab.northwind import quarter, stories
from ledger import commands, metrics, store
from ledger.domain.journal import Book, content_hash, enter
from ledger.fold import fold
from millrace import postgres
from millrace.consumer import Applied, Batches, Record, Report
from millrace.errors import Retryable
from millrace.postgres import transaction
from tests.integration.ledger.conftest import Ledger
from tests.support import ledger_bodies as stripe
from tests.support.database import MakeDatabase
from tests.support.events import event_of, records_of
from tests.support.folds import facts, keep
from tests.support.ledger_bodies import DAY, T0, another, event
from tests.unit.ledger.test_order import credited_then_voided, paid_outside_in_parts, written_off_then_paid

Events = list[dict[str, Any]]

PLAN = stripe.invoice(stripe.line(1000, tax=190))
LIVES = [written_off_then_paid, credited_then_voided, paid_outside_in_parts, stories.invoice_lifecycle]


async def apply(batches: Batches, records: list[Record], size: int) -> Report:
    total = Report()
    for start in range(0, len(records), size):
        total += await batches.apply(records[start : start + size])
    return total


async def kept(ledger: Ledger) -> dict[str, str]:
    rows = await ledger.role.fetch("select fact_key, content_hash from ledger.fact")
    return {row["fact_key"]: row["content_hash"].hex() for row in rows}


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
async def test_sampled_orders_in_every_batch_size_end_in_the_same_journal(ledger: Ledger, life: Any) -> None:
    orders = list(permutations(range(6)))
    chance, told = random.Random(life.__name__), life()
    expected: dict[str, str] = {}
    for number in range(30):
        events = another(told, number)
        expected |= facts(keep(events)[0])
        records = records_of(events[place] for place in chance.choice(orders))
        await apply(ledger.batches, records, size=number % 6 + 1)
    assert await kept(ledger) == expected
    assert await commands.waiting(ledger.role) == []
    assert await commands.unbalanced(ledger.role) == []
    assert await commands.drift(ledger.role) == []


async def test_what_is_read_back_is_what_was_posted(ledger: Ledger) -> None:
    """The lines of a loaded posting still hash to what was stored: nothing is lost on the way."""
    events = written_off_then_paid() + stories.refund_lifecycle(fails=True)
    await ledger.batches.apply(records_of(events))
    families = [row["family"] for row in await ledger.role.fetch("select distinct family from ledger.fact")]
    async with transaction(ledger.pool) as tx:
        books = await store.load(tx, families)
    memory, _ = keep(events)
    assert {f: dict(book.facts) for f, book in books.items()} == {f: dict(b.facts) for f, b in memory.items()}
    for book in books.values():
        for one in book.facts.values():
            assert content_hash(one) == one.content_hash


async def test_every_line_can_be_traced_to_the_event_that_caused_it(ledger: Ledger) -> None:
    await ledger.batches.apply(records_of([event("invoice.finalized", PLAN, id="evt_cause")]))
    row = await ledger.role.fetchrow(
        """
        select h.source_event, h.effective_at, e.invoice, e.customer, e.line, e.sub_item, e.service_to - e.service_from
          from ledger.entry e join ledger.journal_tx h using (tx_id, recorded_at) where e.account = 2100
        """
    )
    assert row and tuple(row)[:1] + tuple(row)[2:6] == ("evt_cause", "in_1", "cus_1", "il_1", "si_1")
    assert row[6].days == 30
    assert int(row["effective_at"].timestamp()) == T0


@pytest.mark.parametrize("ids", ["the same event ids", "new event ids"])
async def test_deliveries_repeated_up_to_five_times_leave_one_journal(ledger: Ledger, ids: str) -> None:
    once = written_off_then_paid()
    chance = random.Random(ids)
    told = [
        one if ids == "the same event ids" else event(one["type"], one["data"]["object"])
        for one in once
        for _ in range(chance.randint(1, 5))
    ]
    chance.shuffle(told)
    await apply(ledger.batches, records_of(told), size=4)
    assert await kept(ledger) == facts(keep(once)[0])


async def test_the_same_fact_with_another_amount_is_parked_while_its_neighbours_flow(ledger: Ledger) -> None:
    conflicts = metrics.FACT_CONFLICTS._value.get()
    report = await ledger.batches.apply(
        records_of(
            [
                event("invoice.finalized", PLAN),
                event("invoice.finalized", stripe.invoice(stripe.line(1001, tax=190)), id="evt_other"),
                event("invoice_payment.paid", stripe.invoice_payment(1190)),
                event("invoice.finalized", {**PLAN, "id": "in_2"}),
            ]
        )
    )
    assert (report.applied, report.parked) == (3, 1)
    parked = await ledger.role.fetchrow("select event_id, status, reason from ledger.parked_event")
    assert parked and tuple(parked) == (
        "evt_other",
        "poison",
        "invoice:in_1:finalized is posted with other content: amounts differ",
    )
    assert metrics.FACT_CONFLICTS._value.get() == conflicts + 1
    assert await commands.receivable(ledger.role) == {"in_2": ("usd", 1190)}


async def test_a_waiting_event_is_posted_by_the_batch_that_brings_its_fact(ledger: Ledger) -> None:
    note = stripe.credit_note(stripe.note_line(200), before=200)
    void = stripe.moved(PLAN, "voided_at", T0 + DAY, pre_payment_credit_notes_amount=200)
    for told in (
        event("invoice.voided", void, id="evt_void"),
        event("credit_note.created", note, id="evt_note"),
    ):
        await ledger.batches.apply(records_of([told]))
    assert [(w.event, w.family, w.reason) for w in await commands.waiting(ledger.role)] == [
        ("evt_void", "in_1", "invoice in_1 is not finalized here yet"),
        ("evt_note", "in_1", "invoice in_1 is not finalized here yet"),
    ]
    await ledger.batches.apply(records_of([event("invoice.finalized", PLAN)]))
    assert await commands.waiting(ledger.role) == []
    assert await commands.receivable(ledger.role) == {}
    rows = await ledger.role.fetch(
        "select event_id, outcome from ledger.processed_events where event_id <> ''"
    )
    assert {row["outcome"] for row in rows} == {"applied"}


async def test_two_partitions_that_meet_in_one_invoice_take_turns(ledger: Ledger) -> None:
    """A payment is keyed apart from its invoice. If neither saw the other, nobody would post the recovery."""
    await ledger.batches.apply(records_of([event("invoice.finalized", PLAN)]))
    written_off = stripe.moved(PLAN, "marked_uncollectible_at", T0 + DAY)
    payment = event_of(event("invoice_payment.paid", stripe.invoice_payment(1190, at=T0 + 2 * DAY)))
    async with transaction(ledger.pool) as tx:
        book = (await store.load(tx, ["in_1"]))["in_1"]
        other = asyncio.create_task(
            ledger.batches.apply(records_of([event("invoice.marked_uncollectible", written_off)]))
        )
        await _blocked(ledger)
        told = fold().apply[payment.type](book, payment, None)
        assert told.state
        await store.save(tx, [Applied("in_1", payment, told.state, told.reason)])
    await asyncio.wait_for(other, 20)
    assert "invoice:in_1:recovered:inpay:inpay_1:paid" in await kept(ledger)
    assert await commands.receivable(ledger.role) == {}


WAITERS = """
select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
"""


async def _blocked(ledger: Ledger) -> None:
    """Return once somebody waits for a lock in this database."""
    async with asyncio.timeout(20):
        while not await ledger.owner.fetchval(WAITERS):
            await ledger.owner.execute("select pg_sleep(0.01)")


async def test_a_fact_that_somebody_else_wrote_first_is_tried_again(ledger: Ledger) -> None:
    finalized = event_of(event("invoice.finalized", PLAN))
    told = fold().apply[finalized.type](None, finalized, None)
    assert told.state
    change = Applied("in_1", finalized, told.state, told.reason)
    async with transaction(ledger.pool) as tx:
        await store.save(tx, [change])
    with pytest.raises(Retryable, match="another writer"):
        async with transaction(ledger.pool) as tx:
            await store.save(tx, [change])
    assert enter(told.state, told.state.added) == Book(told.state.facts, ())


async def test_a_quarter_of_business_agrees_with_stripe_to_the_cent(ledger: Ledger) -> None:
    business = quarter.build(seed=3, customers=60)
    told = [one for _, one in business.events]
    random.Random(3).shuffle(told)
    report = await apply(ledger.batches, records_of(told), size=500)
    assert report.poisoned == 0
    truth, balance = business.truth, await commands.trial_balance(ledger.role)
    owed = {invoice: (r.currency, r.amount_remaining) for invoice, r in truth.receivables.items()}
    assert await commands.receivable(ledger.role) == {i: o for i, o in owed.items() if o[1]}
    assert {b.currency: b.balance_minor for b in balance if b.account == 1010} == truth.stripe_balance
    assert {c.currency: c.balance_minor for c in await commands.clearing(ledger.role) if c.balance_minor} == (
        truth.unsettled
    )
    assert len(await commands.waiting(ledger.role)) == len(truth.unsettled)
    assert await commands.unbalanced(ledger.role) == []
    assert await commands.drift(ledger.role) == []
    sums = {b.currency: 0 for b in balance}
    for b in balance:
        sums[b.currency] += b.balance_minor
    assert set(sums) == {"usd", "eur", "jpy"} and set(sums.values()) == {0}


async def test_two_deliveries_of_one_quarter_have_one_digest(ledger: Ledger, database: MakeDatabase) -> None:
    told = [one for _, one in quarter.build(seed=5, customers=25).events]
    await apply(ledger.batches, records_of(told), size=100)
    first = await commands.digest(ledger.role)

    other = await database(store.SCHEMA)
    pool = await postgres.pool(other.dsn(store.SCHEMA))
    try:
        random.Random(5).shuffle(told)
        await apply(Batches(pool, fold()), records_of(told + told[::3]), size=37)
        async with transaction(pool) as tx:
            assert await commands.digest(tx) == first
            await commands.refused(tx)
            assert await commands.digest(tx) == first
    finally:
        await pool.close()
    await ledger.batches.apply(records_of([event("invoice.finalized", PLAN)]))
    assert await commands.digest(ledger.role) != first
