"""Lines and waiting items as the rooms above hand them over."""

from __future__ import annotations

from fractions import Fraction

import pytest

from millrace_lab.invoices import items, lines
from millrace_lab.invoices.lines import Line
from millrace_lab.rounding import round_half_away
from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop
from tests.unit.millrace_lab.invoices.test_previews import subscribed


@pytest.mark.parametrize(
    ("exact", "whole"),
    [("1/2", 1), ("-1/2", -1), ("3/2", 2), ("5/2", 3), ("1/3", 0), ("-2/3", -1), ("7", 7), ("-166.5", -167)],
)
def test_halves_go_away_from_zero(exact: str, whole: int) -> None:
    assert round_half_away(Fraction(exact)) == whole


@pytest.mark.parametrize(
    ("quantity", "shown"), [(3, "3"), (Fraction(1, 3), "0.333333333333"), (Fraction(-5, 2), "-2.5"), (0, "0")]
)
def test_a_quantity_has_twelve_places_at_most(quantity: Fraction | int, shown: str) -> None:
    assert lines.decimal(quantity) == shown


def test_a_proration_waits_as_an_item_and_names_what_it_gives_back() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    sub = subscribed(stripe, buyer)
    item = sub["items"]["data"][0]
    first = stripe.get("/v1/invoices", subscription=sub["id"])["data"][0]
    credit = Line(
        amount=-900,
        currency="usd",
        description="Unused time",
        period=(stripe.now, item["current_period_end"]),
        price=stripe.account.find(item["price"]["id"]),
        unit_amount_decimal="3000",
        subscription=sub["id"],
        subscription_item=item["id"],
        proration=True,
        credited=(first["id"], (first["lines"]["data"][0]["id"],)),
        discountable=False,
        discounted=(("di_gone", 100),),
    )
    step = stripe.account.step()
    made = items.add(step, buyer, credit, step.get("subscription", sub["id"]))["id"]
    step.commit()
    waiting = stripe.get(f"/v1/invoiceitems/{made}")
    assert waiting["proration_details"]["credited_items"] == {
        "invoice_line_item_details": {
            "invoice": first["id"],
            "invoice_line_items": [first["lines"]["data"][0]["id"]],
        },
        "type": "invoice_line_items",
    }
    assert waiting["proration_details"]["discount_amounts"] == [{"amount": 100, "discount": "di_gone"}]
    step = stripe.account.step()
    (taken,) = items.take(step, subscription=sub["id"])
    assert (taken.amount, taken.credited, taken.invoice_item) == (-900, credit.credited, made)
    invoice = stripe.post("/v1/invoices", subscription=sub["id"])
    details = invoice["lines"]["data"][0]["parent"]["subscription_item_details"]
    assert shop.parts(details, "invoice_item", "proration", "subscription_item") == (made, True, item["id"])
    assert details["proration_details"]["credited_items"]["invoice"] == first["id"]
    assert stripe.get("/v1/invoices", subscription=sub["id"])["data"][0]["id"] == invoice["id"]


def test_what_waits_for_a_subscription_goes_with_it() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    sub = subscribed(stripe, buyer)
    stays = shop.item(stripe, buyer, 100)["id"]
    goes = shop.item(stripe, buyer, 200, subscription=sub["id"])["id"]
    step = stripe.account.step()
    items.discard(step, subscription=sub["id"])
    step.commit()
    assert [told.object["id"] for told in stripe.told("invoiceitem.deleted")] == [goes]
    assert [each["id"] for each in stripe.get("/v1/invoiceitems", pending="true")["data"]] == [stays]


def test_an_invoice_for_a_subscription_needs_something_that_waits() -> None:
    stripe = Double()
    sub = subscribed(stripe, shop.customer(stripe))
    refused = stripe.refusal("POST", "/v1/invoices", subscription=sub["id"])
    assert refused["code"] == "invoice_no_subscription_line_items"
