"""Cash balances: what customers sent by bank transfer."""

from __future__ import annotations

import pytest

from millrace_lab.customers import cash
from tests.support.double import Double


def test_a_transfer_arrives_and_is_there_to_be_used() -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers")["id"]
    assert stripe.get(f"/v1/customers/{ada}/cash_balance")["available"] is None
    for amount in ("5000", "700"):
        stripe.post(
            f"/v1/test_helpers/customers/{ada}/fund_cash_balance",
            amount=amount,
            currency="eur",
            reference="INV-7",
        )
    assert stripe.get(f"/v1/customers/{ada}/cash_balance")["available"] == {"eur": 5700}
    assert stripe.types()[1:3] == [
        "customer_cash_balance_transaction.created",
        "cash_balance.funds_available",
    ]
    assert stripe.told("cash_balance.funds_available")[0].object["available"] == {"eur": 5000}
    listed = stripe.get(f"/v1/customers/{ada}/cash_balance_transactions")["data"]
    assert [(each["net_amount"], each["ending_balance"]) for each in listed] == [(700, 5700), (5000, 5000)]
    one = stripe.get(f"/v1/customers/{ada}/cash_balance_transactions/{listed[0]['id']}")
    assert one["funded"]["bank_transfer"] == {"reference": "INV-7", "type": "eu_bank_transfer"}


@pytest.mark.parametrize(
    ("currency", "kind"),
    [("usd", "us_bank_transfer"), ("gbp", "gb_bank_transfer"), ("jpy", "jp_bank_transfer")],
)
def test_the_kind_of_a_transfer_follows_from_its_currency(currency: str, kind: str) -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers")["id"]
    funded = stripe.post(f"/v1/test_helpers/customers/{ada}/fund_cash_balance", amount="1", currency=currency)
    assert funded["funded"]["bank_transfer"]["type"] == kind


def test_what_is_taken_from_a_cash_balance_leaves_the_rest() -> None:
    stripe = Double()
    ada, bob = (stripe.post("/v1/customers")["id"] for _ in range(2))
    stripe.post(f"/v1/test_helpers/customers/{ada}/fund_cash_balance", amount="5000", currency="usd")
    step = stripe.account.step()
    taken = cash.move(
        step, ada, -5000, "usd", "applied_to_payment", applied_to_payment={"payment_intent": "pi_1"}
    )
    step.commit()
    assert taken["ending_balance"] == 0
    assert stripe.get(f"/v1/customers/{ada}/cash_balance")["available"] is None
    assert (
        stripe.refusal("GET", f"/v1/customers/{bob}/cash_balance_transactions/{taken['id']}")["status"] == 404
    )


def test_reconciliation_is_the_merchants_until_it_is_set() -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers", cash_balance={"settings": {"reconciliation_mode": "manual"}})["id"]
    manual = stripe.get(f"/v1/customers/{ada}", expand=["cash_balance"])["cash_balance"]["settings"]
    assert manual == {"reconciliation_mode": "manual", "using_merchant_default": False}
    mode = {"reconciliation_mode": "merchant_default"}
    back = stripe.post(f"/v1/customers/{ada}/cash_balance", settings=mode)["settings"]
    assert back == {"reconciliation_mode": "automatic", "using_merchant_default": True}


def test_nothing_is_no_transfer() -> None:
    stripe = Double()
    ada = stripe.post("/v1/customers")["id"]
    refused = stripe.refusal(
        "POST", f"/v1/test_helpers/customers/{ada}/fund_cash_balance", amount="0", currency="usd"
    )
    assert refused["param"] == "amount"
