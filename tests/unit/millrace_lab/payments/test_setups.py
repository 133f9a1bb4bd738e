"""Setup intents: a card is made ready, asks its customer, or declines."""

from __future__ import annotations

import pytest

from millrace_lab.payments import setups
from tests.support.double import Body, Double
from tests.unit.millrace_lab.payments.till import customer, pay


def authenticate(stripe: Double, setup: Body, succeeds: bool = True) -> Body:
    step = stripe.account.step(automatic=True)
    done = setups.authenticate(step, setup["id"], succeeds)
    step.commit()
    return done


def test_a_setup_saves_a_card() -> None:
    stripe = Double()
    buyer = customer(stripe)
    setup = stripe.post("/v1/setup_intents", customer=buyer)
    assert (setup["status"], setup["usage"]) == ("requires_payment_method", "off_session")
    setup = stripe.post(f"/v1/setup_intents/{setup['id']}/confirm", payment_method="pm_card_visa")
    assert setup["status"] == "succeeded"
    assert stripe.get(f"/v1/payment_methods/{setup['payment_method']}")["customer"] == buyer
    assert stripe.types()[1:] == ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]


def test_a_card_that_was_set_up_is_charged_off_session() -> None:
    stripe = Double()
    buyer = customer(stripe)
    setup = stripe.post(
        "/v1/setup_intents",
        customer=buyer,
        payment_method="pm_card_authenticationRequiredOnSetup",
        confirm="true",
    )
    assert (setup["status"], setup["next_action"]["type"]) == ("requires_action", "use_stripe_sdk")
    done = authenticate(stripe, setup)
    assert (done["status"], done["next_action"]) == ("succeeded", None)
    assert pay(stripe, done["payment_method"], customer=buyer, off_session="true")["status"] == "succeeded"
    assert stripe.types()[1:4] == [
        "setup_intent.created",
        "setup_intent.requires_action",
        "payment_method.attached",
    ]


def test_a_customer_who_does_not_agree() -> None:
    stripe = Double()
    setup = stripe.post(
        "/v1/setup_intents",
        payment_method="pm_card_authenticationRequired",
        confirm="true",
        return_url="https://shop.example/back",
    )
    assert setup["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"
    failed = authenticate(stripe, setup, succeeds=False)
    assert (failed["status"], failed["payment_method"]) == ("requires_payment_method", None)
    assert failed["last_setup_error"]["code"] == "setup_intent_authentication_failure"
    assert stripe.types()[-1] == "setup_intent.setup_failed"


@pytest.mark.parametrize(
    ("card", "code"),
    [("pm_card_visa_chargeDeclined", "card_declined"), ("pm_card_chargeDeclinedExpiredCard", "expired_card")],
)
def test_a_card_that_declines_is_not_saved(card: str, code: str) -> None:
    stripe = Double()
    error = stripe.refusal("POST", "/v1/setup_intents", payment_method=card, confirm="true")
    assert (error["status"], error["code"]) == (402, code)
    kept = stripe.get(f"/v1/setup_intents/{error['setup_intent']['id']}")
    assert kept["last_setup_error"]["code"] == code
    assert stripe.types() == ["setup_intent.created", "setup_intent.setup_failed"]


def test_a_setup_is_changed_canceled_and_then_done_with() -> None:
    stripe = Double()
    setup = stripe.post("/v1/setup_intents", metadata={"a": "1"})
    path = f"/v1/setup_intents/{setup['id']}"
    assert stripe.post(path, description="Card on file", metadata={"a": ""})["metadata"] == {}
    assert "missing a payment method" in stripe.refusal("POST", f"{path}/confirm")["message"]
    assert stripe.post(f"{path}/cancel", cancellation_reason="abandoned")["status"] == "canceled"
    for act in ("confirm", "cancel"):
        assert stripe.refusal("POST", f"{path}/{act}")["code"] == "setup_intent_unexpected_state"
    assert stripe.refusal("GET", path, client_secret="other")["param"] == "client_secret"
    assert stripe.types() == ["setup_intent.created", "setup_intent.canceled"]


def test_setups_are_listed_by_customer() -> None:
    stripe = Double()
    buyer = customer(stripe)
    mine = stripe.post("/v1/setup_intents", customer=buyer)["id"]
    stripe.post("/v1/setup_intents")
    assert [each["id"] for each in stripe.get("/v1/setup_intents", customer=buyer)["data"]] == [mine]
    assert len(stripe.get("/v1/setup_intents")["data"]) == 2
