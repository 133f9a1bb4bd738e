"""Checkout: sessions made, paid, declined, authenticated, expired; and what exists afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.millrace_lab.hosted.browser import Body, Customer

COMPLETED = "checkout.session.completed"


def test_a_payment_is_declined_authenticated_and_complete_on_one_intent() -> None:
    ada = Customer()
    session = ada.session("payment", client_reference_id="order 7")
    assert ada.get(session)["payment_intent"] is None
    back = f"/pay/{session}"
    assert ada.pay(session, "pm_card_visa_chargeDeclined") == back
    assert "Your card was declined." in ada.look(session).text
    assert ada.get(session)["status"] == "open"
    assert ada.pay(session, "pm_card_authenticationRequired") == back
    assert ("authenticate", "yes") in ada.look(session).buttons()
    assert ada.press(session, authenticate="yes") == f"https://shop.example/thanks?id={session}"
    done = ada.get(session)
    assert (done["status"], done["payment_status"], done["url"]) == ("complete", "paid", None)
    assert (done["amount_total"], done["client_reference_id"]) == (3000, "order 7")
    assert (done["customer"], done["customer_details"]["email"]) == (None, "ada@example.com")
    assert len(ada.stripe.told("payment_intent.created")) == 1
    assert ada.stripe.told("checkout.session.async_payment_failed") == []
    assert ada.stripe.types()[-3:] == ["payment_intent.succeeded", "charge.succeeded", COMPLETED]


def test_a_failed_authentication_leaves_the_session_open() -> None:
    ada = Customer()
    session = ada.session("payment")
    ada.pay(session, "pm_card_authenticationRequired")
    assert ada.press(session, authenticate="no") == f"/pay/{session}"
    assert "failed authentication" in ada.look(session).text
    assert ada.press(session, authenticate="yes") == "refused: There is nothing to authenticate."
    assert ada.pay(session).startswith("https://shop.example/")


def test_a_subscription_starts_incomplete_and_the_card_that_pays_is_kept() -> None:
    ada = Customer()
    session = ada.session("subscription", subscription_data={"metadata": {"team": "7"}})
    ada.pay(session, "pm_card_visa_chargeDeclined")
    (begun,) = ada.stripe.get("/v1/subscriptions", status="all")["data"]
    assert (begun["status"], ada.get(session)["subscription"]) == ("incomplete", None)
    ada.pay(session)
    done = ada.get(session)
    sub = ada.stripe.get(f"/v1/subscriptions/{done['subscription']}")
    assert (sub["id"], sub["status"], sub["metadata"]) == (begun["id"], "active", {"team": "7"})
    assert (done["payment_status"], done["invoice"], done["amount_total"]) == (
        "paid",
        sub["latest_invoice"],
        2000,
    )
    method = ada.stripe.get(f"/v1/payment_methods/{sub['default_payment_method']}")
    assert (method["customer"], method["billing_details"]["email"]) == (done["customer"], "ada@example.com")
    assert ada.stripe.types()[-1] == COMPLETED
    active = ada.stripe.told("customer.subscription.updated")[-1]
    assert active.previous == {"default_payment_method": None, "status": "incomplete"}


def test_what_recurs_and_what_is_sold_once_share_the_first_invoice() -> None:
    ada = Customer()
    items = [{"price": ada.monthly, "quantity": 1}, {"price": ada.once, "quantity": 2}]
    session = ada.session("subscription", line_items=items)
    ada.pay(session)
    invoice = ada.stripe.get(f"/v1/invoices/{ada.get(session)['invoice']}")
    assert [line["amount"] for line in invoice["lines"]["data"]] == [1000, 3000]
    assert ada.get(session)["amount_total"] == 4000


def test_a_trial_takes_a_card_and_no_money() -> None:
    ada = Customer()
    session = ada.session("subscription", subscription_data={"trial_period_days": 14})
    assert ada.get(session)["amount_total"] == 0
    assert ada.pay(session, "pm_card_visa_chargeDeclined") == "refused: Your card was declined."
    ada.pay(session, "pm_card_authenticationRequired")
    assert ada.stripe.get("/v1/subscriptions", status="all")["data"] == []
    ada.press(session, authenticate="yes")
    done = ada.get(session)
    sub = ada.stripe.get(f"/v1/subscriptions/{done['subscription']}")
    assert (sub["status"], done["payment_status"]) == ("trialing", "no_payment_required")
    assert sub["default_payment_method"] is not None
    assert ada.stripe.told("payment_intent.created") == []


def test_a_trial_may_ask_for_no_card_at_all() -> None:
    ada = Customer()
    data = {"trial_period_days": 14}
    session = ada.session("subscription", subscription_data=data, payment_method_collection="if_required")
    ada.press(session, email="ada@example.com")
    assert ada.get(session)["status"] == "complete"
    insists = ada.session("subscription", subscription_data=data)
    assert ada.press(insists, email="ada@example.com") == "refused: Choose a card."


def test_a_setup_keeps_the_card_of_a_customer() -> None:
    ada = Customer()
    customer = ada.stripe.post("/v1/customers", email="ada@example.com")["id"]
    session = ada.session("setup", customer=customer, currency="usd")
    ada.pay(session)
    done = ada.get(session)
    assert (done["status"], done["payment_status"]) == ("complete", "no_payment_required")
    assert ada.stripe.get(f"/v1/setup_intents/{done['setup_intent']}")["status"] == "succeeded"
    assert len(ada.stripe.get("/v1/payment_methods", customer=customer)["data"]) == 1


CUSTOMERS = """
 mode          asked for                            | customer afterwards
 payment       -                                    | none
 payment       customer_creation=always             | made
 payment       setup_future_usage=off_session       | made
 subscription  -                                    | made
