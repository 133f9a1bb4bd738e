"""The short stories say what their names promise, so that tests of order can rely on them."""

from __future__ import annotations

from typing import Any

from lab.northwind import stories

Row = tuple[str, str | None]


def rows(events: list[dict[str, Any]]) -> list[Row]:
    return [(event["type"], event["data"]["object"].get("status")) for event in events]


def test_the_six_events_of_a_subscription() -> None:
    told = stories.subscription_lifecycle()
    assert rows(told) == [
        ("customer.subscription.created", "incomplete"),
        ("customer.subscription.updated", "active"),
        ("customer.subscription.updated", "active"),
        ("customer.subscription.updated", "active"),
        ("customer.subscription.updated", "active"),
        ("customer.subscription.deleted", "canceled"),
    ]
    born, active, seats, cancel, feedback, _ = (event["created"] for event in told)
    assert born == active and seats == cancel and feedback == cancel + 1
    assert told[2]["data"]["previous_attributes"]["quantity"] == 5
    assert told[3]["data"]["object"]["cancel_at"] and not told[3]["data"]["object"]["cancel_at_period_end"]
    assert told[4]["data"]["previous_attributes"] == {"cancellation_details": {"feedback": None}}


def test_the_six_events_of_an_invoice() -> None:
    told = stories.invoice_lifecycle()
    assert rows(told) == [
        ("invoice.finalized", "open"),
        ("payment_intent.payment_failed", "requires_payment_method"),
        ("invoice.payment_failed", "open"),
        ("charge.succeeded", "succeeded"),
        ("invoice_payment.paid", "paid"),
        ("invoice.paid", "paid"),
    ]
    moved = told[3]["data"]["object"]["balance_transaction"]
    assert moved["object"] == "balance_transaction"
    assert moved["amount"] == told[5]["data"]["object"]["total"]
    assert told[0]["data"]["object"]["billing_reason"] == "subscription_cycle"


def test_a_refund_settles_after_it_was_made() -> None:
    told = stories.refund_lifecycle()
    assert [type_ for type_, _ in rows(told)] == [
        "invoice.finalized",
        "charge.succeeded",
        "invoice_payment.paid",
        "charge.updated",
        "refund.created",
        "charge.refunded",
        "refund.updated",
    ]
    assert told[1]["data"]["object"]["balance_transaction"] is None
    assert told[3]["data"]["previous_attributes"] == {"balance_transaction": None}
    assert told[6]["data"]["object"]["balance_transaction"]["net"] == -2500


def test_a_refund_may_come_back() -> None:
    *_, settled, updated, failed = stories.refund_lifecycle(fails=True)
    assert (settled["type"], updated["type"], failed["type"]) == (
        "refund.updated",
        "refund.updated",
        "refund.failed",
    )
    assert failed["data"]["object"]["failure_balance_transaction"]["net"] == 2500


def test_a_void_ends_a_failing_invoice() -> None:
    assert rows(stories.void_lifecycle()) == [
        ("invoice.finalized", "open"),
        ("payment_intent.payment_failed", "requires_payment_method"),
        ("invoice.payment_failed", "open"),
        ("invoice.voided", "void"),
    ]


def test_credit_notes_before_and_after_payment() -> None:
    told = stories.credit_note_lifecycle()
    notes = [event["data"]["object"] for event in told if event["type"] == "credit_note.created"]
    assert [note["type"] for note in notes] == ["pre_payment", "post_payment"]
    (paid,) = (event["data"]["object"] for event in told if event["type"] == "invoice_payment.paid")
    assert paid["amount_paid"] == told[0]["data"]["object"]["total"] - notes[0]["amount"]
    (refund,) = (event["data"]["object"] for event in told if event["type"] == "refund.created")
    assert notes[1]["refunds"][0]["refund"] == refund["id"]
