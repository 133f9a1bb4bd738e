"""Payment methods: made, saved, changed, replaced and taken away as at Stripe."""

from __future__ import annotations

import pytest

from millrace_lab.payments import instruments
from tests.support.double import Double
from tests.unit.millrace_lab.payments.till import customer, declined, pay, saved

CARD = {"exp_month": "12", "exp_year": "2030"}


def test_a_card_is_kept_without_its_number() -> None:
    stripe = Double()
    number = "4000056655665556"
    card = stripe.post("/v1/payment_methods", type="card", card={"number": number, "cvc": "123", **CARD})
    assert (card["card"]["brand"], card["card"]["funding"], card["card"]["last4"]) == (
        "visa",
        "debit",
        "5556",
    )
    again = stripe.post("/v1/payment_methods", type="card", card={"number": number, **CARD})
    assert again["id"] != card["id"]
    assert again["card"]["fingerprint"] == card["card"]["fingerprint"]
    kept = [str(body) for body in stripe.account.objects.values()]
    assert not any(number in body or "123'" in body for body in kept)


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ({"number": "4242424242424241", **CARD}, "incorrect_number"),
        ({"number": "4929939187355598", **CARD}, "card_declined"),  # well formed, and no test card
        ({"number": "4242424242424242", "exp_month": "13", "exp_year": "2030"}, "invalid_expiry_month"),
        ({"number": "4242424242424242", "exp_month": "6", "exp_year": "2026"}, "invalid_expiry_year"),
    ],
)
def test_a_card_that_cannot_be_one_is_refused(card: dict[str, str], code: str) -> None:
    error = Double().refusal("POST", "/v1/payment_methods", type="card", card=card)
    assert (error["status"], error["type"], error["code"]) == (402, "card_error", code)


def test_the_month_of_its_date_is_the_last_in_which_a_card_is_good() -> None:
    stripe = Double()  # it is 1 July 2026
    card = {"number": "4242424242424242", "exp_month": "7", "exp_year": "2026"}
    method = stripe.post("/v1/payment_methods", type="card", card=card)
    buyer = customer(stripe)
    stripe.post(f"/v1/payment_methods/{method['id']}/attach", customer=buyer)
    stripe.wait("30d 86399s")
    assert pay(stripe, method["id"], customer=buyer)["status"] == "succeeded"
    stripe.wait("1s")
    assert declined(stripe, method["id"], customer=buyer)["code"] == "expired_card"
    stripe.post(f"/v1/payment_methods/{method['id']}", card={"exp_month": "7", "exp_year": "2029"})
    assert pay(stripe, method["id"], customer=buyer)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("date", "code"),
    [
        ({"exp_month": "13"}, "invalid_expiry_month"),
        ({"exp_year": "2025"}, "invalid_expiry_year"),
        ({"exp_year": "20300"}, "invalid_expiry_year"),
    ],
)
def test_a_new_date_of_a_card_is_as_strict_as_its_first(date: dict[str, str], code: str) -> None:
    stripe = Double()
    method = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    stripe.post(f"/v1/payment_methods/{method}/attach", customer=customer(stripe))
    assert stripe.refusal("POST", f"/v1/payment_methods/{method}", card=date)["code"] == code


@pytest.mark.parametrize("id_", [*instruments.CARD_BY_ID, *instruments.ACCOUNT_BY_ID])
def test_every_documented_test_id_makes_a_payment_method_of_its_own(id_: str) -> None:
    stripe = Double()
    buyer = customer(stripe)
    card = instruments.CARD_BY_ID.get(id_)
    path = f"/v1/payment_methods/{id_}/attach"
    if card is not None and not card.saves:
        error = stripe.refusal("POST", path, customer=buyer)
        assert (error["status"], error["decline_code"]) == (402, card.bank)
        return
    first, second = stripe.post(path, customer=buyer), stripe.post(path, customer=buyer)
    assert first["id"] != second["id"]
    assert first["customer"] == buyer


def test_the_table_of_test_cards_names_each_card_once_and_well_formed() -> None:
    numbers = [card.number for card in instruments.CARDS]
    names = [name for card in instruments.CARDS for name in card.names]
    assert len(set(numbers)) == len(numbers)
    assert len(set(names)) == len(names)
    assert all(instruments.well_formed(number) for number in numbers)


def test_saving_changing_and_taking_away_are_told() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer)["id"]
    start = stripe.mark()
    stripe.post(
        f"/v1/payment_methods/{method}", billing_details={"address": {"city": "Porto"}}, metadata={"a": "1"}
    )
    stripe.post(f"/v1/payment_methods/{method}/detach")
    changed, detached = stripe.told(since=start)
    assert (changed.type, detached.type) == ("payment_method.updated", "payment_method.detached")
    assert changed.previous == {"billing_details": {"address": {"city": None}}, "metadata": {}}
    assert detached.previous == {"customer": buyer}
    assert stripe.get(f"/v1/payment_methods/{method}")["customer"] is None
    assert (
        "may not be used again"
        in stripe.refusal("POST", f"/v1/payment_methods/{method}/attach", customer=buyer)["message"]
    )


