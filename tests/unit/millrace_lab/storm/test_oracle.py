"""The yardstick: what any set of delivered events says must be true, and that all of them say what is."""

from __future__ import annotations

import random
from typing import Any

import pytest

from millrace_lab.account import Account
from millrace_lab.delivery.schedule import Schedule
from millrace_lab.storm import oracle
from millrace_lab.storm.arrivals import Arrival, arrivals
from millrace_lab.storm.companies import Company
from millrace_lab.storm.comparing import OPEN, differences
from millrace_lab.storm.rare_lives import EVERYBODY
from tests.unit.millrace_lab.storm.hand_made import (
    DAY0,
    arrival,
    charge,
    invoice,
    moved,
    note,
    payment,
    refund,
    subscription,
)

HELD = [aspect for aspect in oracle.ASPECTS if aspect not in ("outcome", "balance")]
Told = tuple[str, dict[str, Any]]

CLAIM: Told = ("invoice.finalized", invoice("open"))
PAID: Told = ("invoice_payment.paid", payment(1000))
PART: Told = ("invoice_payment.paid", payment(400, "inpay_2"))
NOTE: Told = ("credit_note.created", note(250))
WITHDRAWN: Told = ("credit_note.voided", note(250))
LOSS: Told = ("invoice.marked_uncollectible", invoice("uncollectible"))
VOID: Told = ("invoice.voided", invoice("void"))
VOID_NOTED: Told = ("invoice.voided", invoice("void", pre_payment_credit_notes_amount=250))
OUTSIDE: Told = ("invoice.paid", invoice("paid", amount_paid_off_stripe=1000))
RECORD: Told = ("invoice_payment.paid", payment(1000, type_="payment_record"))
LATE: Told = ("invoice_payment.paid", payment(1000, at=60))  # after the loss of second 50

RECEIVABLE = {
    "a claim is owed": ([CLAIM], 1000),
    "a claim that credit paid in part": (
        [("invoice.finalized", invoice("open", starting_balance=-300))],
        700,
    ),
    "a payment settles it": ([CLAIM, PAID], 0),
    "a payment told twice settles it once": ([CLAIM, PAID, PAID], 0),
    "two payments, one of them in part": ([CLAIM, PART], 600),
    "what `invoice.paid` says adds nothing to a payment": (
        [CLAIM, PAID, ("invoice.paid", invoice("paid"))],
        0,
    ),
    "a credit note lowers it": ([CLAIM, NOTE], 750),
    "unless it is withdrawn": ([CLAIM, NOTE, WITHDRAWN], 1000),
    "withdrawn before it was told": ([CLAIM, WITHDRAWN], 1000),
    "void": ([CLAIM, VOID], 0),
    "void after a note that was told": ([CLAIM, NOTE, VOID_NOTED], 0),
    "void after a note that was not": ([CLAIM, VOID_NOTED], OPEN),
    "written off": ([CLAIM, LOSS], 0),
    "written off with a note that it does not know": ([CLAIM, NOTE, LOSS], OPEN),
    "written off and paid after all": ([CLAIM, LOSS, LATE], 0),
    "paid outside": ([CLAIM, OUTSIDE], 0),
    "paid outside, with the record of it": ([CLAIM, OUTSIDE, RECORD], 0),
    "a payment of an invoice that nobody told of": ([PAID], OPEN),
    "an end of an invoice that nobody told of": ([VOID], OPEN),
}


def told(*events: Told) -> list[Arrival]:
    return [arrival(number, type_, body) for number, (type_, body) in enumerate(events)]


@pytest.mark.parametrize(("events", "owed"), RECEIVABLE.values(), ids=RECEIVABLE)
def test_what_an_invoice_owes(events: list[Told], owed: Any) -> None:
    assert oracle.of(told(*events)).get(("receivable", "in_1"), 0) == owed


FAILED: Told = ("invoice.payment_failed", invoice("open"))
FIRST: Told = ("invoice.payment_failed", invoice("open", billing_reason="subscription_create"))
RAN_OUT: Told = (
    "invoice.marked_uncollectible",
    invoice("uncollectible", status_details={"uncollectible": {"reason": "max_payment_attempts"}}),
)
SETTLED: Told = ("invoice.paid", invoice("paid", amount_paid=1000, amount_remaining=0))
CREDITED: Told = (
    "invoice.paid",
    invoice("paid", amount_remaining=0, pre_payment_credit_notes_amount=1000),
)
GONE: Told = ("customer.deleted", {"id": "cus_1", "object": "customer", "deleted": True})

