"""What a webhook carries for a receiver that cannot ask: balance transactions, and every line of an invoice."""

from __future__ import annotations

import pytest

from millrace_lab.delivery.letters import envelope
from tests.support.double import Body, Double


def told(*, expanded: bool) -> dict[str, Body]:
    """The last event of each type after somebody has paid for twelve things."""
    stripe = Double(expand_balance_transactions=expanded)
    buyer = stripe.post("/v1/customers", payment_method="pm_card_visa")["id"]
    card = stripe.get(f"/v1/customers/{buyer}/payment_methods")["data"][0]["id"]
    for number in range(12):
        stripe.post("/v1/invoiceitems", customer=buyer, amount=100 + number, currency="usd")
    invoice = stripe.post("/v1/invoices", customer=buyer, pending_invoice_items_behavior="include")["id"]
    stripe.post(f"/v1/invoices/{invoice}/pay", payment_method=card)
    stripe.wait("1d")
    return {each.type: envelope(stripe.account, each)["data"]["object"] for each in stripe.told()}


@pytest.mark.parametrize(("expanded", "lines", "transaction"), [(False, 10, str), (True, 12, dict)])
def test_what_is_carried_whole(expanded: bool, lines: int, transaction: type) -> None:
    events = told(expanded=expanded)
    listed = events["invoice.paid"]["lines"]
    assert (len(listed["data"]), listed["has_more"]) == (lines, not expanded)
    charge = events.get("charge.updated", events["charge.succeeded"])
    assert isinstance(charge["balance_transaction"], transaction)
    assert not [key for line in listed["data"] for key in line if key.startswith("_")]
