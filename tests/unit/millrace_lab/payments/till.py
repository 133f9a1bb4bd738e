"""Short words for the payment tests: a customer with a card, a payment, a time that passes."""

from __future__ import annotations

from typing import Any

from tests.support.double import Body, Double


def customer(stripe: Double, **fields: Any) -> str:
    return str(stripe.post("/v1/customers", email="ada@example.com", **fields)["id"])


def saved(stripe: Double, buyer: str, token: str = "tok_visa", **lab: str) -> Body:
    """A card of a customer. `lab` are metadata keys of ours, without their prefix."""
    metadata = {f"lab_{name}": value for name, value in lab.items()}
    made = stripe.post("/v1/payment_methods", type="card", card={"token": token}, metadata=metadata)
    return stripe.post(f"/v1/payment_methods/{made['id']}/attach", customer=buyer)


def pay(stripe: Double, method: str = "pm_card_visa", amount: int = 10_00, **fields: Any) -> Body:
    """A payment intent that is confirmed as it is made, captured at once unless `fields` say otherwise."""
    settings = {"currency": "usd", "capture_method": "automatic", "confirm": "true"} | fields
    return stripe.post("/v1/payment_intents", amount=amount, payment_method=method, **settings)


def declined(stripe: Double, method: str, amount: int = 10_00, **fields: Any) -> Body:
    """The error of a payment that the bank does not make."""
    settings = {"currency": "usd", "capture_method": "automatic", "confirm": "true"} | fields
    return stripe.refusal("POST", "/v1/payment_intents", amount=amount, payment_method=method, **settings)


def charge_of(stripe: Double, intent: Body) -> Body:
    return stripe.get(f"/v1/charges/{intent['latest_charge']}")


def moved(stripe: Double, id_: str | None) -> tuple[int, int, int, str]:
    """(amount, fee, net, currency) of a balance transaction."""
    txn = stripe.get(f"/v1/balance_transactions/{id_}")
    return txn["amount"], txn["fee"], txn["net"], txn["currency"]


def balance(stripe: Double, currency: str = "usd") -> tuple[int, int]:
    """(available, pending)"""
    shown = stripe.get("/v1/balance")
    found = [
        sum(e["amount"] for e in shown[which] if e["currency"] == currency)
        for which in ("available", "pending")
    ]
    return found[0], found[1]
