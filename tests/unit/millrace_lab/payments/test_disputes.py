"""Disputes: what the bank takes, what comes back, and what every step tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millrace_lab.account import Step
from millrace_lab.payments import disputes
from tests.support.double import Body, Double
from tests.unit.millrace_lab.payments.till import balance, pay

OPENED = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
UPDATED, CLOSED = "charge.dispute.updated", "charge.dispute.closed"
REINSTATED = "charge.dispute.funds_reinstated"


def disputed(stripe: Double, card: str = "pm_card_createDispute") -> Body:
    """A charge whose dispute has begun, once its money was available."""
    pay(stripe, card, 30_00)
    stripe.wait("60s")
    (dispute,) = stripe.get("/v1/disputes")["data"]
    return dict(dispute)


def act(stripe: Double, does: Callable[[Step], Body]) -> Body:
    """What a bank does: no operation of Stripe's."""
    step = stripe.account.step(automatic=True)
    done = does(step)
    step.commit()
    return done


def answer(stripe: Double, dispute: Body, text: str) -> Body:
    return stripe.post(f"/v1/disputes/{dispute['id']}", evidence={"uncategorized_text": text})


def test_a_dispute_takes_the_amount_and_a_fee() -> None:
    stripe = Double()
    dispute = disputed(stripe)
    (taken,) = dispute["balance_transactions"]
    assert (taken["amount"], taken["fee"], taken["net"]) == (-30_00, 15_00, -45_00)
    assert (taken["type"], taken["reporting_category"]) == ("adjustment", "dispute")
    assert [(each["amount"], each["description"]) for each in taken["fee_details"]] == [
        (15_00, "Dispute fee")
    ]
    assert (dispute["status"], dispute["reason"], dispute["is_charge_refundable"]) == (
        "needs_response", "fraudulent", False
    )  # fmt: skip
    assert stripe.get(f"/v1/charges/{dispute['charge']}")["disputed"]
    assert stripe.types()[-2:] == OPENED
    assert stripe.refusal("POST", "/v1/refunds", charge=dispute["charge"])["code"] == "charge_disputed"


ENDS = [
    # the evidence, the end, what is told after the dispute was opened, what its transactions come to
    ("winning_evidence", "won", [UPDATED, REINSTATED, CLOSED], [-45_00, 30_00]),
    ("losing_evidence", "lost", [UPDATED, CLOSED], [-45_00]),
]


@pytest.mark.parametrize(("text", "end", "told", "nets"), ENDS)
def test_a_dispute_is_answered_and_decided(text: str, end: str, told: list[str], nets: list[int]) -> None:
    stripe = Double()
    dispute = disputed(stripe)
    mark = stripe.mark()
    ended = answer(stripe, dispute, text)
    assert ended["status"] == end
    assert stripe.types(mark) == told
    assert [txn["net"] for txn in ended["balance_transactions"]] == nets
    updated = stripe.told(UPDATED)[0]
    assert updated.object["status"] == "under_review"
    assert updated.previous == {
        "evidence": {"uncategorized_text": None},
        "evidence_details": {"has_evidence": False, "submission_count": 0},
        "status": "needs_response",
    }
    stripe.wait("70d")
    assert stripe.get(f"/v1/disputes/{dispute['id']}")["status"] == end
    assert balance(stripe) == (30_00 - 1_17 + sum(nets), 0)


def test_money_that_was_won_back_can_be_given_back() -> None:
    stripe = Double()
    dispute = answer(stripe, disputed(stripe), "winning_evidence")
    assert stripe.post("/v1/refunds", charge=dispute["charge"])["amount"] == 30_00


@pytest.mark.parametrize(("outcome", "end"), [("won", "won"), ("lost", "lost"), (None, "lost")])
def test_a_real_answer_takes_sixty_days(outcome: str | None, end: str) -> None:
    stripe = Double()
    dispute = disputed(stripe)
    if outcome:
        stripe.post(f"/v1/disputes/{dispute['id']}", metadata={"lab_outcome": outcome})
    answer(stripe, dispute, "They used it every day.")
    stripe.wait("59d")
    assert stripe.get(f"/v1/disputes/{dispute['id']}")["status"] == "under_review"
    stripe.wait("1d")
    assert stripe.get(f"/v1/disputes/{dispute['id']}")["status"] == end


