"""A customer, a card and an invoice, for the stories of this folder."""

from __future__ import annotations

from typing import Any

from tests.support.double import Body, Double


def customer(stripe: Double, bank: str | None = "ok", **fields: Any) -> str:
    """A customer whose card answers as `bank` says, one outcome an attempt; None has no card."""
    id_: str = stripe.post("/v1/customers", email="ada@example.com", **fields)["id"]
    if bank is not None:
        card = new_card(stripe, id_, bank)
        stripe.post(f"/v1/customers/{id_}", invoice_settings={"default_payment_method": card})
    return id_


def new_card(stripe: Double, buyer: str, bank: str = "ok") -> str:
    card = stripe.post(
        "/v1/payment_methods", type="card", card={"token": "tok_visa"}, metadata={"lab_bank": bank}
    )
    stripe.post(f"/v1/payment_methods/{card['id']}/attach", customer=buyer)
    id_: str = card["id"]
    return id_


def item(stripe: Double, buyer: str, amount: int, **fields: Any) -> Body:
    return stripe.post("/v1/invoiceitems", customer=buyer, amount=amount, **{"currency": "usd"} | fields)


def draft(stripe: Double, buyer: str, *amounts: int, **fields: Any) -> str:
    """A draft with a line for each amount."""
    for amount in amounts:
        item(stripe, buyer, amount, currency=fields.get("currency", "usd"))
    made = stripe.post("/v1/invoices", customer=buyer, pending_invoice_items_behavior="include", **fields)
    id_: str = made["id"]
    return id_


def invoice(stripe: Double, id_: str, **params: Any) -> Body:
    return stripe.get(f"/v1/invoices/{id_}", **params)


def opened(stripe: Double, buyer: str, *amounts: int, **fields: Any) -> Body:
    """A finalized invoice that nobody has tried to collect."""
    return stripe.post(f"/v1/invoices/{draft(stripe, buyer, *amounts, **fields)}/finalize")


def paid(stripe: Double, buyer: str, *amounts: int, **fields: Any) -> Body:
    return stripe.post(f"/v1/invoices/{draft(stripe, buyer, *amounts, **fields)}/pay")


def parts(body: Body, *names: str) -> tuple[Any, ...]:
    return tuple(body[name] for name in names)
