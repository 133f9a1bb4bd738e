"""Refunds: in parts, pending, returned by the customer's bank."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import Body, Double
from tests.unit.millrace_lab.payments.till import balance, charge_of, customer, declined, moved, pay, saved


def paid(stripe: Double, card: str = "pm_card_visa", **fields: Any) -> str:
    return str(pay(stripe, card, **fields)["latest_charge"])


def charge(stripe: Double, id_: str) -> tuple[int, bool]:
    found = stripe.get(f"/v1/charges/{id_}")
    return found["amount_refunded"], found["refunded"]


def test_a_charge_is_refunded_in_parts_and_then_no_further() -> None:
    stripe = Double()
    id_ = paid(stripe)
    mark = stripe.mark()
    stripe.post("/v1/refunds", charge=id_, amount=300, reason="duplicate")
    assert charge(stripe, id_) == (300, False)
    error = stripe.refusal("POST", "/v1/refunds", charge=id_, amount=701)
    assert (error["param"], error["status"]) == ("amount", 400)
    rest = stripe.post("/v1/refunds", charge=id_)
    assert (rest["amount"], rest["status"], rest["reason"]) == (700, "succeeded", None)
    assert charge(stripe, id_) == (10_00, True)
    assert stripe.refusal("POST", "/v1/refunds", charge=id_, amount=1)["code"] == "charge_already_refunded"
    assert stripe.types(mark) == ["refund.created", "charge.refunded"] * 2


def test_stripe_keeps_its_fee() -> None:
    stripe = Double()
    refund = stripe.post("/v1/refunds", charge=paid(stripe))
    assert moved(stripe, refund["balance_transaction"]) == (-10_00, 0, -10_00, "usd")
    stripe.wait("3d")
    assert balance(stripe) == (-59, 0)


def test_a_refund_by_its_intent() -> None:
    stripe = Double()
    intent = pay(stripe)
    refund = stripe.post("/v1/refunds", payment_intent=intent["id"])
    assert (refund["charge"], refund["payment_intent"]) == (intent["latest_charge"], intent["id"])
    listed = stripe.get("/v1/refunds", payment_intent=intent["id"])["data"]
    assert [each["id"] for each in listed] == [refund["id"]]
    expanded = stripe.get(f"/v1/charges/{intent['latest_charge']}", expand=["refunds"])
    assert [each["id"] for each in expanded["refunds"]["data"]] == [refund["id"]]
    assert "refunds" not in charge_of(stripe, intent)


def test_a_refund_that_the_customers_bank_returns() -> None:
    stripe = Double()
    id_ = paid(stripe)
    refund = stripe.post("/v1/refunds", charge=id_, amount=400, metadata={"lab_fails_after": "86400"})
    mark = stripe.mark()
    stripe.wait("86399s")
    assert stripe.get(f"/v1/refunds/{refund['id']}")["status"] == "succeeded"
    stripe.wait("1s")
    failed = stripe.get(f"/v1/refunds/{refund['id']}")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "lost_or_stolen_card")
    assert moved(stripe, failed["failure_balance_transaction"]) == (400, 0, 400, "usd")
    assert charge(stripe, id_) == (0, False)
    assert stripe.types(mark) == ["refund.updated", "charge.refund.updated", "refund.failed"]
    updated = stripe.told("refund.updated")[0]
    assert updated.previous == {"status": "succeeded"}
    assert stripe.post("/v1/refunds", charge=id_)["amount"] == 10_00  # and it can be given back again


def test_a_returned_refund_comes_back_at_the_rate_at_which_it_went() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, settles_in="usd")["id"]
    id_ = pay(stripe, method, 100_00, customer=buyer, currency="eur")["latest_charge"]
    refund = stripe.post("/v1/refunds", charge=id_, metadata={"lab_fails_after": str(9 * 86400)})
    stripe.wait("9d")
    failed = stripe.get(f"/v1/refunds/{refund['id']}")
    went, back = (
        moved(stripe, failed["balance_transaction"]),
        moved(stripe, failed["failure_balance_transaction"]),
    )
    assert went[0] == -back[0] == -109_79
    rates = [
        stripe.get(f"/v1/balance_transactions/{failed[name]}")["exchange_rate"]
        for name in ("balance_transaction", "failure_balance_transaction")
    ]
    assert rates[0] == rates[1]


@pytest.mark.parametrize(
    ("card", "metadata", "at_first", "later"),
    [
        ("pm_card_pendingRefund", {}, "pending", "succeeded"),
        ("pm_card_refundFail", {}, "succeeded", "failed"),
        ("pm_card_visa", {"lab_settles_after": "60"}, "pending", "succeeded"),
        ("pm_card_visa", {"lab_settles_after": "60", "lab_fails_after": "1"}, "pending", "failed"),
    ],
)
def test_what_becomes_of_a_refund(card: str, metadata: Body, at_first: str, later: str) -> None:
    stripe = Double()
    refund = stripe.post("/v1/refunds", charge=paid(stripe, card), metadata=metadata)
    assert refund["status"] == at_first
    assert (refund["balance_transaction"] is None) == (at_first == "pending")
    stripe.wait("6d")
    settled = stripe.get(f"/v1/refunds/{refund['id']}")
    assert settled["status"] == later
    assert settled["balance_transaction"] is not None


def test_a_refund_never_leaves_the_balance_before_its_charge_has_reached_it() -> None:
    stripe = Double()
    refund = stripe.post("/v1/refunds", charge=paid(stripe, capture_method="automatic_async"))
    assert (refund["status"], refund["balance_transaction"]) == ("pending", None)
    stripe.wait("60s")
    txns = stripe.get("/v1/balance_transactions")["data"]
    assert [txn["type"] for txn in txns] == ["refund", "charge"]
    assert stripe.types()[-3:] == ["charge.updated", "refund.updated", "charge.refund.updated"]
    (told,) = stripe.told("refund.updated")
    assert told.previous == {"balance_transaction": None, "status": "pending"}


def test_a_refunds_metadata_is_an_update() -> None:
    stripe = Double()
    refund = stripe.post("/v1/refunds", charge=paid(stripe), metadata={"a": "1"})
    stripe.post(f"/v1/refunds/{refund['id']}", metadata={"a": ""})
    (told,) = stripe.told("refund.updated")
    assert (told.previous, told.object["metadata"]) == ({"metadata": {"a": "1"}}, {})


def test_what_cannot_be_refunded() -> None:
    stripe = Double()
    held = pay(stripe, capture_method="manual")
    failed = declined(stripe, "pm_card_visa_chargeDeclined")["payment_intent"]
    unpaid = stripe.post("/v1/payment_intents", amount=100, currency="usd")
    assert (
        "has not been captured" in stripe.refusal("POST", "/v1/refunds", payment_intent=held["id"])["message"]
    )
    assert (
        "did not succeed" in stripe.refusal("POST", "/v1/refunds", charge=failed["latest_charge"])["message"]
    )
    assert (
        "successful charge" in stripe.refusal("POST", "/v1/refunds", payment_intent=unpaid["id"])["message"]
    )
    assert stripe.refusal("POST", "/v1/refunds")["status"] == 400
    assert stripe.refusal("POST", "/v1/refunds", charge="ch_0")["code"] == "resource_missing"
    refund = stripe.post("/v1/refunds", charge=paid(stripe))
    assert "requires_action" in stripe.refusal("POST", f"/v1/refunds/{refund['id']}/cancel")["message"]
