"""Payment intents: what each test card does to a payment, step by step."""

from __future__ import annotations

import pytest

from millrace_lab.payments import charging, intents
from millrace_lab.payments.declines import DECLINES
from tests.support.double import Body, Double
from tests.unit.millrace_lab.payments.till import charge_of, customer, declined, pay, saved

SUCCEEDED = ["payment_intent.created", "payment_intent.succeeded", "charge.succeeded"]
DECLINED = ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]
ASKED = ["payment_intent.created", "payment_intent.requires_action"]


def authenticate(stripe: Double, intent: Body, succeeds: bool = True) -> Body:
    """The customer's act, which Stripe has no operation for."""
    step = stripe.account.step(automatic=True)
    done = charging.authenticate(step, intent["id"], succeeds)
    step.commit()
    return done


def for_invoice(stripe: Double, buyer: str, amount: int = 20_00) -> str:
    """The intent of an invoice, as the invoices room makes it."""
    step = stripe.account.step(automatic=True)
    made = intents.for_invoice(step, invoice="in_1", customer=buyer, amount=amount, currency="usd")
    step.commit()
    return str(made["id"])


# A payment, from end to end.


def test_a_payment_that_succeeds() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer)["id"]
    start = stripe.mark()
    intent = pay(stripe, method, customer=buyer, description="A book", metadata={"order": "6"})
    charge = charge_of(stripe, intent)
    assert stripe.types(start) == SUCCEEDED
    assert (intent["status"], intent["amount_received"], intent["payment_method"]) == (
        "succeeded",
        10_00,
        method,
    )
    assert (charge["status"], charge["paid"], charge["captured"], charge["amount_captured"]) == (
        "succeeded", True, True, 10_00
    )  # fmt: skip
    assert (charge["customer"], charge["description"], charge["metadata"]) == (
        buyer,
        "A book",
        {"order": "6"},
    )
    assert charge["payment_method_details"]["card"]["last4"] == "4242"
    assert charge["outcome"]["network_status"] == "approved_by_network"


def test_a_payment_in_three_requests() -> None:
    stripe = Double()
    intent = stripe.post("/v1/payment_intents", amount=500, currency="EUR")
    path = f"/v1/payment_intents/{intent['id']}"
    assert (intent["status"], intent["currency"]) == ("requires_payment_method", "eur")
    assert "missing a payment method" in stripe.refusal("POST", f"{path}/confirm")["message"]
    intent = stripe.post(path, amount=700, payment_method="pm_card_visa", metadata={"a": "1"})
    assert (intent["status"], intent["amount"]) == ("requires_confirmation", 700)
    assert stripe.types() == ["payment_intent.created"]  # an update is not told
    assert stripe.post(f"{path}/confirm")["amount_received"] == 700
    error = stripe.refusal("POST", f"{path}/confirm")
    assert (error["status"], error["code"]) == (400, "payment_intent_unexpected_state")
    assert stripe.refusal("POST", path, amount=1)["code"] == "payment_intent_unexpected_state"


def test_the_client_knows_its_secret() -> None:
    stripe = Double()
    intent = stripe.post("/v1/payment_intents", amount=500, currency="usd")
    path = f"/v1/payment_intents/{intent['id']}"
    assert stripe.get(path, client_secret=intent["client_secret"])["id"] == intent["id"]
    assert stripe.refusal("GET", path, client_secret="pi_secret_other")["param"] == "client_secret"


# Declines.

_BY_CARD = [
    # the card, code, decline_code, advice_code, network_decline_code
    ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline", "try_again_later", "05"),
    (
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
        "try_again_later",
        "51",
    ),
    ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card", "do_not_try_again", "41"),
    ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card", "do_not_try_again", "43"),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card", "confirm_card_data", "54"),
    ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc", "confirm_card_data", "N7"),
    (
        "pm_card_chargeDeclinedProcessingError",
        "processing_error",
        "processing_error",
        "try_again_later",
        None,
    ),
]


