"""Payouts: by hand, every midnight, failing days after they were paid."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.payments import payouts
from tests.support.double import Body, Double
from tests.unit.millrace_lab.payments.till import balance, moved, pay


def rich(amount: int = 100_00, **settings: Any) -> Double:
    """An account whose balance is available: 96.80 of 100.00 after its fee."""
    stripe = Double(**settings)
    pay(stripe, "pm_card_bypassPending", amount)
    return stripe


def fail(stripe: Double, id_: str) -> Body:
    """What the bank does: no operation of Stripe's."""
    step = stripe.account.step(automatic=True)
    done = payouts.fail(step, id_)
    step.commit()
    return done


def test_a_payout_by_hand_reaches_the_bank() -> None:
    stripe = rich()
    mark = stripe.mark()
    payout = stripe.post("/v1/payouts", amount=50_00, currency="usd", description="For June")
    assert (payout["status"], payout["automatic"], payout["reconciliation_status"]) == (
        "pending", False, "not_applicable"
    )  # fmt: skip
    assert moved(stripe, payout["balance_transaction"]) == (-50_00, 0, -50_00, "usd")
    assert balance(stripe) == (46_80, 0)
    stripe.wait("1d")
    assert stripe.get(f"/v1/payouts/{payout['id']}")["status"] == "in_transit"
    stripe.wait("1d")
    assert stripe.now == payout["arrival_date"]
    assert stripe.get(f"/v1/payouts/{payout['id']}")["status"] == "paid"
    assert stripe.types(mark) == ["payout.created", "payout.updated", "payout.paid"]
    assert stripe.told("payout.updated")[0].previous == {"status": "pending"}


def test_more_than_is_available_is_not_paid_out() -> None:
    stripe = rich()
    pay(stripe)  # pending
    error = stripe.refusal("POST", "/v1/payouts", amount=96_81, currency="usd")
    assert (error["code"], error["param"]) == ("balance_insufficient", "amount")
    assert stripe.post("/v1/payouts", amount=96_80, currency="usd")["amount"] == 96_80
    assert stripe.refusal("POST", "/v1/payouts", amount=1, currency="eur")["code"] == "balance_insufficient"


def test_a_payout_is_canceled_while_it_is_pending() -> None:
    stripe = rich()
    payout = stripe.post("/v1/payouts", amount=50_00, currency="usd")
    path = f"/v1/payouts/{payout['id']}/cancel"
    canceled = stripe.post(path)
    assert (canceled["status"], stripe.types()[-1]) == ("canceled", "payout.canceled")
    assert balance(stripe) == (96_80, 0)
    mark = stripe.mark()
    stripe.wait("5d")
    assert stripe.types(mark) == []
    later = stripe.post("/v1/payouts", amount=50_00, currency="usd")
    stripe.wait("1d")
    assert "pending" in stripe.refusal("POST", f"/v1/payouts/{later['id']}/cancel")["message"]


@pytest.mark.parametrize("after", ["1h", "30h", "49h", "6d"])
def test_a_payout_fails_on_its_way_or_up_to_five_days_after_it_arrived(after: str) -> None:
    stripe = rich()
    seconds = int(after[:-1]) * {"h": 3600, "d": 86400}[after[-1]]
    metadata = {"lab_fails_after": str(seconds)}
    payout = stripe.post("/v1/payouts", amount=50_00, currency="usd", metadata=metadata)
    stripe.wait("10d")
    failed = stripe.get(f"/v1/payouts/{payout['id']}")
    assert (failed["status"], failed["failure_code"]) == ("failed", "could_not_process")
    assert moved(stripe, failed["failure_balance_transaction"]) == (50_00, 0, 50_00, "usd")
    assert stripe.types()[-1] == "payout.failed"
    assert balance(stripe) == (96_80, 0)


