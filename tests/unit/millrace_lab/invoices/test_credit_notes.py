"""Credit notes: before the payment, after it, and across it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop


def note(stripe: Double, invoice: str, **params: Any) -> Any:
    return stripe.post("/v1/credit_notes", invoice=invoice, **params)


def test_an_open_invoice_asks_for_less() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    invoice = shop.opened(stripe, buyer, 1000)
    began = stripe.mark()
    made = note(stripe, invoice["id"], amount=300, reason="order_change")
    assert shop.parts(made, "type", "pre_payment_amount", "post_payment_amount") == ("pre_payment", 300, 0)
    assert made["number"] == f"{invoice['number']}-CN-01"
    assert stripe.types(began) == ["credit_note.created", "invoice.updated"]
    lowered = shop.invoice(stripe, invoice["id"])
    assert shop.parts(lowered, "status", "total", "amount_due", "amount_remaining") == (
        "open",
        1000,
        700,
        700,
    )
    assert lowered["pre_payment_credit_notes_amount"] == 300
    paid = stripe.post(f"/v1/invoices/{invoice['id']}/pay")
    assert (paid["amount_paid"], stripe.told("charge.succeeded")[0].object["amount"]) == (700, 700)


def test_a_note_over_all_that_is_open_pays_the_invoice_without_a_payment() -> None:
    stripe = Double()
    invoice = shop.opened(stripe, shop.customer(stripe), 1000)
    began = stripe.mark()
    note(stripe, invoice["id"], amount=1000)
    assert stripe.types(began) == [
        "credit_note.created",
        "payment_intent.canceled",
        "invoice.updated",
        "invoice.paid",
    ]
    paid = shop.invoice(stripe, invoice["id"])
    assert shop.parts(paid, "status", "amount_paid", "attempted") == ("paid", 0, False)


#  how the 400 is given back                                   balance  refunded
WAYS = [
    ({"refund_amount": 400}, 0, 400),
    ({"credit_amount": 400}, -400, 0),
    ({"out_of_band_amount": 400}, 0, 0),
    ({"refund_amount": 150, "credit_amount": 250}, -250, 150),
    ({"refund_amount": 100, "credit_amount": 100, "out_of_band_amount": 200}, -100, 100),
]


@pytest.mark.parametrize(("way", "balance", "refunded"), WAYS)
def test_what_was_paid_is_given_back_in_every_way(way: dict[str, int], balance: int, refunded: int) -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    invoice = shop.paid(stripe, buyer, 1000)
    made = note(stripe, invoice["id"], amount=400, **way)
    assert shop.parts(made, "type", "pre_payment_amount", "post_payment_amount") == ("post_payment", 0, 400)
    assert sum(each["amount_refunded"] for each in made["refunds"]) == refunded
    assert sum(told.object["amount"] for told in stripe.told("refund.created")) == refunded
    assert stripe.get(f"/v1/customers/{buyer}")["balance"] == balance
    moved = made["customer_balance_transaction"]
    assert (moved is not None) == bool(balance)
    if moved:
        transaction = stripe.get(f"/v1/customers/{buyer}/balance_transactions/{moved}")
        assert shop.parts(transaction, "type", "credit_note", "amount") == (
            "credit_note",
            made["id"],
            balance,
        )
    assert shop.invoice(stripe, invoice["id"])["post_payment_credit_notes_amount"] == 400


@pytest.mark.parametrize("way", [{}, {"refund_amount": 399}, {"refund_amount": 300, "credit_amount": 101}])
def test_every_cent_that_was_paid_has_to_go_somewhere(way: dict[str, int]) -> None:
    stripe = Double()
    invoice = shop.paid(stripe, shop.customer(stripe), 1000)
    refused = stripe.refusal("POST", "/v1/credit_notes", invoice=invoice["id"], amount=400, **way)
    assert "must equal the post payment amount" in refused["message"]
    assert not stripe.told("refund.created", "credit_note.created")


def test_a_partly_paid_invoice_takes_a_mixed_note() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.opened(stripe, buyer, 1000)["id"]
    made = stripe.post("/v1/payment_intents", customer=buyer, amount=600, currency="usd",
                       payment_method=shop.new_card(stripe, buyer), confirm="true")  # fmt: skip
    stripe.post(f"/v1/invoices/{id_}/attach_payment", payment_intent=made["id"])
    mixed = note(stripe, id_, amount=700, refund_amount=300)
    assert shop.parts(mixed, "type", "pre_payment_amount", "post_payment_amount") == ("mixed", 400, 300)
    paid = shop.invoice(stripe, id_)
    assert shop.parts(paid, "status", "amount_paid", "amount_remaining") == ("paid", 600, 0)


def test_a_refund_that_was_made_before_is_linked_and_not_made_again() -> None:
    stripe = Double()
    invoice = shop.paid(stripe, shop.customer(stripe), 1000)
    charge = stripe.told("charge.succeeded")[0].object["id"]
    refund = stripe.post("/v1/refunds", charge=charge, amount=400)["id"]
    assert stripe.refusal("POST", "/v1/credit_notes", invoice=invoice["id"], amount=700, credit_amount=700)
    made = note(stripe, invoice["id"], amount=400, refunds=[{"refund": refund, "amount_refunded": 400}])
    assert made["refunds"][0] == {
        "amount_refunded": 400,
        "payment_record_refund": None,
        "refund": refund,
        "type": "refund",
    }
    assert len(stripe.told("refund.created")) == 1
    assert note(stripe, invoice["id"], amount=600, credit_amount=600)["total"] == 600


def test_no_more_is_credited_than_was_invoiced() -> None:
    stripe = Double()
    invoice = shop.opened(stripe, shop.customer(stripe), 1000)["id"]
    note(stripe, invoice, amount=600)
    assert (
        stripe.refusal("POST", "/v1/credit_notes", invoice=invoice, amount=401)["code"] == "amount_too_large"
    )
    assert stripe.refusal("POST", "/v1/credit_notes", invoice=invoice, amount=0)["status"] == 400


def taxed(stripe: Double, buyer: str, *, inclusive: bool) -> Any:
    rate = stripe.post("/v1/tax_rates", display_name="VAT", percentage="19", inclusive=str(inclusive).lower())
    off = stripe.post("/v1/coupons", duration="once", percent_off=10)["id"]
    terms = {"default_tax_rates": [rate["id"]], "discounts": [{"coupon": off}]}
    return shop.opened(stripe, buyer, 1000, 333, **terms)


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_line_is_credited_with_its_discount_and_its_tax(inclusive: bool) -> None:
    stripe = Double()
    invoice = taxed(stripe, shop.customer(stripe), inclusive=inclusive)
    line = invoice["lines"]["data"][0]
    made = note(stripe, invoice["id"], lines=[{"type": "invoice_line_item", "invoice_line_item": line["id"]}])
    total = 900 if inclusive else 900 + line["taxes"][0]["amount"]
    assert shop.parts(made, "subtotal", "discount_amount", "total", "amount") == (1000, 100, total, total)
    assert made["total_taxes"][0]["amount"] == line["taxes"][0]["amount"] == (144 if inclusive else 171)
    assert made["total_excluding_tax"] == total - made["total_taxes"][0]["amount"]
    more = {"type": "invoice_line_item", "invoice_line_item": line["id"], "amount": 1}
    assert stripe.refusal("POST", "/v1/credit_notes", invoice=invoice["id"], lines=[more])["param"] == "lines"


@settings(max_examples=8, deadline=None)
@given(
    pieces=st.lists(st.integers(1, 400), min_size=1, max_size=5), inclusive=st.booleans(), whole=st.booleans()
)
def test_notes_over_the_whole_invoice_add_up_to_its_tax_in_whatever_pieces(
    pieces: list[int], inclusive: bool, whole: bool
) -> None:
    stripe = Double()
    invoice = taxed(stripe, shop.customer(stripe), inclusive=inclusive)
    notes = []
    if whole:
        for piece in pieces:
            left = shop.invoice(stripe, invoice["id"])["amount_remaining"]
            if piece < left:
                notes.append(note(stripe, invoice["id"], amount=piece))
        left = shop.invoice(stripe, invoice["id"])["amount_remaining"]
        notes.append(note(stripe, invoice["id"], amount=left))
    else:
        for line in invoice["lines"]["data"]:
            cuts = sorted({piece % line["amount"] for piece in pieces} | {0, line["amount"]})
            for start, end in pairwise(cuts):
                one = {"type": "invoice_line_item", "invoice_line_item": line["id"], "amount": end - start}
                reply = stripe.call("POST", "/v1/credit_notes", invoice=invoice["id"], lines=[one])
                notes += [reply.body] if reply.status == 200 else []
    assert sum(each["total"] for each in notes) == invoice["total"]
    assert (
        sum(tax["amount"] for each in notes for tax in each["total_taxes"])
        == invoice["total_taxes"][0]["amount"]
    )
    assert shop.invoice(stripe, invoice["id"])["status"] == "paid"


def test_a_line_of_its_own_has_its_own_tax() -> None:
    stripe = Double()
    rate = stripe.post("/v1/tax_rates", display_name="VAT", percentage="20", inclusive="false")["id"]
    invoice = shop.opened(stripe, shop.customer(stripe), 5000)["id"]
    line = {
        "type": "custom_line_item",
        "description": "Delay",
        "quantity": 3,
        "unit_amount": 100,
        "tax_rates": [rate],
    }
    made = note(stripe, invoice, lines=[line], memo="Sorry", metadata={"case": "9"})
    assert shop.parts(made, "subtotal", "total", "memo") == (300, 360, "Sorry")
    assert made["lines"]["data"][0]["tax_rates"][0]["id"] == rate
    assert stripe.get(made["lines"]["url"])["data"] == made["lines"]["data"]


def test_a_note_on_an_open_invoice_can_be_taken_back() -> None:
    stripe = Double()
    invoice = shop.opened(stripe, shop.customer(stripe), 1000)["id"]
    made = note(stripe, invoice, amount=300)
    began = stripe.mark()
    void = stripe.post(f"/v1/credit_notes/{made['id']}/void")
    assert shop.parts(void, "status", "voided_at") == ("void", stripe.now)
    assert stripe.types(began) == ["credit_note.voided", "invoice.updated"]
    assert shop.parts(shop.invoice(stripe, invoice), "amount_due", "pre_payment_credit_notes_amount") == (
        1000,
        0,
    )
    assert stripe.refusal("POST", f"/v1/credit_notes/{made['id']}/void")["status"] == 400
    assert note(stripe, invoice, amount=1000)["number"].endswith("-CN-02")


def test_a_preview_shows_the_note_and_leaves_everything_as_it_was() -> None:
    stripe = Double()
    invoice = shop.paid(stripe, shop.customer(stripe), 1000)["id"]
    began = stripe.mark()
    shown = stripe.get("/v1/credit_notes/preview", invoice=invoice, amount=400, refund_amount=400)
    assert shop.parts(shown, "total", "post_payment_amount") == (400, 400)
    lines = stripe.get("/v1/credit_notes/preview/lines", invoice=invoice, amount=400, refund_amount=400)
    assert [line["amount"] for line in lines["data"]] == [400]
    assert (stripe.types(began), stripe.get("/v1/credit_notes", invoice=invoice)["data"]) == ([], [])


def test_memo_and_metadata_can_be_changed() -> None:
    stripe = Double()
    made = note(
        stripe, shop.opened(stripe, shop.customer(stripe), 1000)["id"], amount=300, metadata={"a": "1"}
    )
    stripe.post(f"/v1/credit_notes/{made['id']}", memo="Again", metadata={"b": "2"})
    assert stripe.get(f"/v1/credit_notes/{made['id']}")["metadata"] == {"a": "1", "b": "2"}
    assert stripe.told("credit_note.updated")[0].previous == {"memo": None, "metadata": {"a": "1"}}


@pytest.mark.parametrize("status", ["draft", "void", "uncollectible"])
def test_only_open_and_paid_invoices_take_a_note(status: str) -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000)
    for act in {
        "draft": [],
        "void": ["finalize", "void"],
        "uncollectible": ["finalize", "mark_uncollectible"],
    }[status]:
        stripe.post(f"/v1/invoices/{id_}/{act}")
    assert status in stripe.refusal("POST", "/v1/credit_notes", invoice=id_, amount=1)["message"]