OUTCOME = {
    "failed": ([FAILED], "open"),
    "a first payment is not dunned": ([FIRST], None),
    "paid": ([FAILED, SETTLED], "paid"),
    "by notes alone": ([FAILED, CREDITED], "credited"),
    "voided": ([FAILED, VOID], "voided"),
    "written off by hand": ([FAILED, LOSS], "uncollectible"),
    "given up, its attempts run out": ([FAILED, RAN_OUT], "gave_up"),
    "written off and paid after all": ([FAILED, LOSS, SETTLED], "paid"),
    "nobody is left to pay": ([FAILED, GONE], "gone"),
    "nobody is left to pay what was written off": ([FAILED, LOSS, GONE], "gone"),
}


@pytest.mark.parametrize(("events", "outcome"), OUTCOME.values(), ids=OUTCOME)
def test_how_a_failed_invoice_ends(events: list[Told], outcome: str | None) -> None:
    values = oracle.of(told(*events))
    assert values["outcome", "in_1"] == outcome


def test_an_invoice_that_never_failed_has_no_outcome() -> None:
    assert ("outcome", "in_1") not in oracle.of(told(CLAIM, SETTLED))


def test_a_subscription_is_as_its_newest_snapshot_whenever_that_came() -> None:
    older = arrival(1, "customer.subscription.updated", subscription("active", 5), second=7)
    newer = arrival(2, "customer.subscription.updated", subscription("past_due", 6), second=7)
    for order in ([older, newer], [newer, older], [newer, older, newer]):
        values = oracle.of(order)
        assert values["status", "sub_1"] == "past_due"
        assert values["items", "sub_1"] == (("price_team", 6),)


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({}, None),
        ({"cancel_at": DAY0 + 5}, DAY0 + 5),
        ({"cancel_at_period_end": True}, DAY0 + 999),
        ({"cancel_at": DAY0 + 5, "cancel_at_period_end": True}, DAY0 + 5),
    ],
)
def test_an_end_is_planned_if_either_field_says_so(fields: dict[str, Any], ends: int | None) -> None:
    values = oracle.of(told(("customer.subscription.updated", subscription("active", **fields))))
    assert values["cancel_at", "sub_1"] == ends


def test_money_on_the_balance_counts_once_by_its_transaction() -> None:
    whole = charge(moved("txn_1", 940))
    values = oracle.of(
        told(
            ("charge.succeeded", charge("txn_1")),  # an id is not an amount
            ("charge.updated", whole),
            ("charge.updated", whole),
            ("refund.created", refund("pending", balance_transaction=None)),
            ("refund.updated", refund("succeeded", balance_transaction=moved("txn_2", -300))),
        )
    )
    assert values["settled", "pi_1"] == (940, "usd")
    assert values["settled", "re_1"] == (-300, "usd")
    assert values["refunded", "re_1"] == 300


def test_a_refund_that_came_back_is_still_given_and_one_that_was_canceled_never_was() -> None:
    back = refund(
        "failed", balance_transaction=moved("txn_2", -300), failure_balance_transaction=moved("txn_3", 300)
    )
    failed = oracle.of(told(("refund.failed", back)))
    assert ("settled", "re_1") not in failed
    assert failed["refunded", "re_1"] == 300
    assert oracle.of(told(("refund.updated", refund("canceled"))))["refunded", "re_1"] == 0


@pytest.fixture(scope="module")
def accounts() -> list[Account]:
    return [Company(seed, 75, 25, EVERYBODY, twins=0.1).play() for seed in range(1, 6)]


def test_with_everything_delivered_it_is_what_the_account_holds(accounts: list[Account]) -> None:
    for account in accounts:
        everything = arrivals(account, Schedule(account.seed, "kind"))
        values = oracle.of(everything)
        assert differences(values, oracle.held(account), HELD) == []
        assert not [key for key, value in values.items() if value is OPEN and key[0] != "balance"]


def test_neither_order_nor_repetition_changes_it_whatever_is_missing(accounts: list[Account]) -> None:
    for account in accounts[:2]:
        chance = random.Random(account.seed)
        everything = arrivals(account, Schedule(account.seed, "hostile"))
        some = [each for each in everything if chance.random() < 0.4]
        shuffled = [*some, *chance.choices(some, k=40)]
        chance.shuffle(shuffled)
        assert oracle.of(shuffled) == oracle.of(some)
