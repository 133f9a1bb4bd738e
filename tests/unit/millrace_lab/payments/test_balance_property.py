"""Whatever happens, the balance is the sum of its transactions, and every one of them has a source."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.double import Double
from tests.unit.millrace_lab.payments.till import pay

CARDS = ("pm_card_visa", "pm_card_bypassPending", "pm_card_createDispute", "pm_card_refundFail")
ACTS = st.one_of(
    st.tuples(st.just("pay"), st.sampled_from(CARDS), st.integers(50, 500_00)),
    st.tuples(st.just("refund"), st.integers(0, 9), st.integers(1, 100)),
    st.tuples(st.just("answer"), st.integers(0, 9), st.sampled_from(("winning_evidence", "losing_evidence"))),
    st.tuples(st.just("payout"), st.integers(0, 9), st.integers(1, 100)),
    st.tuples(st.just("wait"), st.sampled_from(("1h", "1d", "6d", "25d")), st.just(0)),
)


def perform(stripe: Double, act: tuple[str, object, object]) -> None:
    """One act; one that Stripe refuses changes nothing."""
    what, first, second = act
    match what:
        case "pay":
            pay(stripe, str(first), int(str(second)))
        case "wait":
            stripe.wait(str(first))
        case "payout":
            stripe.call("POST", "/v1/payouts", amount=int(str(second)) * 100, currency="usd")
        case "refund":
            if found := stripe.get("/v1/charges", limit=100)["data"]:
                charge = found[int(str(first)) % len(found)]["id"]
                stripe.call("POST", "/v1/refunds", charge=charge, amount=int(str(second)))
        case "answer":
            if found := stripe.get("/v1/disputes", limit=100)["data"]:
                dispute = found[int(str(first)) % len(found)]["id"]
                evidence = {"uncategorized_text": str(second)}
                stripe.call("POST", f"/v1/disputes/{dispute}", evidence=evidence)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, max_size=14), st.sampled_from(("manual", "daily")))
def test_the_balance_is_the_sum_of_its_transactions(
    acts: list[tuple[str, object, object]], payouts: str
) -> None:
    stripe = Double(payouts=payouts)
    for act in acts:
        perform(stripe, act)
    txns = list(stripe.account.all("balance_transaction"))
    shown = stripe.get("/v1/balance")
    for which in ("available", "pending"):
        counted = sum(txn["net"] for txn in txns if txn["status"] == which)
        assert sum(each["amount"] for each in shown[which]) == counted
    assert all(txn["net"] == txn["amount"] - txn["fee"] for txn in txns)
    assert all(stripe.account.find(txn["source"]) is not None for txn in txns)
    for charge in stripe.account.all("charge"):
        refunds = stripe.account.of("refund", charge["id"])
        assert charge["amount_refunded"] == sum(r["amount"] for r in refunds if r["status"] != "failed")
    for payout in stripe.account.all("payout"):
        if payout["automatic"]:
            listed = stripe.get("/v1/balance_transactions", payout=payout["id"], limit=100)["data"]
            assert sum(txn["net"] for txn in listed) == 0
