"""Customer balances: a negative amount is a credit, and each transaction says where it left the balance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_lab.customers import balance, numbering, paying
from tests.support.double import Double

Body = dict[str, Any]
MOVES = """
 amount  currency  why                      | balance  invoice_credit_balance
 -500    usd       adjustment               | -500     usd 500
  200    usd       applied_to_invoice       | -300     usd 300
 -1000   jpy       adjustment               | -300     usd 300, jpy 1000
  300    usd       applied_to_invoice       | 0        usd 0, jpy 1000
  45     usd       invoice_too_small        | 45       usd -45, jpy 1000
"""


def customer(stripe: Double, **given: Any) -> str:
    return str(stripe.post("/v1/customers", **given)["id"])


def rows(table: str) -> list[list[str]]:
    return [line.replace("|", "").split(maxsplit=4) for line in table.strip().splitlines()[1:]]


def test_moves_of_a_balance() -> None:
    stripe = Double()
    ada = customer(stripe)
    for amount, currency, why, expected, credit in rows(MOVES):
        step = stripe.account.step()
        moved = balance.move(step, ada, int(amount), currency, why)
        step.commit()
        shown = stripe.get(f"/v1/customers/{ada}", expand=["invoice_credit_balance"])
        assert (shown["currency"], shown["balance"]) == ("usd", int(expected))
        credits = ", ".join(f"{each} {cents}" for each, cents in shown["invoice_credit_balance"].items())
        assert credits == credit
        kept = stripe.get(f"/v1/customers/{ada}/balance_transactions/{moved['id']}")
        assert (kept["type"], kept["ending_balance"]) == (
            why,
            balance.of(stripe.account.objects[ada], currency),
        )


def test_a_move_is_told_by_the_customer_alone() -> None:
    stripe = Double()
    ada = customer(stripe)
    stripe.post(f"/v1/customers/{ada}/balance_transactions", amount="-500", currency="usd")
    assert stripe.types() == ["customer.created", "customer.updated"]
    assert stripe.told("customer.updated")[0].previous == {"balance": 0, "currency": None}


def test_a_balance_that_is_set_moves_by_the_difference() -> None:
    stripe = Double()
    ada = customer(stripe, balance="-500")
    assert stripe.post(f"/v1/customers/{ada}", balance="-200")["balance"] == -200
    stripe.post(f"/v1/customers/{ada}", balance="-200")
    listed = stripe.get(f"/v1/customers/{ada}/balance_transactions")["data"]
    assert [(each["amount"], each["ending_balance"]) for each in listed] == [(300, -200), (-500, -500)]


@given(
    st.lists(
        st.tuples(st.integers(-(10**6), 10**6).filter(bool), st.sampled_from(["usd", "eur"])), max_size=12
    )
)
def test_ending_balances_are_running_sums(moves: list[tuple[int, str]]) -> None:
    stripe = Double()
    ada = customer(stripe)
    step = stripe.account.step()
    sums = {"usd": 0, "eur": 0}
    for amount, currency in moves:
        sums[currency] += amount
        assert balance.move(step, ada, amount, currency, "adjustment")["ending_balance"] == sums[currency]
    kept = step.get("customer", ada)
    assert kept["balance"] == sums.get(kept["currency"] or "usd")


REFUSED = [({"amount": "0", "currency": "usd"}, "amount"), ({"amount": "5", "currency": "xxx"}, "currency")]


@pytest.mark.parametrize(("given_", "param"), REFUSED)
def test_what_is_no_transaction_is_refused(given_: Body, param: str) -> None:
    stripe = Double()
    ada = customer(stripe)
    assert stripe.refusal("POST", f"/v1/customers/{ada}/balance_transactions", **given_)["param"] == param


def test_a_transaction_belongs_to_its_customer_and_keeps_its_amount() -> None:
    stripe = Double()
    ada, bob = customer(stripe), customer(stripe)
    made = stripe.post(f"/v1/customers/{ada}/balance_transactions", amount="-5", currency="usd")["id"]
    assert stripe.refusal("GET", f"/v1/customers/{bob}/balance_transactions/{made}")["status"] == 404
    at = f"/v1/customers/{ada}/balance_transactions/{made}"
    assert stripe.post(at, description="Sorry", metadata={"a": "1"})["description"] == "Sorry"
    assert stripe.refusal("POST", at, amount="7")["code"] == "parameter_unknown"
    step = stripe.account.step()
    applied = balance.move(step, ada, 5, "usd", "applied_to_invoice", invoice="in_1")
    step.commit()
    listed = stripe.get(f"/v1/customers/{ada}/balance_transactions", invoice="in_1")["data"]
    assert [each["id"] for each in listed] == [applied["id"]]


def test_numbers_of_invoices_are_the_customers_own() -> None:
    stripe = Double()
    ada, bob = customer(stripe, invoice_prefix="ADA"), customer(stripe, invoice_prefix="BOB")
    step = stripe.account.step()
    assert [numbering.next_number(step, each) for each in (ada, ada, bob)] == [
        "ADA-0001",
        "ADA-0002",
        "BOB-0001",
    ]
    step.change(bob, next_invoice_sequence=12345)
    assert numbering.next_number(step, bob) == "BOB-12345"


CHAIN = [
    # the subscription has a method   the customer has one   → whose is charged
    (True, True, "subscription"),
    (True, False, "subscription"),
    (False, True, "customer"),
    (False, False, None),
]


@pytest.mark.parametrize(("own", "default", "charged"), CHAIN)
def test_with_what_a_customer_pays(own: bool, default: bool, charged: str | None) -> None:
    stripe = Double()
    ada = customer(stripe)
    cards: dict[str | None, str | None] = {None: None}
    for whose in ("subscription", "customer"):
        card = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
        stripe.post(f"/v1/payment_methods/{card}/attach", customer=ada)
        cards[whose] = card
    if default:
        stripe.post(f"/v1/customers/{ada}", invoice_settings={"default_payment_method": cards["customer"]})
    step = stripe.account.step()
    subscription = {"default_payment_method": cards["subscription"] if own else None}
    assert paying.method_for(step, ada, subscription) == cards[charged]
    assert paying.method_for(step, ada, None) == (cards["customer"] if default else None)


def test_a_subscriptions_method_that_was_detached_is_passed_over() -> None:
    stripe = Double()
    ada = customer(
        stripe, payment_method="pm_card_visa", invoice_settings={"default_payment_method": "pm_card_visa"}
    )
    gone = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    stripe.post(f"/v1/payment_methods/{gone}/attach", customer=ada)
    stripe.post(f"/v1/payment_methods/{gone}/detach")
    kept = stripe.get(f"/v1/customers/{ada}")["invoice_settings"]["default_payment_method"]
    assert paying.method_for(stripe.account.step(), ada, {"default_payment_method": gone}) == kept


def test_a_detached_method_is_nobodys_default() -> None:
    stripe = Double()
    ada = customer(stripe)
    card = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    default = {"default_payment_method": card}
    refused = stripe.refusal("POST", f"/v1/customers/{ada}", invoice_settings=default)
    assert "must be attached" in refused["message"]
    stripe.post(f"/v1/payment_methods/{card}/attach", customer=ada)
    stripe.post(f"/v1/customers/{ada}", invoice_settings=default)
    stripe.post(f"/v1/payment_methods/{card}/detach")
    assert stripe.get(f"/v1/customers/{ada}")["invoice_settings"]["default_payment_method"] is None
    assert stripe.told("customer.updated")[-1].previous == {
        "invoice_settings": {"default_payment_method": card}
    }