@pytest.mark.parametrize(("card", "code", "decline_code", "advice", "network"), _BY_CARD)
def test_a_declining_card(card: str, code: str, decline_code: str, advice: str, network: str | None) -> None:
    stripe = Double()
    error = declined(stripe, card)
    assert (error["status"], error["type"], error["code"]) == (402, "card_error", code)
    assert (error["decline_code"], error["advice_code"]) == (decline_code, advice)
    assert error.get("network_decline_code") == network
    assert stripe.types() == DECLINED  # what was done before the refusal stays
    intent = stripe.get(f"/v1/payment_intents/{error['payment_intent']['id']}")
    assert (intent["status"], intent["payment_method"]) == ("requires_payment_method", None)
    assert intent["last_payment_error"]["decline_code"] == decline_code
    assert intent["last_payment_error"]["charge"] == intent["latest_charge"] == error["charge"]
    charge = charge_of(stripe, intent)
    assert (charge["status"], charge["paid"], charge["failure_code"]) == ("failed", False, code)
    assert (charge["outcome"]["reason"], charge["outcome"]["type"]) == (decline_code, "issuer_declined")
    assert not any(key.startswith("_") for key in error["payment_method"])


def test_what_stripe_itself_blocks_never_reaches_the_network() -> None:
    stripe = Double()
    intent = declined(stripe, "pm_card_radarBlock")["payment_intent"]
    outcome = charge_of(stripe, intent)["outcome"]
    assert (outcome["type"], outcome["network_status"], outcome["risk_level"]) == (
        "blocked", "not_sent_to_network", "highest"
    )  # fmt: skip


@pytest.mark.parametrize("code", sorted(DECLINES))
def test_every_decline_can_be_asked_for_and_can_be_followed_by_a_payment(code: str) -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, bank=f"{code},ok")["id"]
    assert declined(stripe, method, customer=buyer, off_session="true")["decline_code"] == code
    assert pay(stripe, method, customer=buyer)["last_payment_error"] is None


def test_the_bank_says_one_word_an_attempt_and_the_last_one_stays() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, bank="ok, lost_card")["id"]
    intent = pay(stripe, method, customer=buyer)
    for _ in range(2):
        assert declined(stripe, method, customer=buyer)["decline_code"] == "lost_card"
    stripe.post(f"/v1/payment_methods/{method}", metadata={"lab_bank": "ok,expired_card"})
    assert pay(stripe, method, customer=buyer)["status"] == intent["status"] == "succeeded"
    assert declined(stripe, method, customer=buyer)["code"] == "expired_card"


def test_a_declined_intent_is_tried_again_with_another_card() -> None:
    stripe = Double()
    intent = declined(stripe, "pm_card_visa_chargeDeclined")["payment_intent"]
    intent = stripe.post(f"/v1/payment_intents/{intent['id']}/confirm", payment_method="pm_card_mastercard")
    assert (intent["status"], intent["last_payment_error"]) == ("succeeded", None)
    charges = stripe.get("/v1/charges", payment_intent=intent["id"])["data"]
    assert [charge["status"] for charge in charges] == ["succeeded", "failed"]


# Authentication.


@pytest.mark.parametrize(
    ("card", "on_session", "off_session"),
    [
        ("tok_visa", "succeeded", "succeeded"),
        ("tok_authenticationRequired", "requires_action", "authentication_required"),
        ("tok_authenticationRequiredOnSetup", "requires_action", "authentication_required"),
        ("tok_authenticationRequiredSetupForOffSession", "requires_action", "succeeded"),
        ("tok_threeDSecure2Required", "requires_action", "authentication_required"),
    ],
)
def test_when_a_card_asks_its_customer(card: str, on_session: str, off_session: str) -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, card)["id"]
    assert pay(stripe, method, customer=buyer)["status"] == on_session
    if off_session == "succeeded":
        assert pay(stripe, method, customer=buyer, off_session="true")["status"] == off_session
    else:
        error = declined(stripe, method, customer=buyer, off_session="true")
        assert (error["code"], error["decline_code"]) == (off_session, off_session)


