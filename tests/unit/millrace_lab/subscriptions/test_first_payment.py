"""What becomes of a payment that fails when a subscription starts or changes: four behaviours."""

from __future__ import annotations

import pytest

from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

NEVER = "insufficient_funds"


def test_a_first_payment_is_told_in_stripes_order() -> None:
    shop = Shop()
    buyer = shop.customer()
    mark = shop.mark()
    shop.subscribe(buyer, shop.small, payment_settings={"save_default_payment_method": "on_subscription"})
    assert shop.types(mark) == [
        "customer.updated",
        "customer.subscription.created",
        "invoice.created",
        "payment_intent.created",
        "invoice.finalized",
        "invoice.updated",
        "payment_intent.succeeded",
        "charge.succeeded",
        "invoice_payment.paid",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]
    assert shop.told("customer.updated", since=mark)[0].previous == {"currency": None}
    assert shop.told()[-1].previous == {"default_payment_method": None, "status": "incomplete"}


BEHAVIOURS = [
    # behaviour              the bank       status         invoice   tried
    ("allow_incomplete", NEVER, "incomplete", "open", True),
    ("allow_incomplete", "ok", "active", "paid", True),
    ("default_incomplete", NEVER, "incomplete", "open", False),
    ("default_incomplete", "ok", "incomplete", "open", False),
    ("error_if_incomplete", "ok", "active", "paid", True),
]


@pytest.mark.parametrize(("behavior", "bank", "status", "invoice", "tried"), BEHAVIOURS)
def test_the_first_payment(behavior: str, bank: str, status: str, invoice: str, tried: bool) -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(bank), shop.small, payment_behavior=behavior)
    assert (sub["status"], shop.latest(sub)["status"]) == (status, invoice)
    assert shop.latest(sub)["attempted"] is tried


def test_all_or_nothing_leaves_nothing() -> None:
    shop = Shop()
    buyer = shop.customer(NEVER)
    mark = shop.mark()
    error = shop.refusal(
        "POST",
        "/v1/subscriptions",
        customer=buyer,
        items=[{"price": shop.small}],
        payment_behavior="error_if_incomplete",
    )
    assert (error["status"], error["type"]) == (402, "card_error")
    assert (shop.types(mark), shop.get("/v1/subscriptions", customer=buyer)["data"]) == ([], [])


def test_nobody_is_charged_who_has_nothing_to_charge() -> None:
    shop = Shop()
    asked = {"customer": shop.customer(None), "items": [{"price": shop.small}]}
    assert "no attached payment source" in shop.refusal("POST", "/v1/subscriptions", **asked)["message"]
    waiting = shop.post("/v1/subscriptions", **asked, payment_behavior="default_incomplete")
    assert waiting["status"] == "incomplete"
    shop.post("/v1/coupons", id="GIFT", percent_off="100", duration="forever")
    assert shop.post("/v1/subscriptions", **asked, discounts=[{"coupon": "GIFT"}])["status"] == "active"


def test_authentication_leaves_the_first_invoice_open_until_the_customer_is_there() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer("authentication_required"), shop.small)
    assert sub["status"] == "incomplete"
    assert "invoice.payment_action_required" in shop.types()


def test_a_first_invoice_that_is_paid_in_part_is_not_voided_when_the_subscription_expires() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(NEVER), shop.small)
    card = shop.card(sub["customer"], "ok")
    part = {
        "amount": 400,
        "currency": "usd",
        "customer": sub["customer"],
        "payment_method": card,
        "confirm": True,
    }
    intent = shop.post("/v1/payment_intents", **part, return_url="https://example.com")["id"]
    shop.post(f"/v1/invoices/{sub['latest_invoice']}/attach_payment", payment_intent=intent)
    shop.wait("23h")
    assert shop.sub(sub)["status"] == "incomplete_expired"
    latest = shop.latest(sub)
    assert (latest["status"], latest["amount_paid"], latest["auto_advance"]) == ("open", 400, False)


def test_a_bank_debit_takes_days_and_is_trusted_meanwhile() -> None:
    shop = Shop()
    buyer = shop.customer(None)
    debit = shop.post(
        "/v1/payment_methods", type="sepa_debit", sepa_debit={"iban": "DE89370400440532013000"}
    )["id"]
    shop.post(f"/v1/payment_methods/{debit}/attach", customer=buyer)
    sub = shop.subscribe(buyer, shop.small, default_payment_method=debit)
    assert (sub["status"], shop.latest(sub)["status"]) == ("active", "open")
    shop.wait("14d")
    assert (shop.sub(sub)["status"], shop.latest(sub)["status"]) == ("active", "paid")