def test_later_than_that_a_payout_does_not_fail_any_more() -> None:
    stripe = rich()
    metadata = {"lab_fails_after": str(8 * 86400)}
    payout = stripe.post("/v1/payouts", amount=50_00, currency="usd", metadata=metadata)
    stripe.wait("9d")
    assert stripe.get(f"/v1/payouts/{payout['id']}")["status"] == "paid"
    with pytest.raises(Exception, match="cannot fail"):
        fail(stripe, payout["id"])


def test_an_account_that_pays_out_daily() -> None:
    stripe = Double(payouts="daily")
    first = pay(stripe, amount=100_00)
    refund = stripe.post("/v1/refunds", charge=first["latest_charge"], amount=10_00)
    stripe.wait("2d")
    (payout,) = stripe.get("/v1/payouts")["data"]
    assert (payout["amount"], payout["automatic"], payout["status"]) == (86_80, True, "pending")
    assert balance(stripe) == (0, 0)
    members = stripe.get("/v1/balance_transactions", payout=payout["id"])["data"]
    assert {txn["source"] for txn in members} == {first["latest_charge"], refund["id"], payout["id"]}
    assert sum(txn["net"] for txn in members) == 0
    mark = stripe.mark()
    stripe.wait("2d")
    assert stripe.types(mark) == ["payout.updated", "payout.reconciliation_completed", "payout.paid"]
    assert stripe.told("payout.updated")[0].previous == {
        "reconciliation_status": "in_progress",
        "status": "pending",
    }


def test_every_transaction_belongs_to_one_daily_payout() -> None:
    stripe = Double(payouts="daily")
    for amount in (10_00, 20_00, 30_00):
        pay(stripe, amount=amount)
        pay(stripe, amount=amount, currency="eur")
        stripe.wait("1d")
    stripe.wait("4d")
    found = stripe.get("/v1/payouts", limit=100)["data"]
    assert len(found) == 6
    assert len([type_ for type_ in stripe.types() if type_ == "balance.available"]) == 3
    members = [
        txn["id"]
        for payout in found
        for txn in stripe.get("/v1/balance_transactions", payout=payout["id"])["data"]
    ]
    assert sorted(members) == sorted(
        t["id"] for t in stripe.get("/v1/balance_transactions", limit=100)["data"]
    )


def test_a_balance_below_nothing_waits_for_better_days() -> None:
    stripe = Double(payouts="daily")
    charge = pay(stripe, amount=10_00)["latest_charge"]
    stripe.post("/v1/refunds", charge=charge)
    stripe.wait("3d")
    assert stripe.get("/v1/payouts")["data"] == []
    assert balance(stripe) == (-59, 0)
    pay(stripe, amount=10_00)
    stripe.wait("3d")
    assert stripe.get("/v1/payouts")["data"][0]["amount"] == 9_41 - 59


def test_a_failed_daily_payout_is_in_the_next_one() -> None:
    stripe = Double(payouts="daily")
    pay(stripe)
    stripe.wait("2d")
    first = stripe.get("/v1/payouts")["data"][0]
    fail(stripe, first["id"])
    assert balance(stripe) == (9_41, 0)
    carried = stripe.get("/v1/balance_transactions", payout=first["id"])["data"]
    assert [txn["type"] for txn in carried] == ["payout", "charge"]  # what came back is not among them
    pay(stripe, amount=20_00)
    stripe.wait("2d")
    assert stripe.get("/v1/payouts")["data"][0]["amount"] == 9_41 + 19_12


def test_what_a_manual_payout_carried_cannot_be_asked() -> None:
    stripe = rich()
    payout = stripe.post("/v1/payouts", amount=50_00, currency="usd")["id"]
    assert stripe.refusal("GET", "/v1/balance_transactions", payout=payout)["param"] == "payout"
    assert stripe.refusal("GET", "/v1/balance_transactions", payout="po_0")["code"] == "resource_missing"
    assert [each["id"] for each in stripe.get("/v1/payouts", status="pending")["data"]] == [payout]
    assert stripe.get("/v1/payouts", status="paid")["data"] == []
