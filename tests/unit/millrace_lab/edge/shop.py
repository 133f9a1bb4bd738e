"""A shop's life in some fifty requests that touch most of what there is, in the newest version's words."""

from __future__ import annotations

from tests.support.double import Double


def whole_story(stripe: Double) -> None:
    """A customer, a catalog, a subscription, its invoices, money that goes back, and who is told about it."""
    customer = _customer(stripe)
    price = _catalog(stripe)
    subscription = _subscribed(stripe, customer, price)
    _billed(stripe, customer, subscription)
    _hosted(stripe, customer, price)
    _watched(stripe)


def _customer(stripe: Double) -> str:
    address = {"country": "DE", "line1": "Weg 1", "city": "Bonn", "postal_code": "53111"}
    id_: str = stripe.post("/v1/customers", email="ada@example.com", name="Ada", address=address)["id"]
    method = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
    stripe.post(f"/v1/payment_methods/{method}/attach", customer=id_)
    stripe.post(
        f"/v1/customers/{id_}", invoice_settings={"default_payment_method": method}, metadata={"a": "b"}
    )
    stripe.post(f"/v1/customers/{id_}/balance_transactions", amount=-500, currency="usd")
    stripe.get("/v1/payment_methods", customer=id_, type="card")
    stripe.get("/v1/customers", email="ada@example.com", limit=3)
    return id_


def _catalog(stripe: Double) -> str:
    product = stripe.post("/v1/products", name="Team", metadata={"tier": "2"})["id"]
    recurring = {"interval": "month", "interval_count": 1}
    tiers = [{"up_to": 10, "unit_amount": 500}, {"up_to": "inf", "unit_amount": 400, "flat_amount": 100}]
    shared = {"product": product, "currency": "usd", "recurring": recurring}
    stripe.post("/v1/prices", **shared, billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)
    price: str = stripe.post("/v1/prices", **shared, unit_amount=1000, lookup_key="team")["id"]
    stripe.get("/v1/prices", product=product, active=True, lookup_keys=["team"], expand=["data.product"])
    coupon = stripe.post("/v1/coupons", percent_off=10, duration="repeating", duration_in_months=3)["id"]
    stripe.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": coupon}, code="TEN")
    stripe.post("/v1/tax_rates", display_name="VAT", percentage=19, inclusive=False)
    return price


def _subscribed(stripe: Double, customer: str, price: str) -> str:
    sub = stripe.post(
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": price, "quantity": 2}],
        payment_behavior="allow_incomplete",
        trial_period_days=7,
        metadata={"team": "7"},
        expand=["latest_invoice"],
    )
    id_, item = sub["id"], sub["items"]["data"][0]["id"]
    stripe.wait("8d")
    stripe.post(f"/v1/subscriptions/{id_}", items=[{"id": item, "quantity": 5}], proration_behavior="none")
    stripe.post(f"/v1/subscription_items/{item}", quantity=6, proration_behavior="always_invoice")
    stripe.post(f"/v1/subscriptions/{id_}", pause_collection={"behavior": "void"})
    stripe.post(f"/v1/subscriptions/{id_}", pause_collection="")
    stripe.post(f"/v1/subscriptions/{id_}", cancel_at_period_end=True)
    stripe.post(f"/v1/subscriptions/{id_}", cancel_at_period_end=False)
    stripe.get("/v1/subscriptions", customer=customer, status="all", price=price)
    stripe.get("/v1/subscription_items", subscription=id_)
    return str(id_)


def _billed(stripe: Double, customer: str, subscription: str) -> None:
    stripe.post("/v1/invoiceitems", customer=customer, amount=1500, currency="usd", description="Set-up")
    draft = stripe.post("/v1/invoices", customer=customer, pending_invoice_items_behavior="include")["id"]
    stripe.post(f"/v1/invoices/{draft}", description="By hand", metadata={"po": "7"})
    stripe.post(f"/v1/invoices/{draft}/finalize")
    stripe.post(f"/v1/invoices/{draft}/pay")
    stripe.get("/v1/invoices", customer=customer, status="paid", subscription=subscription)
    stripe.get(f"/v1/invoices/{draft}/lines", limit=5)
    stripe.get("/v1/invoice_payments", invoice=draft)
    stripe.post("/v1/invoices/create_preview", customer=customer, subscription=subscription)
    charge = stripe.get("/v1/charges", customer=customer)["data"][0]["id"]
    stripe.post("/v1/refunds", charge=charge, amount=100, reason="requested_by_customer")
    stripe.get("/v1/refunds", charge=charge)
    stripe.get("/v1/balance_transactions", type="charge")
    stripe.post("/v1/credit_notes", invoice=draft, amount=200, credit_amount=200, reason="order_change")
    stripe.delete(f"/v1/subscriptions/{subscription}", prorate=True, invoice_now=True)


def _hosted(stripe: Double, customer: str, price: str) -> None:
    session = stripe.post(
        "/v1/checkout/sessions",
        mode="subscription",
        customer=customer,
        line_items=[{"price": price, "quantity": 1}],
        success_url="https://example.com/done",
    )["id"]
    stripe.get(f"/v1/checkout/sessions/{session}/line_items")
    stripe.post(f"/v1/checkout/sessions/{session}/expire")


def _watched(stripe: Double) -> None:
    hook = {
        "url": "https://example.com/hook",
        "enabled_events": ["invoice.paid", "customer.subscription.updated"],
    }
    endpoint = stripe.post("/v1/webhook_endpoints", **hook, api_version="2025-08-27.basil")["id"]
    stripe.post(f"/v1/webhook_endpoints/{endpoint}", disabled=True)
    stripe.delete(f"/v1/webhook_endpoints/{endpoint}")
    stripe.get("/v1/events", types=["invoice.paid"], created={"gte": 1}, delivery_success=True)
    stripe.get("/v1/account")
    clock = stripe.post("/v1/test_helpers/test_clocks", frozen_time=stripe.now, name="story")["id"]
    stripe.post(f"/v1/test_helpers/test_clocks/{clock}/advance", frozen_time=stripe.now + 60)
    meter = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    stripe.post("/v1/billing/meters", **meter)
    stripe.get("/v1/billing/meters", status="active")
