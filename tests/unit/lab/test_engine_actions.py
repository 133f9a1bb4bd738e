"""What Stripe tells when one thing happens: a story a row, as a person who knows Stripe would check it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.stripe import engine, plans
from lab.stripe.model import DAY, HOUR, CreditNote, Dunning, Invoice, InvoiceItem, Subscription
from lab.stripe.periods import months_after, period_end
from lab.stripe.stories import OPENS, Teller
from lab.stripe.world import World


def told_since(teller: Teller, mark: int) -> list[str]:
    return [event["type"] for event in teller.events[mark:]]


def invoice_of(teller: Teller, sub: str) -> Invoice:
    return teller.latest_invoice(sub)


def status_of(teller: Teller, sub: str) -> str:
    return teller.world.get(Subscription, sub).status


def test_a_first_payment_tells_everything_in_one_second() -> None:
    teller = Teller("ok")
    mark = len(teller.events)
    sub = teller.subscribes()
    assert told_since(teller, mark) == [
        "customer.subscription.created",
        "invoice.created",
        "payment_intent.created",
        "invoice.finalized",
        "invoice.updated",
        "payment_intent.succeeded",
        "charge.succeeded",
        "invoice_payment.paid",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]
    events = teller.events[mark:]
    assert len({event["created"] for event in events}) == 1
    assert len({event["request"]["id"] for event in events}) == 1
    assert events[-1]["data"]["previous_attributes"] == {
        "default_payment_method": None,
        "status": "incomplete",
    }
    assert invoice_of(teller, sub).attempt_count == 0 and invoice_of(teller, sub).attempted


def test_a_renewal_is_drafted_at_the_period_end_and_charged_an_hour_later() -> None:
    teller = Teller("ok")
    sub = teller.subscribes()
    mark, end = len(teller.events), months_after(OPENS, 1)
    teller.wait(end - OPENS)
    assert told_since(teller, mark) == ["customer.subscription.updated", "invoice.created"]
    renewal = teller.events[mark]
    assert renewal["data"]["previous_attributes"].keys() == {"items", "latest_invoice"}
    assert renewal["request"] == {"id": None, "idempotency_key": None}
    teller.wait(HOUR)
    assert {event["created"] for event in teller.events[mark + 2 :]} == {end + HOUR}
    assert (invoice_of(teller, sub).status, invoice_of(teller, sub).attempt_count) == ("paid", 1)


@pytest.mark.parametrize(
    ("anchor", "ends"),
    [
        ("2026-01-31", ["2026-02-28", "2026-03-31", "2026-04-30"]),
        ("2028-01-30", ["2028-02-29", "2028-03-30", "2028-04-30"]),
        ("2026-11-15", ["2026-12-15", "2027-01-15", "2027-02-15"]),
    ],
)
def test_short_months_do_not_move_the_anchor(anchor: str, ends: list[str]) -> None:
    first = at = int(datetime.fromisoformat(anchor).replace(tzinfo=UTC).timestamp())
    for end in ends:
        at = period_end(first, at, "month")
        assert datetime.fromtimestamp(at, UTC).date().isoformat() == end


ENDS = [
    # settings when retries run out,                subscription, invoice,         told at the end
    (Dunning(), "canceled", "open", "customer.subscription.deleted"),
    (Dunning(subscription="unpaid"), "unpaid", "open", "customer.subscription.updated"),
    (Dunning(subscription="past_due"), "past_due", "open", "customer.updated"),
    (Dunning(subscription="paused"), "paused", "open", "customer.subscription.paused"),
    (Dunning(invoice="uncollectible"), "canceled", "uncollectible", "invoice.marked_uncollectible"),
]


@pytest.mark.parametrize(("dunning", "subscription", "invoice", "told"), ENDS)
def test_a_payment_that_never_comes(dunning: Dunning, subscription: str, invoice: str, told: str) -> None:
    teller = Teller("ok", "insufficient_funds")
    sub = teller.do(
        engine.subscribe, teller.customer, [(plans.price_id("starter", "eur"), 1)], dunning=dunning
    )
    teller.wait(31 * DAY + 2 * HOUR + 16 * DAY)
    count = Counter(event["type"] for event in teller.events)
    assert (status_of(teller, sub), invoice_of(teller, sub).status) == (subscription, invoice)
    assert invoice_of(teller, sub).attempt_count == count["invoice.payment_failed"] == 4
    assert invoice_of(teller, sub).next_payment_attempt is None
    assert count[told] >= 1


def test_after_a_hard_decline_retries_stay_scheduled_but_nothing_is_charged() -> None:
    teller = Teller("ok", "stolen_card")
    sub = teller.subscribes()
    teller.wait(31 * DAY + 2 * HOUR)
    assert invoice_of(teller, sub).next_payment_attempt == OPENS + 31 * DAY + HOUR + 3 * DAY
    mark = len(teller.events)
    teller.wait(4 * DAY)
    assert told_since(teller, mark) == ["invoice.updated"]
    assert invoice_of(teller, sub).attempt_count == 1
    teller.card = teller.do(engine.add_card, teller.customer)
    teller.wait(5 * DAY)
    assert (status_of(teller, sub), invoice_of(teller, sub).status) == ("active", "paid")


def test_a_success_long_after_the_end_pays_the_invoice_and_wakes_nothing_that_was_canceled() -> None:
    teller = Teller("ok", "do_not_honor")
    sub = teller.subscribes()
    teller.wait(60 * DAY)
    invoice = invoice_of(teller, sub)
    assert (status_of(teller, sub), invoice.status) == ("canceled", "open")
    teller.do(engine.bank_says, teller.card, ("ok",))
    mark = len(teller.events)
    teller.do(engine.pay, invoice.id)
    assert (status_of(teller, sub), invoice_of(teller, sub).status) == ("canceled", "paid")
    assert "customer.subscription.updated" not in told_since(teller, mark)
    assert teller.events[-1]["type"] == "customer.updated"
    assert teller.events[-1]["data"]["previous_attributes"] == {"delinquent": True}


def test_canceling_at_once_drops_prorations_that_were_never_invoiced() -> None:
    teller = Teller("ok")
    sub = teller.subscribes(quantity=9)
    teller.wait(5 * DAY)
    teller.do(engine.change_item, sub, quantity=6)
    assert len(list(teller.world.all(InvoiceItem))) == 2
    mark = len(teller.events)
    teller.do(engine.cancel_now, sub)
    assert told_since(teller, mark) == [
        "customer.subscription.deleted",
        "invoiceitem.deleted",
        "invoiceitem.deleted",
    ]
    assert not list(teller.world.all(InvoiceItem))


def test_waiting_prorations_are_on_the_next_invoice_once() -> None:
    teller = Teller("ok")
    sub = teller.subscribes(quantity=9)
    teller.wait(5 * DAY)
    teller.do(engine.change_item, sub, quantity=6)
    teller.wait(30 * DAY)
    credit, debit, renewal = invoice_of(teller, sub).lines
    assert credit.amount < 0 < debit.amount < -credit.amount
    assert credit.credited_lines and credit.credited_invoice != invoice_of(teller, sub).id
    assert (renewal.quantity, renewal.proration) == (6, False)
    teller.wait(31 * DAY)
    assert len(invoice_of(teller, sub).lines) == 1


def test_the_portal_cancels_in_two_updates_a_second_apart() -> None:
    teller = Teller("ok")
    sub = teller.subscribes()
    mark = len(teller.events)
    teller.wait(DAY)
    teller.do(engine.cancel_in_portal, sub, "too_expensive")
    asked, explained = teller.events[mark:]
    assert explained["created"] == asked["created"] + 1
    assert asked["data"]["object"]["cancel_at"] == months_after(OPENS, 1)
    assert asked["data"]["object"]["cancel_at_period_end"] is False
    assert explained["data"]["object"]["cancellation_details"]["feedback"] == "too_expensive"
    teller.wait(31 * DAY)
    assert teller.events[-1]["type"] == "customer.subscription.deleted"
    assert teller.world.get(Subscription, sub).ended_at == months_after(OPENS, 1)


@pytest.mark.parametrize(("behavior", "status"), [("void", "void"), ("mark_uncollectible", "uncollectible")])
def test_paused_collection_keeps_the_status_and_asks_for_nothing(behavior: str, status: str) -> None:
    teller = Teller("ok")
    sub = teller.subscribes()
    teller.do(engine.pause_collection, sub, behavior)
    mark = len(teller.events)
    teller.wait(33 * DAY)
    assert (status_of(teller, sub), invoice_of(teller, sub).status) == ("active", status)
    assert not {"charge.succeeded", "invoice.payment_failed"} & set(told_since(teller, mark))


def test_a_first_payment_that_never_comes_expires_after_23_hours() -> None:
    teller = Teller("generic_decline")
    sub = teller.subscribes()
    teller.wait(23 * HOUR - 1)
    assert status_of(teller, sub) == "incomplete"
    teller.wait(1)
    assert (status_of(teller, sub), invoice_of(teller, sub).status) == ("incomplete_expired", "void")
    assert teller.events[-1]["data"]["previous_attributes"] == {"status": "incomplete", "ended_at": None}


def test_credit_notes_over_the_whole_invoice_give_back_its_whole_tax_and_no_more() -> None:
    """Three notes, each rounded; the last takes what is left of the tax."""
    teller = Teller("ok")
    sub = teller.subscribes(plan="starter", quantity=1)
    invoice = invoice_of(teller, sub)
    for amount in (7, 8, invoice.total - 15):
        teller.do(engine.credit_note, invoice.id, amount)
    assert sum(note.tax for note in teller.world.of(CreditNote, invoice.id)) == invoice.tax
    with pytest.raises(engine.Refused):
        teller.do(engine.credit_note, invoice.id, 1)


REFUSED: list[tuple[str, Any]] = [
    ("pay a paid invoice", lambda t, sub: t.do(engine.pay, invoice_of(t, sub).id)),
    ("void a paid invoice", lambda t, sub: t.do(engine.void_invoice, invoice_of(t, sub).id)),
    ("change nothing", lambda t, sub: t.do(engine.change_item, sub, quantity=5)),
    ("change the currency", lambda t, sub: t.do(engine.change_item, sub, price="price_team_monthly_usd")),
    ("resume what runs", lambda t, sub: t.do(engine.resume, sub)),
    ("credit more than was paid", lambda t, sub: t.do(engine.credit_note, invoice_of(t, sub).id, 10**9)),
    ("touch what is not there", lambda t, sub: t.do(engine.cancel_now, "sub_nothing")),
]


@pytest.mark.parametrize(("what", "action"), REFUSED, ids=[what for what, _ in REFUSED])
def test_what_is_refused_changes_nothing(what: str, action: Any) -> None:
    teller = Teller("ok")
    sub = teller.subscribes()
    world, told = teller.world, len(teller.events)
    with pytest.raises(engine.Refused):
        action(teller, sub)
    assert teller.world is world and len(teller.events) == told


def test_an_action_leaves_the_world_it_was_given_untouched() -> None:
    teller = Teller("ok")
    world = teller.world
    before = (dict(world.objects), dict(world.agenda), dict(world.children), world.serial)
    price = plans.price_id("team", "eur")
    one = engine.subscribe(world, OPENS, teller.customer, [(price, 2)])
    two = engine.subscribe(world, OPENS, teller.customer, [(price, 2)])
    assert (world.objects, world.agenda, world.children, world.serial) == before
    assert one == two


def test_balance_transactions_are_ids_when_the_expansion_is_off() -> None:
    world = World(seed=3, now=OPENS, expand_balance_transactions=False)
    teller = Teller("ok", world=world)
    teller.subscribes()
    (paid,) = (event for event in teller.events if event["type"] == "charge.succeeded")
    assert paid["data"]["object"]["balance_transaction"].startswith("txn_")
