"""Drafts: what can be asked for, what can still be changed, and how long they wait."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab import clockwork
from millrace_lab.invoices import drafting
from tests.support.double import Double
from tests.unit.millrace_lab.invoices import shop


def test_a_one_off_draft_leaves_alone_what_waits_unless_it_is_asked() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    shop.item(stripe, buyer, 1000)
    empty = stripe.post("/v1/invoices", customer=buyer)
    full = stripe.post("/v1/invoices", customer=buyer, pending_invoice_items_behavior="include")
    assert (empty["total"], full["total"]) == (0, 1000)
    assert stripe.get("/v1/invoiceitems", customer=buyer, pending="true")["data"] == []
    assert shop.parts(full, "billing_reason", "auto_advance", "parent") == ("manual", False, None)
    assert stripe.types()[-2:] == ["invoice.created", "invoice.created"]


def test_a_draft_carries_ten_lines_and_the_rest_are_paged() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), *range(100, 113))
    draft = shop.invoice(stripe, id_)
    assert (len(draft["lines"]["data"]), draft["lines"]["has_more"]) == (10, True)
    last = draft["lines"]["data"][-1]["id"]
    rest = stripe.get(draft["lines"]["url"], starting_after=last)
    assert ([line["amount"] for line in rest["data"]], rest["has_more"]) == ([110, 111, 112], False)


def test_a_draft_without_advancement_stays_one() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000)
    stripe.wait("30d")
    assert shop.parts(shop.invoice(stripe, id_), "status", "automatically_finalizes_at") == ("draft", None)
    stripe.post(f"/v1/invoices/{id_}", auto_advance=True)
    stripe.wait("1h")
    assert shop.invoice(stripe, id_)["status"] == "paid"


def test_a_draft_can_be_changed_in_every_way() -> None:
    stripe = Double()
    id_ = shop.draft(stripe, shop.customer(stripe), 1000, metadata={"order": "7", "by": "ada"})
    off = stripe.post("/v1/coupons", duration="once", percent_off=10)["id"]
    changed = stripe.post(
        f"/v1/invoices/{id_}",
        collection_method="send_invoice",
        days_until_due=10,
        description="July",
        footer="Thanks",
        discounts=[{"coupon": off}],
        metadata={"by": "", "for": "bob"},
        custom_fields=[{"name": "PO", "value": "42"}],
    )
    assert shop.parts(changed, "description", "footer", "total") == ("July", "Thanks", 900)
    assert (changed["metadata"], changed["due_date"]) == (
        {"order": "7", "for": "bob"},
        stripe.now + 10 * 86400,
    )
    assert stripe.told("invoice.updated")[-1].previous is not None
    assert stripe.post(f"/v1/invoices/{id_}", discounts="")["total"] == 1000


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"description": "later"}, False),
        ({"discounts": ""}, False),
        ({"collection_method": "send_invoice"}, False),
        ({"metadata": {"a": "b"}}, True),
        ({"auto_advance": "false"}, True),
    ],
)
def test_a_finalized_invoice_changes_only_in_how_it_is_collected(
    change: dict[str, Any], allowed: bool
) -> None:
    stripe = Double()
    id_ = shop.opened(stripe, shop.customer(stripe), 1000)["id"]
    reply = stripe.call("POST", f"/v1/invoices/{id_}", **change)
    assert reply.status == (200 if allowed else 400)
    assert allowed or reply.body["error"]["code"] == "invoice_not_editable"


def test_a_due_date_is_for_sent_invoices_only() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    assert (
        stripe.refusal("POST", "/v1/invoices", customer=buyer, days_until_due=5)["param"] == "days_until_due"
    )


def test_a_one_off_draft_can_be_deleted_and_its_items_wait_again() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.draft(stripe, buyer, 1000, auto_advance=True)
    assert stripe.delete(f"/v1/invoices/{id_}")["deleted"]
    assert stripe.types()[-1] == "invoice.deleted"
    assert clockwork.next_due(stripe.account) is None
    assert stripe.refusal("GET", f"/v1/invoices/{id_}")["status"] == 404
    assert len(stripe.get("/v1/invoiceitems", customer=buyer, pending="true")["data"]) == 1
    stripe.wait("2h")
    open_ = shop.opened(stripe, buyer, 500)["id"]
    assert "draft" in stripe.refusal("DELETE", f"/v1/invoices/{open_}")["message"]


def test_lines_are_added_changed_and_removed() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.draft(stripe, buyer, 1000)
    waiting = shop.item(stripe, buyer, 250)["id"]
    added = stripe.post(
        f"/v1/invoices/{id_}/add_lines",
        lines=[{"invoice_item": waiting}, {"amount": 70, "description": "Stamps"}],
        invoice_metadata={"edited": "yes"},
    )
    assert ([line["amount"] for line in added["lines"]["data"]], added["total"]) == ([1000, 250, 70], 1320)
    assert added["metadata"] == {"edited": "yes"}
    first, second, third = (line["id"] for line in added["lines"]["data"])
    changed = stripe.post(f"/v1/invoices/{id_}/update_lines", lines=[{"id": third, "amount": 80}])
    assert [line["id"] for line in changed["lines"]["data"]] == [first, second, third]
    assert changed["total"] == 1330
    assert stripe.post(f"/v1/invoices/{id_}/lines/{first}", amount=900)["amount"] == 900
    left = stripe.post(
        f"/v1/invoices/{id_}/remove_lines",
        lines=[{"id": second, "behavior": "unassign"}, {"id": third, "behavior": "delete"}],
    )
    assert left["total"] == 900
    pending = stripe.get("/v1/invoiceitems", customer=buyer, pending="true")["data"]
    assert [item["id"] for item in pending] == [waiting]
    assert len(stripe.told("invoiceitem.deleted")) == 1


def test_an_item_made_for_a_draft_is_on_it_at_once() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    id_ = shop.draft(stripe, buyer, 1000)
    item = shop.item(stripe, buyer, 500, invoice=id_)
    assert stripe.types()[-2:] == ["invoiceitem.created", "invoice.updated"]
    assert (item["invoice"], shop.invoice(stripe, id_)["total"]) == (id_, 1500)
    stripe.post(f"/v1/invoiceitems/{item['id']}", amount=600, description="More")
    assert shop.invoice(stripe, id_)["total"] == 1600
    stripe.delete(f"/v1/invoiceitems/{item['id']}")
    assert shop.invoice(stripe, id_)["total"] == 1000
    stripe.post(f"/v1/invoices/{id_}/finalize")
    assert stripe.refusal("POST", "/v1/invoiceitems", customer=buyer, amount=1, invoice=id_)["code"] == (
        "invoice_not_editable"
    )


def test_an_item_by_price_costs_price_times_quantity() -> None:
    stripe = Double()
    buyer = shop.customer(stripe)
    price = stripe.post(
        "/v1/prices", currency="eur", unit_amount_decimal="33.5", product_data={"name": "Hour"}
    )
    item = stripe.post("/v1/invoiceitems", customer=buyer, pricing={"price": price["id"]}, quantity=3)
    assert shop.parts(item, "amount", "quantity", "currency", "description") == (101, 3, "eur", "Hour")
    assert item["pricing"]["price_details"] == {"price": price["id"], "product": price["product"]}
    assert stripe.post(f"/v1/invoiceitems/{item['id']}", quantity=4)["amount"] == 134
    data = {"currency": "eur", "product": price["product"], "unit_amount": 200}
    assert stripe.post("/v1/invoiceitems", customer=buyer, price_data=data, quantity=2)["amount"] == 400


def test_a_draft_waits_for_whoever_listens_and_for_72_hours_at_most() -> None:
    stripe = Double()
    stripe.post("/v1/webhook_endpoints", url="https://example.com/hooks", enabled_events=["invoice.created"])
    buyer = shop.customer(stripe)
    heard, unheard = (shop.draft(stripe, buyer, amount, auto_advance=True) for amount in (100, 200))
    assert shop.invoice(stripe, heard)["webhooks_delivered_at"] is None
    stripe.wait("2h")
    assert shop.invoice(stripe, heard)["status"] == "draft"
    drafting.acknowledged(stripe.account, heard)
    stripe.wait("1s")
    assert shop.parts(shop.invoice(stripe, heard), "status", "webhooks_delivered_at") == (
        "paid",
        stripe.now - 1,
    )
    stripe.wait("69h")
    assert shop.invoice(stripe, unheard)["status"] == "draft"
    stripe.wait("1h")
    assert shop.invoice(stripe, unheard)["status"] == "paid"


def test_acknowledged_early_a_draft_still_has_its_hour() -> None:
    stripe = Double()
    stripe.post("/v1/webhook_endpoints", url="https://example.com/hooks", enabled_events=["*"])
    id_ = shop.draft(stripe, shop.customer(stripe), 100, auto_advance=True)
    drafting.acknowledged(stripe.account, id_)
    stripe.wait("59m")
    assert shop.invoice(stripe, id_)["status"] == "draft"
    stripe.wait("1m")
    assert shop.invoice(stripe, id_)["status"] == "paid"


def test_the_list_is_filtered() -> None:
    stripe = Double()
    ada, bob = shop.customer(stripe), shop.customer(stripe)
    paid = shop.paid(stripe, ada, 500)["id"]
    stripe.wait("1d")
    draft = shop.draft(stripe, ada, 600)
    sent = shop.opened(stripe, bob, 700, collection_method="send_invoice", days_until_due=3)["id"]
    asked: list[tuple[dict[str, Any], list[str]]] = [
        ({"customer": ada}, [draft, paid]),
        ({"status": "paid"}, [paid]),
        ({"collection_method": "send_invoice"}, [sent]),
        ({"created": {"gte": stripe.now}}, [sent, draft]),
        ({"due_date": {"gt": stripe.now}}, [sent]),
    ]
    for filters, expected in asked:
        assert [each["id"] for each in stripe.get("/v1/invoices", **filters)["data"]] == expected
