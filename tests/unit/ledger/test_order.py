"""Facts come in any order: every permutation of a life ends in the same facts with the same content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, permutations
from typing import Any

import pytest

from lab.northwind import stories
from ledger.domain.chart import Account
from ledger.fold import RULES, family, fold
from millrace.consumer import Record, run
from tests.support import ledger_bodies as stripe
from tests.support.events import records_of
from tests.support.folds import balances, facts, keep
from tests.support.ledger_bodies import DAY, T0, event

Events = list[dict[str, Any]]


def written_off_then_paid() -> Events:
    """Finalized, credited, the credit withdrawn, given up, paid after all, told again as paid."""
    plan = stripe.invoice(stripe.line(1000, tax=190))
    note = stripe.credit_note(stripe.note_line(200), before=200)
    return [
        event("invoice.finalized", plan),
        event("credit_note.created", note),
        event("credit_note.voided", {**note, "voided_at": T0 + 3 * DAY}),
        event("invoice.marked_uncollectible", stripe.moved(plan, "marked_uncollectible_at", T0 + 9 * DAY)),
        event("invoice_payment.paid", stripe.invoice_payment(1190, at=T0 + 20 * DAY)),
        event("invoice.paid", stripe.moved(plan, "paid_at", T0 + 20 * DAY)),
    ]


def credited_then_voided() -> Events:
    """Finalized, credited twice, one credit withdrawn, given up, voided."""
    plan = stripe.invoice(stripe.line(1000), stripe.line(500, id="il_2", days=0))
    first = stripe.credit_note(stripe.note_line(200), before=200)
    second = stripe.credit_note(stripe.note_line(300, of="il_2"), before=300, id="cn_2")
    left = {"amount_remaining": 1200, "pre_payment_credit_notes_amount": 300}
    return [
        event("invoice.finalized", plan),
        event("credit_note.created", first),
        event("credit_note.created", second),
        event("credit_note.voided", {**first, "voided_at": T0 + 3 * DAY}),
        event(
            "invoice.marked_uncollectible",
            stripe.moved(plan, "marked_uncollectible_at", T0 + 9 * DAY, **left),
        ),
        event("invoice.voided", stripe.moved(plan, "voided_at", T0 + 10 * DAY, **left)),
    ]


def paid_outside_in_parts() -> Events:
    """A record of an outside payment, the invoice's total of it, a card payment and its charge in two steps."""
    plan = stripe.invoice(stripe.line(1000, tax=190))
    paid = stripe.moved(plan, "paid_at", T0 + DAY, amount_paid_off_stripe=400)
    return [
        event("invoice.finalized", plan),
        event(
            "invoice_payment.paid",
            stripe.invoice_payment(400, id="inpay_0", type="payment_record", by="pr_1"),
        ),
        event("invoice_payment.paid", stripe.invoice_payment(790)),
        event("invoice.paid", paid),
        event("charge.succeeded", stripe.charge(790, None)),
        event("charge.updated", stripe.charge(790, stripe.transaction(790, 53))),
    ]


LIVES: list[tuple[Callable[[], Events], dict[tuple[Account, str], int]]] = [
    (
        written_off_then_paid,
        {
            (Account.PAYMENT_CLEARING, "usd"): 1190,
            (Account.DEFERRED_REVENUE, "usd"): -1000,
            (Account.TAX_PAYABLE, "usd"): -190,
            (Account.BAD_DEBT, "usd"): 1190,
            (Account.RECOVERIES, "usd"): -1190,
        },
    ),
    (credited_then_voided, {(Account.REVENUE, "usd"): -500, (Account.VOIDS, "usd"): 500}),
    (
        paid_outside_in_parts,
        {
            (Account.OUT_OF_BAND_CLEARING, "usd"): 400,
            (Account.STRIPE_BALANCE, "usd"): 737,
            (Account.STRIPE_FEES, "usd"): 53,
            (Account.DEFERRED_REVENUE, "usd"): -1000,
            (Account.TAX_PAYABLE, "usd"): -190,
        },
    ),
]
TOLD = [
    stories.invoice_lifecycle,
    stories.refund_lifecycle,
    lambda: stories.refund_lifecycle(fails=True),
    stories.void_lifecycle,
    stories.credit_note_lifecycle,
]


def ends(records: Sequence[Record]) -> tuple[dict[str, str], list[str]]:
    """What a delivery leaves: the facts with their content, and whatever still waits."""
    books, judged = run(fold(), None, records)
    return facts(books), sorted(j.reason for j in judged if j.status)


def assert_every_order_ends_alike(records: list[Record]) -> None:
    expected = ends(records)
    for order in permutations(records):
        assert ends(order) == expected, [r.event.type for r in order if r.event]


@pytest.mark.parametrize(("life", "left"), LIVES, ids=[life.__name__ for life, _ in LIVES])
def test_every_order_of_six_events_ends_in_the_same_books(
    life: Callable[[], Events], left: dict[tuple[Account, str], int]
) -> None:
    records = records_of(life())
    assert len(records) == 6
    books, judged = run(fold(), None, records)
    assert balances(books) == left
    assert not [j.reason for j in judged if j.status]
    assert_every_order_ends_alike(records)


@pytest.mark.parametrize("tell", TOLD, ids=["invoice", "refund", "refund-fails", "void", "credit-note"])
def test_every_order_of_a_life_told_by_stripe_ends_in_the_same_books(tell: Callable[[], Events]) -> None:
    """Six events in every order at once; longer lives by family, for families never see each other."""
    records = records_of(tell())
    assert ends(records)[0]
    if len(records) <= 6:
        return assert_every_order_ends_alike(records)
    concerning = [r for r in records if r.event and r.event.type in RULES]
    by_family = groupby(sorted(concerning, key=family_of), key=family_of)
    for _, told in by_family:
        assert_every_order_ends_alike(list(told))
    return None


def family_of(record: Record) -> str:
    assert record.event
    return family(record.event)


@pytest.mark.parametrize("times", range(1, 6))
def test_however_often_and_under_whatever_id_an_event_comes_it_says_the_same(times: int) -> None:
    once = written_off_then_paid()
    again = [event(one["type"], one["data"]["object"]) for one in once for _ in range(times)]
    same = [one for one in once for _ in range(times)]
    assert facts(keep(again)[0]) == facts(keep(same)[0]) == facts(keep(once)[0])
