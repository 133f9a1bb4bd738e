"""Usage and credits on real invoices: what is late, what is drawn, what is given back."""

from __future__ import annotations

from typing import Any

from tests.unit.millrace_lab.usage.shops import Body, Prepaid


class Metered(Prepaid):
    """The customer has a card and a metered subscription at one cent a call."""

    def __init__(self) -> None:
        super().__init__()
        path = "/v1/payment_methods/pm_card_visa/attach"
        card = self.stripe.post(path, customer=self.customer)["id"]
        self.subscription = self.stripe.post(
            "/v1/subscriptions",
            customer=self.customer,
            items=[{"price": self.metered}],
            default_payment_method=card,
        )["id"]

    def call(self, times: int, **more: Any) -> None:
        payload = {"stripe_customer_id": self.customer, "value": str(times)}
        self.stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload, **more)

    def latest(self) -> Body:
        sub = self.stripe.get(f"/v1/subscriptions/{self.subscription}")
        return self.stripe.get(f"/v1/invoices/{sub['latest_invoice']}")


def test_usage_is_billed_after_its_month_and_what_comes_while_the_invoice_is_a_draft_too() -> None:
    shop = Metered()
    shop.call(300)
    shop.stripe.wait("31d")
    assert (shop.latest()["status"], shop.latest()["total"]) == ("draft", 300)
    shop.call(50, timestamp=shop.stripe.now - 60)  # a minute before the month ended
    shop.call(1000)  # after it ended: the next month's
    shop.stripe.wait("1h")
    july = shop.latest()
    assert (july["status"], july["total"]) == ("paid", 350)
    shop.call(7, timestamp=july["period_end"] - 60)  # too late for July, and not August's
    shop.stripe.wait("32d")
    assert shop.latest()["total"] == 1000


def test_usage_that_comes_to_a_draft_of_nothing_cannot_be_paid_without_a_payment_method() -> None:
    shop = Metered()
    shop.stripe.wait("31d")
    draft = shop.latest()
    assert (draft["status"], draft["total"]) == ("draft", 0)
    shop.call(50, timestamp=draft["period_end"] - 60)
    shop.stripe.post(f"/v1/payment_methods/{draft_card(shop)}/detach")
    error = shop.stripe.refusal("POST", f"/v1/invoices/{draft['id']}/pay")
    assert (error["status"], error["code"]) == (400, "resource_missing")
    assert (shop.latest()["status"], shop.latest()["total"]) == ("open", 50)


def draft_card(shop: Metered) -> str:
    return str(shop.stripe.get("/v1/payment_methods", customer=shop.customer)["data"][0]["id"])


def test_credits_are_drawn_when_the_invoice_is_final_and_given_back_when_it_is_voided() -> None:
    shop = Metered()
    shop.grant(500)
    shop.call(800)
    shop.stripe.wait("31d")
    assert (shop.latest()["total"], shop.left()) == (800, 500)
    shop.stripe.post(
        f"/v1/subscriptions/{shop.subscription}", collection_method="send_invoice", days_until_due=5
    )
    draft = shop.latest()["id"]
    shop.stripe.post(f"/v1/invoices/{draft}", auto_advance=False)
    invoice = shop.stripe.post(f"/v1/invoices/{draft}/finalize", auto_advance=False)
    (drawn,) = invoice["total_pretax_credit_amounts"]
    assert (drawn["amount"], invoice["total"], shop.left()) == (500, 300, 0)
    move = shop.stripe.get(f"/v1/billing/credit_balance_transactions/{drawn['credit_balance_transaction']}")
    assert move["debit"]["credits_applied"]["invoice"] == draft
    shop.stripe.post(f"/v1/invoices/{draft}/void")
    assert shop.left() == 500
    assert shop.moves()[-1] == ("credits_application_invoice_voided", 500)


def test_a_customer_on_a_test_clock_uses_at_the_time_of_that_clock() -> None:
    shop = Prepaid()
    clock = shop.stripe.post("/v1/test_helpers/test_clocks", frozen_time=shop.stripe.now)["id"]
    customer = shop.stripe.post("/v1/customers", test_clock=clock)["id"]
    later = shop.stripe.now + 40 * 86400
    shop.stripe.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=later)
    payload = {"stripe_customer_id": customer, "value": "5"}
    event = shop.stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload)
    assert event["timestamp"] == later
    old = {"event_name": "calls", "payload": payload, "timestamp": shop.stripe.now}
    assert (
        shop.stripe.refusal("POST", "/v1/billing/meter_events", **old)["code"] == "timestamp_too_far_in_past"
    )
