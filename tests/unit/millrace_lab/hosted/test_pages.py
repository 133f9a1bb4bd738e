"""The pages themselves: words that a person needs, labels that a screen reader needs, nothing unescaped."""

from __future__ import annotations

import pytest

from millrace_lab.errors import StripeError
from millrace_lab.hosted import pages, parts
from tests.unit.millrace_lab.hosted.browser import Customer, Page

EVIL = "<script>alert('x')</script>\"'&"


def pages_of(ada: Customer) -> dict[str, Page]:
    """Every kind of page, with something on it."""
    sub = ada.subscribed()
    open_ = ada.session("payment", allow_promotion_codes=True, cancel_url="https://shop.example/back")
    asked, expired, complete = (ada.session("payment") for _ in range(3))
    ada.pay(asked, "pm_card_authenticationRequired")
    ada.stripe.post(f"/v1/checkout/sessions/{expired}/expire")
    ada.pay(complete)
    return {
        "open": ada.look(open_, notice="Something is wrong"),
        "setup": ada.look(ada.session("setup", currency="usd")),
        "authentication": ada.look(asked),
        "expired": ada.look(expired),
        "complete": ada.look(complete),
        "portal": ada.look(ada.portal(sub["customer"], return_url="https://shop.example/"), "portal"),
        "invoice": ada.look(sub["latest_invoice"], "invoice"),
    }


def test_an_invoice_is_printed_with_its_addressee_its_taxes_and_nothing_to_click() -> None:
    ada = Customer()
    rate = ada.stripe.post("/v1/tax_rates", display_name="VAT", percentage="19", inclusive=False)["id"]
    place = {"line1": "Weg 1", "postal_code": "53111", "city": "Bonn", "country": "DE"}
    buyer = ada.stripe.post("/v1/customers", name="Ada", email="ada@example.com", address=place)["id"]
    draft = ada.stripe.post(
        "/v1/invoices", customer=buyer, default_tax_rates=[rate], footer="Thank you", auto_advance=False
    )["id"]
    ada.stripe.post("/v1/invoiceitems", customer=buyer, invoice=draft, amount=1000, description="Seats")
    step = ada.stripe.account.step()
    with pytest.raises(StripeError, match="No such invoice"):
        pages.printed(step, draft)
    invoice = ada.stripe.post(f"/v1/invoices/{draft}/finalize")
    page = Page(pages.printed(ada.stripe.account.step(), draft))
    assert not [tag for tag in ("form", "button", "input", "script") if page.all(tag)]
    for words in (f"Invoice {invoice['number']}", "Ada", "Weg 1", "53111 Bonn", "Seats", "1.90 USD", "11.90 USD",
                  "Thank you"):  # fmt: skip
        assert words in page.words


def test_every_field_has_a_label_every_page_one_heading_and_no_script() -> None:
    for name, page in pages_of(Customer()).items():
        assert len(page.all("h1")) == 1, name
        assert page.all("html") == [{"lang": "en"}], name
        assert page.all("script") == [], name
        assert not [
            key for _, attributes in page.tags for key in attributes if key in ("style", "onclick")
        ], name
        labelled = {label.get("for") for label in page.all("label")}
        ids = [field["id"] for field in (*page.all("input"), *page.all("select")) if "id" in field]
        assert set(ids) <= labelled, name
        assert len(set(ids)) == len(ids), name
        for field in page.all("input"):
            assert "id" in field or field["type"] in ("hidden", "radio"), name
        assert all(form["method"] == "post" for form in page.all("form")), name
        assert len(page.all("legend")) == len(page.all("fieldset")), name


def test_what_went_wrong_is_announced() -> None:
    page = pages_of(Customer())["open"]
    assert {"class": "error", "role": "alert"} in page.all("p")
    assert "Something is wrong" in page.text


def test_what_anybody_typed_is_escaped() -> None:
    ada = Customer(name=EVIL)
    ada.stripe.post(f"/v1/products/{ada.product}", name=EVIL)
    customer = ada.stripe.post("/v1/customers", name=EVIL, email=EVIL)["id"]
    session = ada.session("subscription", customer=customer)
    ada.pay(session, "pm_card_visa_chargeDeclined", name=EVIL, postal_code=EVIL)
    pages = [ada.look(session, notice=EVIL)]
    ada.pay(session)
    sub = ada.stripe.get(f"/v1/subscriptions/{ada.get(session)['subscription']}")
    pages += [ada.look(ada.portal(customer), "portal"), ada.look(sub["latest_invoice"], "invoice")]
    for page in pages:
        assert page.all("script") == []
        assert EVIL in page.text
    assert EVIL in {field.get("value") for field in pages[0].all("input")}


def test_an_open_invoice_is_paid_on_its_page() -> None:
    ada = Customer()
    customer = ada.stripe.post("/v1/customers", email="ada@example.com")["id"]
    ada.stripe.post("/v1/invoiceitems", customer=customer, amount=1234, currency="usd", description="Work")
    drafted = ada.stripe.post(
        "/v1/invoices",
        customer=customer,
        collection_method="send_invoice",
        days_until_due=30,
        pending_invoice_items_behavior="include",
    )
    invoice = ada.stripe.post(f"/v1/invoices/{drafted['id']}/finalize")["id"]
    page = ada.look(invoice, "invoice")
    assert "Pay 12.34 USD" in page.text
    assert "Open, 1 July 2026, due 31 July 2026" in page.text
    for card, wrong in [("pm_card_visa_chargeDeclined", "Your card was declined."), ("pm_card_visa", None)]:
        assert ada.press(invoice, "invoice", payment_method=card) == f"/invoice/{invoice}"
        assert wrong is None or wrong in ada.look(invoice, "invoice").text
    assert ada.stripe.get(f"/v1/invoices/{invoice}")["status"] == "paid"
    assert ada.look(invoice, "invoice").all("form") == []
    assert (
        ada.press(invoice, "invoice", payment_method="pm_card_visa") == "refused: This invoice is not open."
    )


def test_the_bank_may_ask_on_an_invoice_too() -> None:
    ada = Customer()
    customer = ada.stripe.post("/v1/customers", email="ada@example.com")["id"]
    sub = ada.stripe.post(
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": ada.monthly}],
        payment_behavior="default_incomplete",
    )
    invoice = sub["latest_invoice"]
    ada.press(invoice, "invoice", payment_method="pm_card_authenticationRequired")
    assert ("authenticate", "yes") in ada.look(invoice, "invoice").buttons()
    ada.press(invoice, "invoice", authenticate="yes")
    assert ada.stripe.get(f"/v1/subscriptions/{sub['id']}")["status"] == "active"


AMOUNTS = """
 minor   currency | shown
 1234    usd      | 12.34 USD
 -5      eur      | -0.05 EUR
 1234    jpy      | 1234 JPY
 1230    kwd      | 1.230 KWD
 0       usd      | 0.00 USD
"""


@pytest.mark.parametrize("row", AMOUNTS.strip().splitlines()[1:])
def test_amounts_are_written_as_their_currency_wants(row: str) -> None:
    given, shown = row.split("|")
    minor, currency = given.split()
    assert parts.money(int(minor), currency) == shown.strip()


def test_addresses_are_the_doubles_own_where_it_serves_pages() -> None:
    ada = Customer(site="http://localhost:8420")
    session = ada.session("payment")
    assert ada.get(session)["url"] == f"http://localhost:8420/pay/{session}"