def test_a_promotion_code_may_ask_for_a_least_order() -> None:
    shop = Shop()
    shop.post("/v1/coupons", id="TENTH", percent_off="10", duration="once")
    least = {"minimum_amount": 1500, "minimum_amount_currency": "usd"}
    code = shop.post(
        "/v1/promotion_codes", promotion={"type": "coupon", "coupon": "TENTH"}, code="BIG", restrictions=least
    )["id"]
    asked = {"customer": shop.customer(), "discounts": [{"promotion_code": code}]}
    refused = shop.refusal("POST", "/v1/subscriptions", **asked, items=[{"price": shop.small}])
    assert refused["param"] == "discounts"
    sub = shop.post("/v1/subscriptions", **asked, items=[{"price": shop.large}])
    assert shop.latest(sub)["total"] == 1800


def changed(shop: Shop, behavior: str, bank: str) -> tuple[str, list[int], str]:
    sub = shop.subscribe(shop.customer(f"ok,{bank}"), shop.small)
    shop.wait("15d 12h")
    sub = shop.change(
        sub,
        items=[{"id": item(sub)["id"], "price": shop.large}],
        proration_behavior="always_invoice",
        payment_behavior=behavior,
    )
    return sub["status"], amounts(shop.latest(sub)), item(sub)["price"]["id"]


CHANGES = [
    # behaviour              the bank   status      in force
    ("allow_incomplete", "ok", "active", True),
    ("allow_incomplete", NEVER, "past_due", True),
    ("default_incomplete", "ok", "past_due", True),
    ("error_if_incomplete", "ok", "active", True),
    ("pending_if_incomplete", "ok", "active", True),
    ("pending_if_incomplete", NEVER, "active", False),
]


@pytest.mark.parametrize(("behavior", "bank", "status", "in_force"), CHANGES)
def test_a_change_that_has_to_be_paid(behavior: str, bank: str, status: str, in_force: bool) -> None:
    shop = Shop()
    assert changed(shop, behavior, bank) == (status, [-500, 1000], shop.large if in_force else shop.small)


def test_a_change_can_be_all_or_nothing() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(f"ok,{NEVER}"), shop.small)
    error = shop.refusal(
        "POST",
        f"/v1/subscriptions/{sub['id']}",
        items=[{"id": item(sub)["id"], "price": shop.large}],
        proration_behavior="always_invoice",
        payment_behavior="error_if_incomplete",
    )
    assert error["status"] == 402
    assert item(shop.sub(sub))["price"]["id"] == shop.small


def test_a_pending_update_comes_into_force_when_it_is_paid() -> None:
    shop = Shop()
    changed(shop, "pending_if_incomplete", NEVER)
    sub = shop.get("/v1/subscriptions")["data"][0]
    waiting = sub["pending_update"]
    assert waiting["expires_at"] == shop.now + 23 * 3600
    assert waiting["subscription_items"][0]["price"]["id"] == shop.large
    shop.card(sub["customer"], "ok")
    mark = shop.mark()
    shop.post(f"/v1/invoices/{sub['latest_invoice']}/pay")
    assert shop.types(mark)[-2:] == [
        "customer.subscription.updated",
        "customer.subscription.pending_update_applied",
    ]
    assert (item(shop.sub(sub))["price"]["id"], shop.sub(sub)["pending_update"]) == (shop.large, None)
    shop.wait("16d")
    assert amounts(shop.latest(sub)) == [2000]


def test_a_pending_update_that_is_not_paid_is_forgotten() -> None:
    shop = Shop()
    changed(shop, "pending_if_incomplete", NEVER)
    sub = shop.get("/v1/subscriptions")["data"][0]
    shop.wait("23h")
    assert "customer.subscription.pending_update_expired" in shop.types()
    assert (shop.sub(sub)["pending_update"], shop.latest(sub)["status"]) == (None, "void")
    assert item(shop.sub(sub))["price"]["id"] == shop.small


def test_another_change_takes_the_place_of_a_pending_one() -> None:
    shop = Shop()
    changed(shop, "pending_if_incomplete", NEVER)
    sub = shop.get("/v1/subscriptions")["data"][0]
    after = shop.change(sub, items=[{"id": item(sub)["id"], "quantity": 2}])
    assert (after["pending_update"], after["quantity"]) == (None, 2)
    assert shop.get(f"/v1/invoices/{sub['latest_invoice']}")["status"] == "void"


def test_a_pending_update_takes_only_what_can_wait() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    error = shop.refusal(
        "POST", f"/v1/subscriptions/{sub['id']}", payment_behavior="pending_if_incomplete", description="mine"
    )
    assert error["param"] == "description"
