"""Bank debits: processing for days, and then one of two ends."""

from __future__ import annotations

import pytest

from tests.support.double import Double
from tests.unit.millrace_lab.payments.till import charge_of, customer, declined, moved, pay

SENT = ["payment_intent.created", "charge.pending", "payment_intent.processing"]
DEBITS = [
    # the account, currency, days it takes, what is told in the end, the failure
    ("pm_usBankAccount_success", "usd", 4, ["payment_intent.succeeded", "charge.succeeded"], None),
    ("pm_success_de", "eur", 5, ["payment_intent.succeeded", "charge.succeeded"], None),
    (
        "pm_usBankAccount_accountClosed",
        "usd",
        4,
        ["charge.failed", "payment_intent.payment_failed"],
        "account_closed",
    ),
    (
        "pm_usBankAccount_noAccount",
        "usd",
        4,
        ["charge.failed", "payment_intent.payment_failed"],
        "no_account",
    ),
    ("pm_failed_at", "eur", 5, ["charge.failed", "payment_intent.payment_failed"], "insufficient_funds"),
]


@pytest.mark.parametrize(("account", "currency", "days", "told", "failure"), DEBITS)
def test_a_debit(account: str, currency: str, days: int, told: list[str], failure: str | None) -> None:
    stripe = Double()
    intent = pay(stripe, account, currency=currency)
    assert (intent["status"], charge_of(stripe, intent)["status"]) == ("processing", "pending")
    assert stripe.types() == SENT
    assert intent["payment_method_types"] == [
        "card",
        charge_of(stripe, intent)["payment_method_details"]["type"],
    ]
    stripe.wait(f"{days - 1}d 86399s")
    assert stripe.types() == SENT
    stripe.wait("1s")
    assert stripe.types() == [*SENT, *told]
    charge = charge_of(stripe, intent)
    intent = stripe.get(f"/v1/payment_intents/{intent['id']}")
    assert charge["failure_code"] == failure
    assert intent["status"] == ("requires_payment_method" if failure else "succeeded")
    if failure:
        assert (intent["last_payment_error"]["code"], charge["balance_transaction"]) == (failure, None)
    else:
        assert (charge["paid"], charge["captured"], charge["amount_captured"]) == (True, True, 10_00)
        assert moved(stripe, charge["balance_transaction"])[0] == 10_00


def test_a_debit_moves_the_balance_as_a_payment() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_success_de", currency="eur")
    stripe.wait("5d")
    refund = stripe.post("/v1/refunds", payment_intent=intent["id"])
    types = [(t["type"], t["reporting_category"]) for t in stripe.get("/v1/balance_transactions")["data"]]
    assert types == [("payment_refund", "refund"), ("payment", "charge")]
    assert (intent["latest_charge"][:3], refund["id"][:4]) == ("py_", "pyr_")
    assert charge_of(stripe, intent)["payment_method_details"]["sepa_debit"]["last4"] == "3000"


def test_a_debit_that_never_ends_can_be_stopped() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_usBankAccount_processing")
    stripe.wait("60d")
    path = f"/v1/payment_intents/{intent['id']}"
    assert stripe.get(path)["status"] == "processing"
    assert stripe.post(f"{path}/cancel")["status"] == "canceled"
    assert charge_of(stripe, intent)["status"] == "failed"


def test_a_debit_that_was_stopped_in_time_takes_nothing() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_usBankAccount_success")
    stripe.post(f"/v1/payment_intents/{intent['id']}/cancel")
    mark = stripe.mark()
    stripe.wait("10d")
    assert stripe.types(mark) == []


def test_a_debit_that_went_through_can_still_be_disputed() -> None:
    stripe = Double()
    pay(stripe, "pm_usBankAccount_dispute")
    stripe.wait("4d 60s")
    (dispute,) = stripe.get("/v1/disputes")["data"]
    assert (dispute["reason"], dispute["status"]) == ("debit_not_authorized", "needs_response")
    assert "payment_method_details" not in dispute


def test_a_pending_debit_cannot_be_refunded_and_a_currency_has_its_debits() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_usBankAccount_success")
    assert stripe.refusal("POST", "/v1/refunds", payment_intent=intent["id"])["status"] == 400
    assert "currency eur" in declined(stripe, "pm_usBankAccount_success", currency="eur")["message"]
    assert "currency usd" in declined(stripe, "pm_success_de")["message"]


def test_accounts_are_kept_without_their_numbers() -> None:
    stripe = Double()
    buyer = customer(stripe)
    iban = "DE89370400440532013000"
    method = stripe.post("/v1/payment_methods", type="sepa_debit", sepa_debit={"iban": iban})
    stripe.post(f"/v1/payment_methods/{method['id']}/attach", customer=buyer)
    assert (method["sepa_debit"]["last4"], method["sepa_debit"]["country"]) == ("3000", "DE")
    account = {"account_number": "000123456789", "routing_number": "110000000", "account_type": "savings"}
    ach = stripe.post("/v1/payment_methods", type="us_bank_account", us_bank_account=account)
    assert (ach["us_bank_account"]["last4"], ach["us_bank_account"]["account_type"]) == ("6789", "savings")
    elsewhere = {**account, "routing_number": "021000021"}
    error = stripe.refusal("POST", "/v1/payment_methods", type="us_bank_account", us_bank_account=elsewhere)
    assert error["param"] == "us_bank_account[routing_number]"
    kept = str(stripe.account.objects)
    assert iban not in kept
    assert account["account_number"] not in kept
    error = stripe.refusal("POST", "/v1/payment_methods", type="sepa_debit", sepa_debit={"iban": "FR1"})
    assert error["param"] == "sepa_debit[iban]"