def test_the_customer_is_asked_and_agrees() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_card_authenticationRequired", return_url="https://shop.example/back")
    assert stripe.types() == ASKED
    assert intent["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"
    assert intent["latest_charge"] is None
    done = authenticate(stripe, intent)
    assert (done["status"], done["next_action"]) == ("succeeded", None)
    assert stripe.types() == [*ASKED, "payment_intent.succeeded", "charge.succeeded"]


def test_the_customer_is_asked_and_does_not_agree() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_card_authenticationRequired")
    assert intent["next_action"]["type"] == "use_stripe_sdk"
    done = authenticate(stripe, intent, succeeds=False)
    assert done["status"] == "requires_payment_method"
    assert done["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert stripe.types() == [*ASKED, "payment_intent.payment_failed"]  # the bank was never asked: no charge
    assert stripe.get("/v1/charges")["data"] == []


def test_the_customer_agrees_and_the_bank_does_not() -> None:
    stripe = Double()
    intent = pay(stripe, "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")
    assert authenticate(stripe, intent)["last_payment_error"]["decline_code"] == "insufficient_funds"
    assert stripe.types() == [*ASKED, "charge.failed", "payment_intent.payment_failed"]


def test_a_card_that_was_set_up_on_session_is_charged_off_session() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, "tok_authenticationRequiredOnSetup")["id"]
    authenticate(stripe, pay(stripe, method, customer=buyer, setup_future_usage="off_session"))
    assert pay(stripe, method, customer=buyer, off_session="true")["status"] == "succeeded"
    assert pay(stripe, method, customer=buyer)["status"] == "requires_action"


def test_an_attempt_by_metadata_asks_once() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, bank="authentication_required,ok")["id"]
    assert authenticate(stripe, pay(stripe, method, customer=buyer))["status"] == "succeeded"
    assert pay(stripe, method, customer=buyer)["status"] == "succeeded"


# Saving with a payment; using twice.


def test_a_payment_for_later_use_saves_its_method() -> None:
    stripe = Double()
    buyer = customer(stripe)
    intent = pay(stripe, customer=buyer, setup_future_usage="off_session")
    assert stripe.get(f"/v1/payment_methods/{intent['payment_method']}")["customer"] == buyer
    assert stripe.types()[1:] == [SUCCEEDED[0], "payment_method.attached", *SUCCEEDED[1:]]


def test_a_method_that_was_not_saved_pays_once() -> None:
    stripe = Double()
    method = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    pay(stripe, method)
    assert "may not be used again" in declined(stripe, method)["message"]


# Holding and taking.


def test_money_is_held_and_a_part_of_it_taken() -> None:
    stripe = Double()
    intent = pay(stripe, capture_method="manual")
    assert (intent["status"], intent["amount_capturable"], intent["amount_received"]) == (
        "requires_capture",
        10_00,
        0,
    )
    held = charge_of(stripe, intent)
    assert (held["status"], held["captured"], held["balance_transaction"]) == ("succeeded", False, None)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert stripe.refusal("POST", path, amount_to_capture=10_01)["code"] == "amount_too_large"
    intent = stripe.post(path, amount_to_capture=7_00)
    charge = charge_of(stripe, intent)
    assert (intent["status"], intent["amount_capturable"], intent["amount_received"]) == (
        "succeeded",
        0,
        7_00,
    )
    assert (charge["captured"], charge["amount_captured"], charge["amount_refunded"]) == (True, 7_00, 3_00)
    assert stripe.get(f"/v1/balance_transactions/{charge['balance_transaction']}")["amount"] == 7_00
    assert stripe.types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]
    stripe.wait("8d")
    assert stripe.get(f"/v1/payment_intents/{intent['id']}")["status"] == "succeeded"


def test_a_hold_that_nobody_takes_is_let_go_after_seven_days() -> None:
    stripe = Double()
    intent = pay(stripe, capture_method="manual")
    stripe.wait("6d 86399s")
    assert stripe.get(f"/v1/payment_intents/{intent['id']}")["status"] == "requires_capture"
    stripe.wait("1s")
    intent = stripe.get(f"/v1/payment_intents/{intent['id']}")
    assert (intent["status"], intent["cancellation_reason"]) == ("canceled", "automatic")
    assert stripe.types()[-2:] == ["charge.expired", "payment_intent.canceled"]
    assert charge_of(stripe, intent)["refunded"]


def test_a_canceled_hold_is_let_go_at_once() -> None:
    stripe = Double()
    intent = pay(stripe, capture_method="manual")
    path = f"/v1/payment_intents/{intent['id']}/cancel"
    assert stripe.post(path, cancellation_reason="abandoned")["cancellation_reason"] == "abandoned"
    assert stripe.types()[-2:] == ["charge.refunded", "payment_intent.canceled"]
    mark = stripe.mark()
    stripe.wait("10d")
    assert stripe.types(mark) == []
    assert stripe.refusal("POST", path)["code"] == "payment_intent_unexpected_state"