def test_a_method_belongs_to_one_customer() -> None:
    stripe = Double()
    first, second = customer(stripe), customer(stripe)
    method = saved(stripe, first)["id"]
    assert stripe.post(f"/v1/payment_methods/{method}/attach", customer=first)["customer"] == first
    assert stripe.types().count("payment_method.attached") == 1
    assert (
        "already been attached"
        in stripe.refusal("POST", f"/v1/payment_methods/{method}/attach", customer=second)["message"]
    )
    assert "belongs to another" in declined(stripe, method, customer=second)["message"]


def test_methods_are_listed_by_customer_and_type() -> None:
    stripe = Double()
    buyer = customer(stripe)
    card = saved(stripe, buyer)["id"]
    bank = stripe.post("/v1/payment_methods/pm_success_de/attach", customer=buyer)["id"]
    gone = saved(stripe, buyer)["id"]
    stripe.post(f"/v1/payment_methods/{gone}/detach")
    of_customer = f"/v1/customers/{buyer}/payment_methods"
    assert [each["id"] for each in stripe.get(of_customer)["data"]] == [bank, card]
    assert [each["id"] for each in stripe.get(of_customer, type="card")["data"]] == [card]
    assert [
        e["id"] for e in stripe.get("/v1/payment_methods", customer=buyer, type="sepa_debit")["data"]
    ] == [bank]
    assert stripe.get(f"{of_customer}/{card}")["id"] == card
    assert stripe.refusal("GET", f"{of_customer}/{gone}")["status"] == 404


def test_the_card_network_replaces_a_card_that_expires() -> None:
    stripe = Double()
    buyer = customer(stripe)
    card = {"number": "4242424242424242", "exp_month": "7", "exp_year": "2026"}
    method = stripe.post("/v1/payment_methods", type="card", card=card, metadata={"lab_renews": "true"})
    stripe.post(f"/v1/payment_methods/{method['id']}/attach", customer=buyer)
    stripe.wait("32d")
    (told,) = stripe.told("payment_method.automatically_updated")
    assert told.previous == {"card": {"exp_year": 2026}}
    assert told.request["id"] is None
    assert pay(stripe, method["id"], customer=buyer)["status"] == "succeeded"


def test_a_deleted_customers_methods_are_spent() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer)["id"]
    stripe.delete(f"/v1/customers/{buyer}")
    assert stripe.get(f"/v1/payment_methods/{method}")["customer"] is None
    assert "may not be used again" in declined(stripe, method)["message"]


@pytest.mark.parametrize(
    ("metadata", "param"),
    [
        ({"lab_bank": "ok,no_such_word"}, "metadata[lab_bank]"),
        ({"lab_settles_after": "soon"}, "metadata[lab_settles_after]"),
        ({"lab_settles_in": "xyz"}, "metadata[lab_settles_in]"),
    ],
)
def test_a_key_of_ours_that_means_nothing_is_refused_when_it_is_written(
    metadata: dict[str, str], param: str
) -> None:
    stripe = Double()
    card = {"token": "tok_visa"}
    assert (
        stripe.refusal("POST", "/v1/payment_methods", type="card", card=card, metadata=metadata)["param"]
        == param
    )
    method = saved(stripe, customer(stripe))["id"]
    assert stripe.refusal("POST", f"/v1/payment_methods/{method}", metadata=metadata)["param"] == param


def test_types_that_the_double_does_not_have_say_so() -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/payment_methods", type="paypal")["status"] == 501
    assert stripe.refusal("POST", "/v1/payment_methods", type="card", paypal={})["status"] == 501
    assert stripe.refusal("GET", "/v1/payment_records/pr_1")["status"] == 501
    assert stripe.refusal("POST", "/v1/payment_methods", type="card")["param"] == "card"
    assert stripe.refusal("GET", "/v1/payment_methods")["param"] == "customer"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/payment_methods/pm_0"),
        ("POST", "/v1/payment_methods/pm_0/attach"),
        ("POST", "/v1/payment_methods/pm_0/detach"),
        ("GET", "/v1/payment_intents/pi_0"),
        ("POST", "/v1/payment_intents/pi_0/confirm"),
        ("POST", "/v1/payment_intents/pi_0/capture"),
        ("POST", "/v1/payment_intents/pi_0/cancel"),
        ("GET", "/v1/setup_intents/seti_0"),
        ("GET", "/v1/charges/ch_0"),
        ("GET", "/v1/refunds/re_0"),
        ("GET", "/v1/disputes/du_0"),
        ("POST", "/v1/disputes/du_0/close"),
        ("GET", "/v1/payouts/po_0"),
        ("GET", "/v1/balance_transactions/txn_0"),
    ],
)
def test_what_is_not_there_is_not_found(method: str, path: str) -> None:
    stripe = Double()
    params = {"customer": customer(stripe)} if path.endswith("attach") else {}
    error = stripe.refusal(method, path, **params)
    assert (error["status"], error["code"]) == (404, "resource_missing")


def test_a_test_card_can_end_in_other_digits() -> None:
    stripe = Double()
    buyer = customer(stripe)
    one, same, other = (saved(stripe, buyer, last4=digits)["card"] for digits in ("1117", "1117", "0005"))
    assert (one["last4"], other["last4"]) == ("1117", "0005")
    assert one["fingerprint"] == same["fingerprint"] != other["fingerprint"]
    metadata = {"lab_last4": "17"}
    refused = stripe.refusal(
        "POST", "/v1/payment_methods", type="card", card={"token": "tok_visa"}, metadata=metadata
    )
    assert refused["param"] == "metadata[lab_last4]"
