"""How an invoice ends: voided, written off, paid outside Stripe, paid in parts, paid too much."""

from __future__ import annotations

import pytest

from millrace_lab.api import Request
from millrace_lab.invoices import closing
from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop

#  status          act                   allowed  afterwards
MACHINE = [
    ("draft", "finalize", "open"),
    ("draft", "void", None),
    ("draft", "mark_uncollectible", None),
    ("draft", "pay", "paid"),
    ("open", "finalize", None),
    ("open", "void", "void"),
    ("open", "mark_uncollectible", "uncollectible"),
    ("open", "pay", "paid"),
    ("uncollectible", "void", "void"),
    ("uncollectible", "mark_uncollectible", None),
    ("uncollectible", "finalize", None),
    ("uncollectible", "pay", "paid"),
    ("paid", "void", None),
    ("paid", "mark_uncollectible", None),
    ("paid", "finalize", None),
    ("paid", "pay", None),
    ("void", "void", None),
    ("void", "mark_uncollectible", None),
    ("void", "finalize", None),
    ("void", "pay", None),
]
WAY = {
    "draft": (),
    "open": ("finalize",),
    "uncollectible": ("finalize", "mark_uncollectible"),
    "paid": ("pay",),
    "void": ("finalize", "void"),
}


@pytest.mark.parametrize(("status", "act", "after"), MACHINE)
def test_the_statuses_go_one_way(status: str, act: str, after: str | None) -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000)
    for each in WAY[status]:
        stripe.post(f"/v1/invoices/{id_}/{each}")
    assert shop.invoice(stripe, id_)["status"] == status
    reply = stripe.call("POST", f"/v1/invoices/{id_}/{act}")
    assert reply.status == (400 if after is None else 200)
    assert shop.invoice(stripe, id_)["status"] == (after or status)


def test_voiding_releases_the_payment_and_gives_the_balance_back() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    stripe.post(f"/v1/customers/{buyer}/balance_transactions", amount=-300, currency="usd")
    opened = shop.opened(stripe, buyer, 1000)
    began = stripe.mark()
    void = stripe.post(f"/v1/invoices/{opened['id']}/void")
    assert void["status_transitions"]["voided_at"] == stripe.now
    assert stripe.types(began) == [
        "payment_intent.canceled",
        "customer.updated",
        "invoice.updated",
        "invoice.voided",
    ]
    assert stripe.get(f"/v1/customers/{buyer}")["balance"] == -300
    payment = stripe.get("/v1/invoice_payments", invoice=opened["id"])["data"][0]
    assert payment["status"] == "canceled"
    stripe.wait("30d")
    assert stripe.types(began)[-1] == "invoice.voided"


def test_written_off_by_hand_says_who_forgave() -> None:
    stripe = Double()
    id_ = shop.opened(stripe, shop.customer(stripe), 1000)["id"]
    began = stripe.mark()
    gone = stripe.post(f"/v1/invoices/{id_}/mark_uncollectible")
    assert gone["status_details"] == {"uncollectible": {"reason": "user_forgiven"}}
    assert shop.parts(gone, "amount_remaining", "auto_advance") == (1000, False)
    assert stripe.types(began) == ["invoice.updated", "invoice.marked_uncollectible"]


@pytest.mark.parametrize("way", ["open", "uncollectible", "draft"])
def test_paid_outside_stripe_there_is_no_payment_that_succeeded(way: str) -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000)
    for act in WAY[way]:
        stripe.post(f"/v1/invoices/{id_}/{act}")
    began = stripe.mark()
    paid = stripe.post(f"/v1/invoices/{id_}/pay", paid_out_of_band=True)
    assert shop.parts(paid, "status", "amount_paid", "amount_paid_off_stripe", "attempt_count") == (
        "paid",
        1000,
        1000,
        0,
    )
    assert stripe.types(began)[-3:] == ["payment_intent.canceled", "invoice.updated", "invoice.paid"]
    assert not stripe.told("charge.succeeded", "invoice.payment_succeeded", "invoice_payment.paid")
    old = stripe.api.call(Request("GET", f"/v1/invoices/{id_}", {}, key="sk_test_lab", version="2024-06-20"))
    assert shop.parts(old.body, "paid", "paid_out_of_band") == (True, True)


