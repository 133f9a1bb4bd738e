"""The invoices of subscriptions: what is particular about them, seen from the invoice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop
from tests.unit.millrace_lab.invoices.test_previews import price, subscribed


def latest(stripe: Double, sub: Any) -> Any:
    return stripe.get("/v1/invoices", subscription=sub["id"])["data"][0]


def test_a_first_invoice_paid_at_creation_was_attempted_and_counts_no_attempt() -> None:
    """Source: docs/lab/behaviours.md, recorded bodies."""
    stripe = Double()
    invoice = latest(stripe, subscribed(stripe, shop.customer(stripe)))
    assert shop.parts(invoice, "status", "billing_reason", "attempted", "attempt_count") == (
        "paid",
        "subscription_create",
        True,
        0,
    )
    assert invoice["parent"]["subscription_details"]["subscription"]


def test_a_first_invoice_that_fails_is_not_tried_again_by_itself() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds,ok")
    sub = subscribed(stripe, buyer)
    invoice = latest(stripe, sub)
    assert shop.parts(invoice, "status", "attempt_count", "next_payment_attempt") == ("open", 1, None)
    stripe.wait("20h")
    assert latest(stripe, sub)["attempt_count"] == 1
    assert stripe.post(f"/v1/invoices/{invoice['id']}/pay")["status"] == "paid"
    assert stripe.get(f"/v1/subscriptions/{sub['id']}")["status"] == "active"


def test_a_renewals_invoice_is_a_draft_for_an_hour_and_its_payment_counts() -> None:
    stripe = Double()
    sub = subscribed(stripe, shop.customer(stripe))
    stripe.wait("31d")
    draft = latest(stripe, sub)
    assert shop.parts(draft, "status", "billing_reason") == ("draft", "subscription_cycle")
    assert draft["automatically_finalizes_at"] == draft["next_payment_attempt"] == stripe.now + 3600
    assert draft["lines"]["data"][0]["parent"]["subscription_item_details"]["subscription"] == sub["id"]
    stripe.wait("1h")
    assert shop.parts(latest(stripe, sub), "status", "attempt_count") == ("paid", 1)


def test_a_subscriptions_draft_cannot_be_deleted() -> None:
    stripe = Double()
    sub = subscribed(stripe, shop.customer(stripe))
    stripe.wait("31d")
    assert "subscriptions" in stripe.refusal("DELETE", f"/v1/invoices/{latest(stripe, sub)['id']}")["message"]


@pytest.mark.parametrize(
    ("plan", "status", "invoice"),
    [
        ("unpaid", "unpaid", "open"),
        ("canceled+uncollectible", "canceled", "uncollectible"),
        ("past_due", "past_due", "open"),
    ],
)
def test_the_subscriptions_own_plan_says_how_it_ends(plan: str, status: str, invoice: str) -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="ok,insufficient_funds")
    sub = stripe.post(
        "/v1/subscriptions",
        customer=buyer,
        items=[{"price": price(stripe, 3000)}],
        metadata={"lab_dunning": plan},
    )
    stripe.wait("31d 1h")
    stripe.wait("15d")
    tried = latest(stripe, sub)
    assert shop.parts(tried, "status", "attempt_count", "next_payment_attempt") == (invoice, 4, None)
    assert stripe.get(f"/v1/subscriptions/{sub['id']}")["status"] == status


def by_call(stripe: Double) -> str:
    """A price of ten cents a call, metered."""
    meter = stripe.post(
        "/v1/billing/meters", display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}
    )["id"]
    made = stripe.post(
        "/v1/prices", currency="usd", unit_amount=10, product_data={"name": "Calls"},
        recurring={"interval": "month", "usage_type": "metered", "meter": meter},
    )  # fmt: skip
    id_: str = made["id"]
    return id_


def test_usage_that_arrives_in_the_draft_hour_is_billed_and_later_usage_is_not() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    metered = by_call(stripe)
    sub = stripe.post("/v1/subscriptions", customer=buyer, items=[{"price": metered}])

    def use(calls: int, ago: int) -> None:
        payload = {"stripe_customer_id": buyer, "value": str(calls)}
        stripe.post(
            "/v1/billing/meter_events", event_name="calls", payload=payload, timestamp=stripe.now - ago
        )

    stripe.wait("30d")
    use(100, 0)
    stripe.wait("1d")
    assert latest(stripe, sub)["total"] == 1000
    stripe.wait("30m")
    use(50, 3600)
    use(7, 0)
    stripe.wait("30m")
    line = latest(stripe, sub)["lines"]["data"][0]
    assert shop.parts(line, "amount", "quantity") == (1500, 150)
    use(90, 2 * 3600)
    assert latest(stripe, sub)["total"] == 1500


def test_prepaid_credits_are_drawn_before_tax_and_given_back_when_it_is_voided() -> None:
    stripe = Double()
    buyer = shop.customer(stripe, bank="insufficient_funds")
    metered = by_call(stripe)
    rate = stripe.post("/v1/tax_rates", display_name="VAT", percentage="20", inclusive="false")["id"]
    sub = stripe.post(
        "/v1/subscriptions", customer=buyer, items=[{"price": metered}], default_tax_rates=[rate]
    )
    grant = stripe.post(
        "/v1/billing/credit_grants", customer=buyer, category="paid",
        amount={"type": "monetary", "monetary": {"value": 400, "currency": "usd"}},
        applicability_config={"scope": {"price_type": "metered"}},
    )  # fmt: skip
    stripe.wait("1d")
    payload = {"stripe_customer_id": buyer, "value": "100"}
    stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload)
    stripe.wait("30d 1h")
    invoice = latest(stripe, sub)
    assert shop.parts(invoice, "subtotal", "total", "total_excluding_tax") == (1000, 720, 600)
    credits = invoice["total_pretax_credit_amounts"]
    assert [shop.parts(each, "amount", "type") for each in credits] == [(400, "credit_balance_transaction")]
    began = stripe.mark()
    stripe.post(f"/v1/invoices/{invoice['id']}/void")
    back = stripe.told("billing.credit_balance_transaction.created", since=began)
    assert [told.object["credit"]["amount"]["monetary"]["value"] for told in back] == [400]
    assert back[0].object["credit_grant"] == grant["id"]


def test_a_bank_debit_is_on_its_way_for_days_and_then_pays_or_fails() -> None:
    stripe = Double()
    for name, status in (
        ("pm_usBankAccount_success", "paid"),
        ("pm_usBankAccount_insufficientFunds", "open"),
    ):
        buyer = shop.customer(stripe, bank=None)
        method = stripe.post(f"/v1/payment_methods/{name}/attach", customer=buyer)["id"]
        stripe.post(f"/v1/customers/{buyer}", invoice_settings={"default_payment_method": method})
        id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
        stripe.wait("1h")
        on_its_way = shop.invoice(stripe, id_)
        assert shop.parts(on_its_way, "status", "attempted", "attempt_count") == ("open", True, 0)
        stripe.wait("7d")
        assert shop.parts(shop.invoice(stripe, id_), "status", "attempt_count") == (status, 1)


def test_a_subscription_whose_tax_cannot_be_known_is_refused_as_a_whole() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    asked = {
        "customer": buyer,
        "items": [{"price": price(stripe, 3000)}],
        "automatic_tax": {"enabled": "true"},
    }
    began = stripe.mark()
    assert stripe.refusal("POST", "/v1/subscriptions", **asked)["code"] == "customer_tax_location_invalid"
    assert stripe.types(began) == []
