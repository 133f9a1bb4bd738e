"""What is not posted, and the sentence that says why: waiting, passed over, or parked with the field named."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.domain.journal import Book
from tests.support import ledger_bodies as stripe
from tests.support.folds import keep, postings
from tests.support.ledger_bodies import BEFORE_BASIL, DAY, T0, event

PLAN = stripe.invoice(stripe.line(1000, tax=190))
FINALIZED = event("invoice.finalized", PLAN)
BALANCE = stripe.transaction(1190, 65)
NOTE = stripe.credit_note(stripe.note_line(200), before=200)
VOID = stripe.moved(PLAN, "voided_at", T0 + DAY)
OLD = {"id": "in_1", "object": "invoice", "currency": "usd", "amount_paid": 1190, "payment_intent": "pi_1"}
CUT = {"data": [stripe.line(1000)], "has_more": True}

WAITING = [
    (
        "voided before it is finalized",
        [event("invoice.voided", VOID)],
        "invoice in_1 is not finalized here yet",
    ),
    (
        "given up before it is finalized",
        [event("invoice.marked_uncollectible", PLAN)],
        "invoice in_1 is not finalized here yet",
    ),
    (
        "credited before it is finalized",
        [event("credit_note.created", NOTE)],
        "invoice in_1 is not finalized here yet",
    ),
    (
        "a credit note voided before it is there",
        [FINALIZED, event("credit_note.voided", NOTE)],
        "credit note cn_1 is not here yet",
    ),
    (
        "voided before its credit note is there",
        [FINALIZED, event("invoice.voided", {**VOID, "pre_payment_credit_notes_amount": 200})],
        "invoice in_1 was credited 200 before it was voided, of which 0 is here yet",
    ),
    (
        "a charge that has not settled",
        [event("charge.succeeded", stripe.charge(1190, None))],
        "charge ch_1 has no balance transaction yet",
    ),
    (
        "a charge whose balance transaction is only an id",
        [event("charge.succeeded", stripe.charge(1190, "txn_1"))],
        "balance transaction txn_1 has not been fetched yet",
    ),
    (
        "a refund of which only the balance transaction is missing",
        [
            event("refund.created", stripe.refund(500, None)),
            event("refund.updated", stripe.refund(500, "txn_2")),
        ],
        "balance transaction txn_2 has not been fetched yet",
    ),
]

PASSED_OVER = [
    (
        "another event id for the same fact",
        [FINALIZED, event("invoice.finalized", PLAN)],
        "already posted: invoice:in_1:finalized",
    ),
    (
        "an invoice paid, in the current shape",
        [event("invoice.paid", stripe.moved(PLAN, "paid_at", T0))],
        "its payments are told by invoice_payment.paid",
    ),
    (
        "an attempt that succeeded, in the current shape",
        [event("invoice.payment_succeeded", stripe.moved(PLAN, "paid_at", T0))],
        "its payments are told by invoice_payment.paid",
    ),
    (
        "an invoice of nothing paid, before basil",
        [event("invoice.paid", {**OLD, "charge": None, "amount_paid": 0}, version=BEFORE_BASIL)],
        "nothing was charged for it",
    ),
    (
        "one payment in two API versions",
        [
            event("invoice_payment.paid", stripe.invoice_payment(1190)),
            event("invoice.paid", {**OLD, "charge": "ch_1"}, version=BEFORE_BASIL),
        ],
        "the payment pi_1 is posted already as inpay:inpay_1:paid",
    ),
    (
        "one payment in two API versions, the older first",
        [
            event("invoice.paid", {**OLD, "charge": "ch_1"}, version=BEFORE_BASIL),
            event("invoice_payment.paid", stripe.invoice_payment(1190)),
        ],
        "the payment pi_1 is posted already as invoice:in_1:charge:ch_1",
    ),
    (
        "a payment of nothing",
        [event("invoice_payment.paid", stripe.invoice_payment(0))],
        "nothing was paid with it",
    ),
    (
        "a charge that only held the money",
        [event("charge.succeeded", stripe.charge(1190, None, captured=False))],
        "the charge is authorised, not captured: no money moved",
    ),
    (
        "a charge that failed",
        [event("charge.updated", stripe.charge(1190, None, status="failed"))],
        "the charge has failed: no money moved",
    ),
    (
        "a charge that is told to be refunded",
        [event("charge.refunded", stripe.charge(1190, BALANCE, amount_refunded=500))],
        "each refund is told by refund.created",
    ),
    (
        "given up with nothing left",
        [FINALIZED, event("invoice.marked_uncollectible", {**PLAN, "amount_remaining": 0})],
        "nothing remained to be written off",
    ),
    (
        "something else altogether",
        [event("customer.updated", {"id": "cus_1", "object": "customer"})],
        "stripe.customer.updated does not concern ledger",
    ),
]

PARKED = [
    (
        "lines that do not come to the total",
        [event("invoice.finalized", {**PLAN, "total": 1191})],
        "invoice.total is 1191, but its lines and taxes come to 1190",
    ),
    (
        "a customer's balance that does not explain what is due",
        [event("invoice.finalized", {**PLAN, "starting_balance": -300, "ending_balance": 0})],
        "invoice.amount_due is 1190, but the balance leaves 890",
    ),
    (
        "lines that are cut short",
        [event("invoice.finalized", {**PLAN, "lines": CUT})],
        "invoice.lines is cut short: has_more is true",
    ),
    (
        "a line without a period",
        [event("invoice.finalized", stripe.invoice({**stripe.line(1000), "period": None}))],
        "line_item.period is missing",
    ),
    (
        "an amount with a fraction",
        [event("invoice.finalized", {**PLAN, "total": 1190.0})],
        "invoice.total is missing or not a whole number",
    ),
    (
        "a balance transaction that disagrees with itself",
        [event("charge.succeeded", stripe.charge(1190, {**BALANCE, "net": 1126}))],
        "balance_transaction.net is 1126, but amount less fee is 1125",
    ),
    (
        "a balance transaction of another amount",
        [event("charge.succeeded", stripe.charge(1200, BALANCE))],
        "balance_transaction.amount is 1190, but 1200 was due",
    ),
    (
        "a refund that adds to the balance in another currency",
        [event("refund.created", stripe.refund(500, stripe.transaction(545, currency="eur")))],
        "balance_transaction.amount has the wrong sign",
    ),
    (
        "a credit note whose money went nowhere",
        [FINALIZED, event("credit_note.created", stripe.credit_note(stripe.note_line(200), after=200))],
        "credit_note.post_payment_amount leaves 200 that nothing accounts for",
    ),
    (
        "a credit note whose lines do not come to its total",
        [FINALIZED, event("credit_note.created", {**NOTE, "total": 201, "pre_payment_amount": 201})],
        "credit_note.total is 201, but its lines and taxes come to 200",
    ),
    (
        "a payment of no invoice",
        [event("invoice_payment.paid", {**stripe.invoice_payment(1190), "invoice": None})],
        "invoice_payment.invoice is missing",
    ),
    (
        "a payment by nothing",
        [event("invoice_payment.paid", {**stripe.invoice_payment(1190), "payment": None})],
        "invoice_payment.payment names nothing",
    ),
    (
        "the same fact with another amount",
        [FINALIZED, event("invoice.finalized", stripe.invoice(stripe.line(1001, tax=190)))],
        "invoice:in_1:finalized is posted with other content: amounts differ",
    ),
    (
        "the same fact with another date",
        [FINALIZED, event("invoice.finalized", stripe.moved(PLAN, "finalized_at", T0 + 1))],
        "invoice:in_1:finalized is posted with other content: dates differ",
    ),
    (
        "the same fact of another customer",
        [FINALIZED, event("invoice.finalized", {**PLAN, "customer": "cus_2"})],
        "invoice:in_1:finalized is posted with other content: references differ",
    ),
]

Case = tuple[str, list[dict[str, Any]], str]


def cases(table: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("events", "why"), [case[1:] for case in table], ids=[c[0] for c in table])


@cases(WAITING)
def test_what_depends_on_another_fact_waits_for_it(events: list[dict[str, Any]], why: str) -> None:
    _, judged = keep(events)
    assert (judged[-1].status, judged[-1].reason) == ("waiting", why)


@cases(PASSED_OVER)
def test_what_is_told_elsewhere_is_passed_over(events: list[dict[str, Any]], why: str) -> None:
    _, judged = keep(events)
    assert (judged[-1].outcome, judged[-1].reason) == ("noop", why)


@cases(PARKED)
def test_what_contradicts_itself_is_parked_with_the_field_named(
    events: list[dict[str, Any]], why: str
) -> None:
    before, _ = keep(events[:-1])
    after, judged = keep(events)
    assert (judged[-1].status, judged[-1].reason) == ("poison", why)
    assert [one.fact for one in postings(after)] == [one.fact for one in postings(before)]


def test_a_waiting_charge_is_passed_over_once_its_transaction_has_come() -> None:
    _, judged = keep(
        [
            event("charge.succeeded", stripe.charge(1190, None)),
            event("charge.updated", stripe.charge(1190, "txn_1")),
            event("charge.updated", stripe.charge(1190, BALANCE)),
        ]
    )
    assert [(j.outcome, j.reason) for j in judged] == [
        ("noop", "its balance transaction is posted already"),
        ("noop", "its balance transaction is posted already"),
        ("applied", "posted bt:txn_1"),
    ]


def test_a_refund_is_posted_although_its_transaction_is_only_an_id() -> None:
    books, (judged,) = keep([event("refund.created", stripe.refund(500, "txn_2"))])
    assert judged.reason == "posted refund:re_1:created"
    assert [one.fact for one in postings(books)] == ["refund:re_1:created"]


def test_a_refund_that_was_canceled_was_never_given() -> None:
    books, _ = keep(
        [
            event("refund.created", stripe.refund(500, None, status="requires_action")),
            event("refund.updated", stripe.refund(500, None, status="canceled")),
        ]
    )
    assert [one.fact for one in postings(books)] == ["refund:re_1:created", "refund:re_1:canceled"]
    assert postings(books)[1].reverses == "refund:re_1:created"


def test_what_is_posted_is_published_and_sums_to_zero() -> None:
    _, (judged,) = keep([event("invoice.finalized", PLAN, id="evt_cause")])
    (told,) = judged.effects
    body = told.model_dump()
    assert (body["fact"], body["kind"], body["cause"]) == (
        "invoice:in_1:finalized",
        "invoice.finalized",
        "evt_cause",
    )
    assert (body["account"], body["customer"]) == ("acct_test", "cus_1")
    assert [(e["account"], e["amount_minor"]) for e in body["entries"]] == [
        ("1100", 1190),
        ("2100", -1000),
        ("2000", -190),
    ]


def test_an_event_of_one_invoice_never_sees_another() -> None:
    books, _ = keep([FINALIZED, event("invoice.finalized", {**PLAN, "id": "in_2"})])
    assert {family: sorted(book.facts) for family, book in books.items()} == {
        "in_1": ["invoice:in_1:finalized"],
        "in_2": ["invoice:in_2:finalized"],
    }
    assert all(isinstance(book, Book) for book in books.values())
