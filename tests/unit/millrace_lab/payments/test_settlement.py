"""Money reaches the Stripe balance: fees, currencies, the wait, and what the balance says."""

from __future__ import annotations

import pytest

from millrace_lab.payments import ledgering
from tests.support.double import Double
from tests.unit.millrace_lab.payments.till import balance, charge_of, customer, moved, pay, saved

FEES = [
    # amount, currency, fee: 2.9 % and 30 cents, and the like
    (10_00, "usd", 59),
    (9_99, "usd", 59),  # 28.971 + 30
    (50, "usd", 31),
    (20, "usd", 20),  # never more than all of it
    (10_00, "eur", 40),
    (10_00, "gbp", 35),
    (1_000, "jpy", 36),
    (10_000, "kwd", 390),
    (10_00, "nok", 59),  # a currency without a row of its own
]


@pytest.mark.parametrize(("amount", "currency", "fee"), FEES)
def test_the_fee_of_a_charge(amount: int, currency: str, fee: int) -> None:
    stripe = Double()
    charge = charge_of(stripe, pay(stripe, amount=amount, currency=currency))
    assert moved(stripe, charge["balance_transaction"]) == (amount, fee, amount - fee, currency)
    txn = stripe.get(f"/v1/balance_transactions/{charge['balance_transaction']}")
    assert [(each["amount"], each["type"]) for each in txn["fee_details"]] == [(fee, "stripe_fee")]
    assert (txn["type"], txn["reporting_category"], txn["source"]) == ("charge", "charge", charge["id"])


def test_money_waits_two_midnights_before_it_is_available() -> None:
    stripe = Double()
    stripe.wait("15h")
    txn = charge_of(stripe, pay(stripe))["balance_transaction"]
    assert balance(stripe) == (0, 9_41)
    stripe.wait("32h")  # 23:00 of the next day
    assert balance(stripe) == (0, 9_41)
    assert stripe.get(f"/v1/balance_transactions/{txn}")["status"] == "pending"
    pay(stripe, amount=20_00)
    stripe.wait("1h")
    assert balance(stripe) == (9_41, 19_12)
    assert stripe.get(f"/v1/balance_transactions/{txn}")["status"] == "available"
    (told,) = stripe.told("balance.available")
    assert told.object["available"] == [{"amount": 9_41, "currency": "usd", "source_types": {"card": 9_41}}]


def test_many_payments_of_one_day_become_available_together() -> None:
    stripe = Double()
    for _ in range(3):
        pay(stripe)
        stripe.wait("1h")
    stripe.wait("3d")
    assert balance(stripe) == (3 * 9_41, 0)
    assert stripe.types().count("balance.available") == 1


def test_a_card_that_bypasses_the_wait() -> None:
    stripe = Double()
    pay(stripe, "pm_card_bypassPending")
    assert balance(stripe) == (9_41, 0)


def test_an_asynchronous_capture_has_its_transaction_a_little_later() -> None:
    stripe = Double()
    charge = charge_of(stripe, pay(stripe, capture_method="automatic_async"))
    assert charge["balance_transaction"] is None
    assert balance(stripe) == (0, 0)
    stripe.wait("60s")
    (told,) = stripe.told("charge.updated")
    assert told.previous == {"balance_transaction": None}
    assert (
        told.object["balance_transaction"]
        == charge_of(stripe, {"latest_charge": charge["id"]})["balance_transaction"]
    )
    assert balance(stripe) == (0, 9_41)


def test_asynchronous_is_what_stripe_does_unless_told_otherwise() -> None:
    stripe = Double()
    intent = stripe.post("/v1/payment_intents", amount=100, currency="usd")
    assert intent["capture_method"] == "automatic_async"


def test_a_payment_method_can_make_its_transactions_late() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, settles_after="3600")["id"]
    charge = charge_of(stripe, pay(stripe, method, customer=buyer))
    stripe.wait("3599s")
    assert stripe.get(f"/v1/charges/{charge['id']}")["balance_transaction"] is None
    stripe.wait("1s")
    assert stripe.get(f"/v1/charges/{charge['id']}")["balance_transaction"] is not None