"""


@pytest.mark.parametrize("row", CUSTOMERS.strip().splitlines()[1:])
def test_who_pays_once_stays_a_guest_unless_asked_otherwise(row: str) -> None:
    asked, outcome = (part.split() for part in row.split("|"))
    mode, wish = asked
    name, _, value = wish.partition("=")
    more: Body = {} if wish == "-" else {name: value}
    if name == "setup_future_usage":
        more = {"payment_intent_data": more}
    ada = Customer()
    session = ada.session(mode, **more)
    ada.pay(session, name="Ada", country="DE")
    customer = ada.get(session)["customer"]
    assert (customer is not None) == (outcome == ["made"])
    if customer:
        found = ada.stripe.get(f"/v1/customers/{customer}")
        assert (found["name"], found["email"], found["address"]["country"]) == (
            "Ada",
            "ada@example.com",
            "DE",
        )
        assert [s["id"] for s in ada.stripe.get("/v1/checkout/sessions", customer=customer)["data"]] == [
            session
        ]


def test_a_known_customer_changes_only_where_the_session_says_so() -> None:
    ada = Customer()
    customer = ada.stripe.post("/v1/customers", name="Ada")["id"]
    ada.pay(ada.session("payment", customer=customer), name="A. Lovelace", country="GB")
    assert ada.stripe.get(f"/v1/customers/{customer}")["name"] == "Ada"
    wished = {"name": "auto", "address": "auto"}
    ada.pay(
        ada.session("payment", customer=customer, customer_update=wished), name="A. Lovelace", country="GB"
    )
    changed = ada.stripe.get(f"/v1/customers/{customer}")
    assert (changed["name"], changed["address"]["country"]) == ("A. Lovelace", "GB")


def test_a_discount_is_redeemed_when_it_is_paid_not_when_it_is_offered() -> None:
    ada = Customer()
    coupon = ada.stripe.post("/v1/coupons", percent_off=25, duration="once")["id"]
    session = ada.session("payment", discounts=[{"coupon": coupon}])
    offered = ada.get(session)
    assert (offered["amount_total"], offered["total_details"]["amount_discount"]) == (2250, 750)
    assert ada.stripe.get(f"/v1/coupons/{coupon}")["times_redeemed"] == 0
    ada.pay(session)
    assert ada.stripe.get(f"/v1/coupons/{coupon}")["times_redeemed"] == 1
    (charge,) = ada.stripe.told("charge.succeeded")
    assert charge.object["amount"] == 2250


def test_a_customer_types_a_promotion_code_in() -> None:
    ada = Customer()
    coupon = ada.stripe.post("/v1/coupons", amount_off=500, currency="usd", duration="once")["id"]
    ada.stripe.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": coupon}, code="SUMMER")
    session = ada.session("subscription", allow_promotion_codes=True)
    assert ada.press(session, do="code", promotion_code="WINTER") == "refused: This code is invalid."
    ada.press(session, do="code", promotion_code="summer ")
    assert "Discount" in ada.look(session).text
    ada.pay(session)
    done = ada.get(session)
    assert (done["amount_total"], done["total_details"]["amount_discount"]) == (1500, 500)
    closed = ada.session("payment")
    assert "not accepted" in ada.press(closed, do="code", promotion_code="SUMMER")


def test_automatic_tax_waits_for_the_place() -> None:
    ada = Customer()
    session = ada.session("payment", automatic_tax={"enabled": True})
    before = ada.get(session)
    assert (before["automatic_tax"]["status"], before["amount_total"]) == ("requires_location_inputs", 3000)
    assert "Choose your country" in ada.pay(session)
    ada.pay(session, country="DE")
    done = ada.get(session)
    assert done["automatic_tax"]["status"] == "complete"
    assert (done["amount_total"], done["total_details"]["amount_tax"]) == (3570, 570)  # 19 % of 3000


def test_automatic_tax_wants_to_know_where_a_customer_is() -> None:
    ada = Customer()
    asked: Body = {"customer": ada.stripe.post("/v1/customers")["id"], "automatic_tax": {"enabled": True}}
    items = [{"price": ada.monthly, "quantity": 1}]
    asked |= {"mode": "subscription", "line_items": items, "success_url": "https://shop.example/"}
    refused = ada.stripe.refusal("POST", "/v1/checkout/sessions", **asked)
    assert refused["code"] == "customer_tax_location_invalid"
    session = ada.stripe.post("/v1/checkout/sessions", **asked, customer_update={"address": "auto"})["id"]
    ada.pay(session, country="DE")
    assert ada.get(session)["amount_total"] == 1190


def test_own_tax_rates_are_on_top_or_within() -> None:
    ada = Customer()
    rates = {"display_name": "VAT", "percentage": 20}
    on_top = ada.stripe.post("/v1/tax_rates", **rates, inclusive=False)["id"]
    within = ada.stripe.post("/v1/tax_rates", **rates, inclusive=True)["id"]
    items = [{"price": ada.once, "quantity": 1, "tax_rates": [rate]} for rate in (on_top, within)]
    session = ada.get(ada.session("payment", line_items=items))
    lines = ada.stripe.get(f"/v1/checkout/sessions/{session['id']}/line_items")["data"]
    # 20 % of 1500 is 300 on top; of 1500 / 1.2 it is 250 within
    assert [(line["amount_tax"], line["amount_total"]) for line in lines] == [(300, 1800), (250, 1500)]
    assert session["amount_total"] == 3300


DEBITS = """
 debit                                | after some days          payment_status
 pm_usBankAccount_success             | async_payment_succeeded  paid
 pm_usBankAccount_insufficientFunds   | async_payment_failed     unpaid