def test_evidence_can_be_kept_back_and_completed() -> None:
    stripe = Double()
    dispute = disputed(stripe)
    path = f"/v1/disputes/{dispute['id']}"
    draft = stripe.post(path, evidence={"customer_name": "Ada"}, submit="false")
    assert (draft["status"], draft["evidence_details"]["submission_count"]) == ("needs_response", 0)
    done = stripe.post(path, evidence={"service_date": "1 July"})
    assert done["status"] == "under_review"
    assert (done["evidence"]["customer_name"], done["evidence"]["service_date"]) == ("Ada", "1 July")
    assert "no longer" in stripe.refusal("POST", path, evidence={"customer_name": "B"})["message"]
    assert stripe.refusal("POST", path, evidence={"shoe_size": "9"})["status"] == 400


def test_silence_loses_when_the_time_is_up() -> None:
    stripe = Double()
    dispute = disputed(stripe)
    stripe.wait("20d")
    assert stripe.get(f"/v1/disputes/{dispute['id']}")["status"] == "needs_response"
    stripe.wait("1d")
    lost = stripe.get(f"/v1/disputes/{dispute['id']}")
    assert (lost["status"], lost["evidence_details"]["past_due"]) == ("lost", True)
    assert stripe.types()[-1] == CLOSED


def test_a_dispute_can_be_accepted() -> None:
    stripe = Double()
    path = f"/v1/disputes/{disputed(stripe)['id']}/close"
    assert stripe.post(path)["status"] == "lost"
    assert stripe.refusal("POST", path)["status"] == 400


def test_an_inquiry_moves_no_money_and_still_lets_one_refund() -> None:
    stripe = Double()
    inquiry = disputed(stripe, "pm_card_createDisputeInquiry")
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    assert inquiry["payment_method_details"]["card"]["case_type"] == "inquiry"
    assert stripe.types()[-1] == "charge.dispute.created"
    assert stripe.post("/v1/refunds", charge=inquiry["charge"], amount=100)["status"] == "succeeded"
    assert answer(stripe, inquiry, "Here is why.")["status"] == "warning_under_review"
    stripe.wait("120d")
    assert stripe.get(f"/v1/disputes/{inquiry['id']}")["status"] == "warning_closed"
    assert not stripe.told(*OPENED[1:], REINSTATED)
    assert not stripe.get(f"/v1/charges/{inquiry['charge']}")["disputed"]


def test_an_inquiry_that_escalates_takes_the_money_after_all() -> None:
    stripe = Double()
    inquiry = disputed(stripe, "pm_card_createDisputeInquiry")
    mark = stripe.mark()
    escalated = answer(stripe, inquiry, "escalate_inquiry_evidence")
    assert (escalated["status"], [t["net"] for t in escalated["balance_transactions"]]) == (
        "needs_response",
        [-45_00],
    )
    assert stripe.types(mark) == [UPDATED, UPDATED, "charge.dispute.funds_withdrawn"]
    assert stripe.refusal("POST", "/v1/refunds", charge=inquiry["charge"])["code"] == "charge_disputed"
    assert answer(stripe, escalated, "winning_evidence")["status"] == "won"


def test_a_dispute_after_a_partial_refund_is_about_the_rest() -> None:
    stripe = Double()
    charge = pay(stripe, amount=30_00)["latest_charge"]
    stripe.post("/v1/refunds", charge=charge, amount=10_00)
    dispute = act(stripe, lambda step: disputes.open_against(step, charge, reason="subscription_canceled"))
    assert (dispute["amount"], dispute["reason"]) == (20_00, "subscription_canceled")
    assert stripe.post(f"/v1/disputes/{dispute['id']}/close")["status"] == "lost"
    stripe.wait("3d")
    assert balance(stripe) == (30_00 - 1_17 - 10_00 - 20_00 - 15_00, 0)
    assert stripe.get("/v1/disputes", charge=charge)["data"][0]["id"] == dispute["id"]


def test_a_bank_may_dispute_an_amount_of_its_own_but_a_charge_only_once() -> None:
    stripe = Double()
    charge = pay(stripe, amount=30_00)["latest_charge"]
    assert act(stripe, lambda step: disputes.open_against(step, charge, amount=5_00))["amount"] == 5_00
    with pytest.raises(Exception, match="cannot be disputed"):
        act(stripe, lambda step: disputes.open_against(step, charge))


def test_the_fee_of_a_dispute_is_in_the_currency_in_which_the_charge_settled() -> None:
    stripe = Double()
    charge = pay(stripe, amount=3_000, currency="jpy")["latest_charge"]
    dispute = act(stripe, lambda step: disputes.open_against(step, charge))
    (taken,) = dispute["balance_transactions"]
    assert (taken["amount"], taken["fee"], taken["currency"]) == (-3_000, 1_300, "jpy")