@pytest.mark.parametrize(
    ("amount", "currency", "settles_in", "settled"),
    [
        (100_00, "eur", "usd", 109_79),  # at 1.097894
        (100_00, "usd", "eur", 93_40),
        (10_000, "jpy", "usd", 67_84),  # yen have no decimals
        (100_00, "usd", "jpy", 15_114),
        (10_000, "kwd", "usd", 32_93),  # dinars have three
    ],
)
def test_a_charge_settles_in_another_currency(
    amount: int, currency: str, settles_in: str, settled: int
) -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, settles_in=settles_in)["id"]
    charge = charge_of(stripe, pay(stripe, method, amount, customer=buyer, currency=currency))
    assert (charge["amount"], charge["currency"]) == (amount, currency)
    fee = ledgering.fee_on(settled, settles_in)
    assert moved(stripe, charge["balance_transaction"]) == (settled, fee, settled - fee, settles_in)


def test_a_refund_meets_a_rate_that_has_moved() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, settles_in="usd")["id"]
    charge = charge_of(stripe, pay(stripe, method, 100_00, customer=buyer, currency="eur"))
    stripe.wait("9d")
    refund = stripe.post("/v1/refunds", charge=charge["id"])
    went, back = (
        stripe.get(f"/v1/balance_transactions/{each['balance_transaction']}") for each in (charge, refund)
    )
    assert (went["amount"], back["amount"]) == (109_79, -107_91)
    assert went["exchange_rate"] != back["exchange_rate"]
    assert (back["fee"], back["fee_details"]) == (0, [])


def test_transactions_are_listed_by_type_source_currency_and_time() -> None:
    stripe = Double()
    first = charge_of(stripe, pay(stripe))
    stripe.wait("1h")
    pay(stripe, currency="eur")
    refund = stripe.post("/v1/refunds", charge=first["id"], amount=100)

    def listed(**by: str) -> list[str]:
        return [each["source"] for each in stripe.get("/v1/balance_transactions", **by)["data"]]

    assert listed(type="refund") == [refund["id"]]
    assert listed(source=first["id"]) == [first["id"]]
    assert len(listed(currency="eur")) == 1
    assert len(listed(type="charge")) == 2
    assert listed(source=first["id"], type="refund") == []
    assert len(stripe.get("/v1/balance_transactions", created={"gte": str(stripe.now)})["data"]) == 2


def test_no_event_tells_of_a_transaction() -> None:
    stripe = Double()
    charge = charge_of(stripe, pay(stripe))
    stripe.post("/v1/refunds", charge=charge["id"])
    assert not [type_ for type_ in stripe.types() if type_.startswith("balance_transaction")]
    assert stripe.told("charge.succeeded")[0].object["balance_transaction"] == charge["balance_transaction"]
    whole = stripe.get(f"/v1/charges/{charge['id']}", expand=["balance_transaction"])["balance_transaction"]
    assert whole["net"] == 9_41


def test_the_time_of_a_test_clock_is_the_time_of_its_money() -> None:
    stripe = Double()
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=str(stripe.now))["id"]
    buyer = customer(stripe, test_clock=clock)
    method = saved(stripe, buyer)["id"]
    charge = charge_of(stripe, pay(stripe, method, customer=buyer))
    pay(stripe)  # on the account's own clock, and due at the same midnight
    stripe.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=str(stripe.now + 3 * 86400))
    assert stripe.get(f"/v1/balance_transactions/{charge['balance_transaction']}")["status"] == "available"
    assert balance(stripe) == (9_41, 9_41)  # the other one still has to wait
    late = charge_of(stripe, pay(stripe))
    assert stripe.get(f"/v1/balance_transactions/{late['balance_transaction']}")["created"] == stripe.now