"""


@pytest.mark.parametrize("row", DEBITS.strip().splitlines()[1:])
def test_a_bank_debit_completes_at_once_and_is_paid_or_fails_days_later(row: str) -> None:
    debit, outcome = row.split("|")
    later, paid = outcome.split()
    ada = Customer()
    session = ada.session("payment")
    ada.pay(session, debit.strip())
    assert ada.get(session)["payment_status"] == "unpaid"
    ada.stripe.wait("10d")
    told = [each for each in ada.stripe.types() if each.startswith("checkout.")]
    assert told == [COMPLETED, f"checkout.session.{later}"]
    assert ada.get(session)["payment_status"] == paid


def test_a_subscription_takes_no_debit_on_the_page() -> None:
    ada = Customer()
    session = ada.session("subscription")
    assert "pm_usBankAccount_success" not in str(ada.look(session).tags)
    assert "offered" in ada.pay(session, "pm_usBankAccount_success")


# Its time.


def test_a_session_expires_after_a_day_or_when_the_shop_says_so() -> None:
    ada = Customer()
    left, taken = ada.session("payment"), ada.session("payment")
    assert ada.stripe.post(f"/v1/checkout/sessions/{taken}/expire")["status"] == "expired"
    assert (
        "Only Checkout Sessions"
        in ada.stripe.refusal("POST", f"/v1/checkout/sessions/{taken}/expire")["message"]
    )
    ada.stripe.wait("23h 59m")
    assert ada.get(left)["status"] == "open"
    ada.stripe.wait("1m")
    assert [told.object["id"] for told in ada.stripe.told("checkout.session.expired")] == [taken, left]
    assert ada.get(left)["url"] is None
    assert "no longer open" in ada.pay(left)
    assert "Nothing was charged" in ada.look(left).text


def test_a_complete_session_does_not_expire() -> None:
    ada = Customer()
    session = ada.session("payment")
    ada.pay(session)
    ada.stripe.wait("2d")
    assert ada.stripe.told("checkout.session.expired") == []
    assert "no longer open" in ada.pay(session)


REFUSED: list[tuple[str, Body, str]] = [
    ("payment", {"success_url": "javascript:alert(1)"}, "success_url"),
    ("payment", {"line_items": []}, "line_items"),
    ("payment", {"expires_at": 1}, "expires_at"),
    ("payment", {"subscription_data": {"description": "x"}}, "subscription_data"),
    ("payment", {"discounts": [{"coupon": "none"}]}, "discounts[0][coupon]"),
    ("subscription", {"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
]


@pytest.mark.parametrize(("mode", "more", "param"), REFUSED)
def test_a_session_that_could_not_be_paid_is_refused(mode: str, more: Body, param: str) -> None:
    ada = Customer()
    price = ada.monthly if mode == "subscription" else ada.once
    asked: dict[str, Any] = {"mode": mode, "success_url": "https://shop.example/", **more}
    asked.setdefault("line_items", [{"price": price, "quantity": 1}])
    assert ada.stripe.refusal("POST", "/v1/checkout/sessions", **asked)["param"] == param


@pytest.mark.parametrize(("mode", "kind"), [("payment", "monthly"), ("subscription", "once")])
def test_prices_have_to_fit_the_mode(mode: str, kind: str) -> None:
    ada = Customer()
    items = [{"price": getattr(ada, kind), "quantity": 1}]
    refused = ada.stripe.refusal(
        "POST", "/v1/checkout/sessions", mode=mode, success_url="https://shop.example/", line_items=items
    )
    assert "recurring price" in refused["message"]


def test_price_data_makes_a_price_of_its_own() -> None:
    ada = Customer()
    data = {"currency": "eur", "unit_amount": 700, "product_data": {"name": "A poster"}}
    session = ada.get(ada.session("payment", line_items=[{"price_data": data, "quantity": 3}]))
    assert (session["currency"], session["amount_total"]) == ("eur", 2100)
    (item,) = ada.stripe.get(f"/v1/checkout/sessions/{session['id']}/line_items")["data"]
    assert (item["description"], item["price"]["active"]) == ("A poster", False)


ABSENT: list[Body] = [
    {"ui_mode": "elements"},
    {"shipping_options": []},
    {"payment_intent_data": {"transfer_group": "x"}},
]


@pytest.mark.parametrize("more", ABSENT)
def test_what_stripe_has_and_the_double_has_not_answers_501(more: Body) -> None:
    ada = Customer()
    asked: Body = {"mode": "payment", "success_url": "https://shop.example/", **more}
    asked["line_items"] = [{"price": ada.once, "quantity": 1}]
    assert ada.stripe.refusal("POST", "/v1/checkout/sessions", **asked)["status"] == 501


def test_sessions_are_listed_by_what_they_became() -> None:
    ada = Customer()
    paid, open_ = ada.session("payment"), ada.session("payment", metadata={"a": "1"})
    ada.pay(paid)
    listed = ada.stripe.get("/v1/checkout/sessions", status="open")["data"]
    assert [session["id"] for session in listed] == [open_]
    intent = ada.get(paid)["payment_intent"]
    by_intent = ada.stripe.get("/v1/checkout/sessions", payment_intent=intent, expand=["data.line_items"])[
        "data"
    ]
    assert [(s["id"], s["line_items"]["data"][0]["quantity"]) for s in by_intent] == [(paid, 2)]
    mark = ada.stripe.mark()
    assert ada.stripe.post(f"/v1/checkout/sessions/{open_}", metadata={"b": "2"})["metadata"] == {
        "a": "1",
        "b": "2",
    }
    assert ada.stripe.types(mark) == []