# What belongs to an invoice.


def test_an_intent_names_its_invoice_once_it_was_tried_or_canceled() -> None:
    stripe = Double()
    buyer = customer(stripe)
    method = saved(stripe, buyer, bank="generic_decline,ok")["id"]
    paid, canceled = for_invoice(stripe, buyer), for_invoice(stripe, buyer)
    for id_ in (paid, canceled):
        assert stripe.get(f"/v1/payment_intents/{id_}")["payment_details"]["order_reference"] is None
    path = f"/v1/payment_intents/{paid}"
    failed = stripe.refusal("POST", f"{path}/confirm", payment_method=method)["payment_intent"]
    assert failed["payment_details"]["order_reference"] == "in_1"
    assert (
        stripe.post(f"{path}/confirm", payment_method=method)["payment_details"]["order_reference"] == "in_1"
    )
    step = stripe.account.step(automatic=True)
    intents.cancel(step, canceled, "void_invoice")
    step.commit()
    intent = stripe.told("payment_intent.canceled")[0].object
    assert (intent["cancellation_reason"], intent["payment_details"]["order_reference"]) == (
        "void_invoice",
        "in_1",
    )


def test_the_intent_of_an_invoice_is_not_canceled_from_outside() -> None:
    stripe = Double()
    id_ = for_invoice(stripe, customer(stripe))
    assert "Void the invoice" in stripe.refusal("POST", f"/v1/payment_intents/{id_}/cancel")["message"]


# Guards.


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"amount": 0, "currency": "usd"}, "amount"),
        ({"amount": 100, "currency": "zzz"}, "currency"),
        ({"amount": 1_234, "currency": "kwd"}, "amount"),
        ({"amount": 100, "currency": "usd", "customer": "cus_0"}, "customer"),
        ({"amount": 100, "currency": "usd", "off_session": "true"}, "off_session"),
        ({"amount": 100, "currency": "usd", "payment_method": "pm_0"}, "payment_method"),
        ({"currency": "usd"}, "amount"),
    ],
)
def test_what_cannot_be_a_payment_is_refused_and_leaves_nothing(params: Body, param: str) -> None:
    stripe = Double()
    assert stripe.refusal("POST", "/v1/payment_intents", **params)["param"] == param
    assert stripe.types() == []
    assert stripe.get("/v1/payment_intents")["data"] == []


def test_intents_and_charges_are_listed_by_customer() -> None:
    stripe = Double()
    first, second = customer(stripe), customer(stripe)
    mine = [pay(stripe, customer=first)["id"] for _ in range(2)]
    pay(stripe, customer=second)
    assert [each["id"] for each in stripe.get("/v1/payment_intents", customer=first)["data"]] == mine[::-1]
    assert len(stripe.get("/v1/charges", customer=second)["data"]) == 1
    assert len(stripe.get("/v1/charges", created={"gt": str(stripe.now)})["data"]) == 0


def test_intents_and_charges_are_searched() -> None:
    stripe = Double()
    intent = pay(stripe, amount=7_77, metadata={"order": "6"})
    pay(stripe)
    for query in ("amount:777", 'metadata["order"]:"6" AND currency:"usd"'):
        found = stripe.get("/v1/payment_intents/search", query=query)["data"]
        assert [each["id"] for each in found] == [intent["id"]]
    charges = stripe.get("/v1/charges/search", query="amount<1000")["data"]
    assert [each["id"] for each in charges] == [intent["latest_charge"]]


def test_a_charge_takes_a_description_and_a_users_suspicion() -> None:
    stripe = Double()
    charge = charge_of(stripe, pay(stripe))["id"]
    stripe.post(f"/v1/charges/{charge}", description="For May", fraud_details={"user_report": "fraudulent"})
    (told,) = stripe.told("charge.updated")
    assert told.previous == {"description": None, "fraud_details": {}}
    mark = stripe.mark()
    stripe.post(f"/v1/charges/{charge}", description="For May")
    assert stripe.types(mark) == []  # nothing changed, nothing is told