def intent(stripe: Double, buyer: str, amount: int, *, confirm: bool = True) -> str:
    card = shop.new_card(stripe, buyer)
    made = stripe.post(
        "/v1/payment_intents", customer=buyer, amount=amount, currency="usd", payment_method=card
    )
    if confirm:
        stripe.post(f"/v1/payment_intents/{made['id']}/confirm")
    id_: str = made["id"]
    return id_


def test_two_payments_pay_one_invoice_which_is_paid_once() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000)["id"]
    first, second = intent(stripe, buyer, 400), intent(stripe, buyer, 600, confirm=False)
    began = stripe.mark()
    half = stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=first)
    assert shop.parts(half, "status", "amount_paid", "amount_remaining") == ("open", 400, 600)
    assert stripe.types(began) == ["invoice_payment.paid", "invoice.updated"]
    payments = stripe.get("/v1/invoice_payments", invoice=id_)["data"]
    assert [shop.parts(each, "is_default", "status", "amount_requested") for each in payments] == [
        (False, "paid", 400),
        (True, "open", 600),
    ]
    stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=second)
    began = stripe.mark()
    stripe.post(f"/v1/payment_intents/{second}/confirm")
    assert stripe.types(began) == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "invoice_payment.paid",
        "payment_intent.canceled",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    whole = shop.invoice(stripe, id_, expand=["payments"])
    assert shop.parts(whole, "status", "amount_paid", "attempt_count") == ("paid", 1000, 0)
    assert sorted(each["status"] for each in whole["payments"]["data"]) == ["canceled", "paid", "paid"]


def test_what_was_paid_in_part_cannot_be_voided() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000, auto_advance=True)["id"]
    stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=intent(stripe, buyer, 400))
    assert "partially paid" in stripe.refusal("POST", f"/v1/invoices/{id_}/void")["message"]
    step = stripe.account.step()
    closing.void(step, id_)
    step.commit()
    assert shop.parts(shop.invoice(stripe, id_), "status", "auto_advance") == ("open", False)


def test_what_is_paid_too_much_is_credited_to_the_customer() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000)["id"]
    paid = stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=intent(stripe, buyer, 1500))
    assert shop.parts(paid, "status", "amount_paid", "amount_overpaid") == ("paid", 1000, 500)
    assert stripe.get(f"/v1/customers/{buyer}")["balance"] == -500
    assert stripe.types()[-1] == "invoice.overpaid"


def test_an_attached_intent_that_is_canceled_will_not_pay() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000)["id"]
    attached = intent(stripe, buyer, 400, confirm=False)
    stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=attached)
    stripe.post(f"/v1/payment_intents/{attached}/cancel")
    payments = stripe.get("/v1/invoice_payments", invoice=id_)["data"]
    assert [shop.parts(each, "is_default", "status") for each in payments] == [
        (False, "canceled"),
        (True, "open"),
    ]
    assert payments[0]["status_transitions"]["canceled_at"] == stripe.now


def test_payments_are_found_by_their_intent_and_name_it() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    invoice = shop.paid(stripe, buyer, 1000)
    shop.paid(stripe, buyer, 2000)
    payment = stripe.get("/v1/invoice_payments", invoice=invoice["id"])["data"][0]
    pi = payment["payment"]["payment_intent"]
    found = stripe.get("/v1/invoice_payments", payment={"type": "payment_intent", "payment_intent": pi})
    assert [each["id"] for each in found["data"]] == [payment["id"]]
    assert stripe.get(f"/v1/invoice_payments/{payment['id']}")["amount_paid"] == 1000
    assert stripe.told("invoice_payment.paid")[0].object["status_transitions"]["paid_at"] == stripe.now


@pytest.mark.parametrize(
    ("other", "currency", "says"), [(True, "usd", "customer"), (False, "eur", "currency")]
)
def test_an_intent_of_someone_else_or_in_other_money_is_not_attached(
    other: bool, currency: str, says: str
) -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000, currency=currency)["id"]
    theirs = intent(stripe, shop.customer(stripe) if other else buyer, 400)
    refused = stripe.refusal("POST", f"/v1/invoices/{id_}/attach_payment", payment_intent=theirs)
    assert says in refused["message"]


def test_an_invoice_does_not_carry_its_payments_unless_asked() -> None:
    stripe = Double()
    invoice = shop.opened(stripe, shop.customer(stripe), 1000)
    assert "payments" not in invoice
    asked = shop.invoice(stripe, invoice["id"], expand=["payments", "confirmation_secret"])
    assert asked["payments"]["data"][0]["amount_requested"] == 1000
    assert asked["confirmation_secret"]["type"] == "payment_intent"
