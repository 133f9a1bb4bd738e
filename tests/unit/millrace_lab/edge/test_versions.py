"""One canonical state, seen in the version that the caller speaks.

The expected shapes are those of the typed objects of stripe-python 10.12 (2024-06-20), 11.6 (acacia), 12.5
(basil), 13.2 (clover) and 16.1 (endive), and of docs/lab/behaviours.md.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from millrace_lab import versions
from millrace_lab.platform import events
from millrace_lab.versions.requests import translated
from millrace_lab.versions.table import ADDED, RESHAPED
from tests.support.double import Double
from tests.unit.millrace_lab.edge.asking import ask, message
from tests.unit.millrace_lab.edge.shop import whole_story

Body = dict[str, Any]
OLDEST, ACACIA, BASIL = "2024-06-20", "2025-02-24.acacia", "2025-08-27.basil"
CLOVER, DAHLIA, ENDIVE = "2025-11-17.clover", "2026-08-26.dahlia", "2026-10-28.endive"


class Shop:
    """A customer with a card, a seat price, a promotion code and a tax rate, and two invoices of theirs."""

    def __init__(self) -> None:
        stripe = self.stripe = Double()
        method = stripe.post("/v1/payment_methods", type="card", card={"token": "tok_visa"})["id"]
        self.customer = stripe.post("/v1/customers", email="ada@example.com")["id"]
        stripe.post(f"/v1/payment_methods/{method}/attach", customer=self.customer)
        paying = {"default_payment_method": method}
        stripe.post(f"/v1/customers/{self.customer}", invoice_settings=paying)
        self.product = stripe.post("/v1/products", name="Team")["id"]
        recurring = {"interval": "month"}
        self.price = stripe.post(
            "/v1/prices", product=self.product, currency="usd", unit_amount=1000, recurring=recurring
        )["id"]
        self.coupon = stripe.post("/v1/coupons", percent_off=10, duration="forever")["id"]
        self.code = stripe.post("/v1/promotion_codes", promotion={"type": "coupon", "coupon": self.coupon})[
            "id"
        ]
        self.rate = stripe.post("/v1/tax_rates", display_name="VAT", percentage="20", inclusive="false")["id"]
        self.subscription = stripe.post(
            "/v1/subscriptions",
            customer=self.customer,
            items=[{"price": self.price, "quantity": 3}],
            discounts=[{"promotion_code": self.code}],
            default_tax_rates=[self.rate],
        )["id"]
        item = stripe.get(f"/v1/subscriptions/{self.subscription}")["items"]["data"][0]["id"]
        stripe.post(f"/v1/subscription_items/{item}", quantity=5)
        stripe.wait("32d")
        self.renewal = stripe.get(f"/v1/subscriptions/{self.subscription}")["latest_invoice"]

    def get(self, path: str, version: str, **params: Any) -> Body:
        reply = ask(self.stripe, "GET", path, version=version, **params)
        assert reply.status == 200, reply.body
        assert reply.headers["Stripe-Version"] == version
        return reply.body


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


WHERE = """
 object              field                            from         to
 subscription        current_period_end               -            2025-02-24
 subscription        discount                         -            2025-02-24
 subscription        billing_mode                     2025-08-27   -
 subscription        plan                             -            -
 subscription        quantity                         -            -
 subscription        status_details                   2026-10-28   -
 subscription        items.data.0.current_period_end  -            -
 invoice             subscription                     -            2025-02-24
 invoice             subscription_details             -            2025-02-24
 invoice             payment_intent                   -            2025-02-24
 invoice             charge                           -            2025-02-24
 invoice             paid                             -            2025-02-24
 invoice             paid_out_of_band                 -            2025-02-24
 invoice             tax                              -            2025-02-24
 invoice             total_tax_amounts                -            2025-02-24
 invoice             discount                         -            2025-02-24
 invoice             quote                            -            2025-02-24
 invoice             parent                           2025-08-27   -
 invoice             total_taxes                      2025-08-27   -
 invoice             amount_overpaid                  2025-08-27   -
 invoice             amount_paid_off_stripe           2026-08-26   -
 invoice             customer_account                 2026-08-26   -
 invoice             total_pretax_credit_amounts      2025-02-24   -
 invoice             status_details                   2026-10-28   -
 invoice             lines.data.0.price               -            2025-02-24
 invoice             lines.data.0.plan                -            2025-02-24
 invoice             lines.data.0.proration           -            2025-02-24
 invoice             lines.data.0.type                -            2025-02-24
 invoice             lines.data.0.subscription_item   -            2025-02-24
 invoice             lines.data.0.invoice_item        -            2025-02-24
 invoice             lines.data.0.tax_amounts         -            2025-02-24
 invoice             lines.data.0.tax_rates           -            2025-02-24
 invoice             lines.data.0.pricing             2025-08-27   -
 invoice             lines.data.0.parent              2025-08-27   -
 invoice             lines.data.0.taxes               2025-08-27   -
 invoice             lines.data.0.subtotal            2026-08-26   -
 invoice             lines.data.0.quantity_decimal    2026-08-26   -
 charge              invoice                          -            2025-02-24
 payment_intent      invoice                          -            2025-02-24
 payment_intent      payment_details                  2025-11-17   -
 promotion_code      coupon                           -            2025-08-27
 promotion_code      promotion                        2025-11-17   -
 customer            customer_account                 2026-08-26   -
"""
SHOWN = [OLDEST, ACACIA, BASIL, CLOVER, DAHLIA, ENDIVE]


@functools.cache
def _seen(shop: Shop, kind: str, version: str) -> Body:
    places = {
        "subscription": f"/v1/subscriptions/{shop.subscription}",
        "invoice": f"/v1/invoices/{shop.renewal}",
        "charge": "/v1/charges",
        "payment_intent": "/v1/payment_intents",
        "promotion_code": f"/v1/promotion_codes/{shop.code}",
        "customer": f"/v1/customers/{shop.customer}",
    }
    body = shop.get(places[kind], version)
    first: Body = body["data"][0] if body["object"] == "list" else body
    return first


@pytest.mark.parametrize("row", WHERE.strip().splitlines()[1:])
def test_a_field_is_shown_in_the_versions_that_have_it(shop: Shop, row: str) -> None:
    kind, path, since, until = row.split()
    for version in SHOWN:
        here: Any = _seen(shop, kind, version)
        for part in path.split("."):
            inside = part in here if isinstance(here, dict) else int(part) < len(here)
            here = here[int(part) if isinstance(here, list) else part] if inside else None
        expected = (since == "-" or version >= since) and (until == "-" or version[:10] <= until)
        assert inside == expected, f"{kind}.{path} in {version}"


def test_what_older_versions_show_says_the_same(shop: Shop) -> None:
    old, new = (
        shop.get(f"/v1/invoices/{shop.renewal}", OLDEST),
        shop.get(f"/v1/invoices/{shop.renewal}", ENDIVE),
    )
    assert old["subscription"] == new["parent"]["subscription_details"]["subscription"] == shop.subscription
    assert old["paid"] is True
    assert old["paid_out_of_band"] is False
    assert old["tax"] == sum(each["amount"] for each in new["total_taxes"]) > 0
    assert [t["tax_rate"] for t in old["total_tax_amounts"]] == [shop.rate]
    assert old["discount"]["coupon"]["id"] == shop.coupon
    assert old["discounts"] == new["discounts"] == [old["discount"]["id"]]
    intent = shop.get(f"/v1/payment_intents/{old['payment_intent']}", OLDEST)
    assert intent["invoice"] == shop.renewal
    assert intent["latest_charge"] == old["charge"]
    assert shop.get(f"/v1/charges/{old['charge']}", OLDEST)["invoice"] == shop.renewal
    for before, after in zip(old["lines"]["data"], new["lines"]["data"], strict=True):
        assert before["price"]["id"] == after["pricing"]["price_details"]["price"] == shop.price
        assert before["plan"]["id"] == shop.price
        assert before["amount"] == after["amount"]
        assert [t["amount"] for t in before["tax_amounts"]] == [t["amount"] for t in after["taxes"]]
        details = after["parent"]["subscription_item_details"] or after["parent"]["invoice_item_details"]
        assert before["proration"] == details["proration"]
    assert {line["proration"] for line in old["lines"]["data"]} == {
        True,
        False,
    }  # a change of seats was waiting


def test_a_prorated_line_names_what_it_gives_back(shop: Shop) -> None:
    lines = shop.get(f"/v1/invoices/{shop.renewal}", OLDEST)["lines"]["data"]
    back = [line for line in lines if line["amount"] < 0]
    assert back
    assert all(line["proration_details"]["credited_items"]["invoice"] != shop.renewal for line in back)
    plain = [line for line in lines if not line["proration"]]
    assert [line["proration_details"] for line in plain] == [{"credited_items": None}]
    assert [line["type"] for line in plain] == ["subscription"]


def test_old_names_can_be_expanded_in_old_versions_only(shop: Shop) -> None:
    path = f"/v1/subscriptions/{shop.subscription}"
    expand = ["latest_invoice.payment_intent.latest_charge"]
    body = shop.get(path, OLDEST, expand=expand)
    assert body["latest_invoice"]["payment_intent"]["latest_charge"]["invoice"] == shop.renewal
    assert ask(shop.stripe, "GET", path, version=ENDIVE, expand=expand).status == 400


def test_a_webhook_is_in_its_endpoints_version_with_what_changed_in_its_words(shop: Shop) -> None:
    account = shop.stripe.account
    paid = next(t for t in shop.stripe.told("invoice.updated") if t.previous and "amount_paid" in t.previous)
    old = events.rendered(account, paid, OLDEST)
    assert (old["api_version"], old["data"]["object"]["paid"]) == (OLDEST, True)
    assert old["data"]["previous_attributes"]["paid"] is False
    assert old["data"]["previous_attributes"]["status"] == "open"
    new = events.rendered(account, paid)
    assert new["data"]["previous_attributes"] == paid.previous
    assert "paid" not in new["data"]["object"]


def test_a_renewal_changes_the_subscriptions_own_period_in_old_versions(shop: Shop) -> None:
    told = shop.stripe.told("customer.subscription.updated")
    renewal = next(t for t in told if t.previous and "latest_invoice" in t.previous and "items" in t.previous)
    was = events.rendered(shop.stripe.account, renewal, OLDEST)["data"]["previous_attributes"]
    item = was["items"]["data"][0]
    assert was["current_period_end"] == item["current_period_end"]
    assert was["current_period_start"] == item["current_period_start"]
    assert events.rendered(shop.stripe.account, renewal)["data"]["previous_attributes"] == renewal.previous


def test_metadata_that_was_added_to_stays_among_the_changes() -> None:
    stripe = Double()
    id_ = stripe.post("/v1/customers", metadata={"a": "1"})["id"]
    stripe.post(f"/v1/customers/{id_}", metadata={"b": "2"})
    told = stripe.told("customer.updated")[0]
    for version in (OLDEST, ENDIVE):
        body = events.rendered(stripe.account, told, version)
        assert body["data"]["previous_attributes"]["metadata"] == {"a": "1"}


# Requests.


def test_an_unknown_version_is_refused() -> None:
    for version in ("2017-08-15", "2026-13-01.endive", "latest"):
        reply = ask(Double(), "GET", "/v1/products", version=version)
        assert (reply.status, "Stripe-Version" in reply.headers) == (400, False)
        assert message(reply).startswith(f"Invalid Stripe API version: {version}")


def test_without_a_version_the_accounts_own_is_spoken() -> None:
    stripe = Double(api_version=BASIL)
    reply = ask(stripe, "POST", "/v1/customers", email="ada@example.com")
    assert reply.headers["Stripe-Version"] == BASIL
    assert "customer_account" not in reply.body


OLD_REQUESTS: tuple[tuple[str, str, Body, Body], ...] = (
    # version, route, what is sent, what it means
    (ACACIA, "POST /v1/subscriptions/{s}", {"coupon": "c"}, {"discounts": [{"coupon": "c"}]}),
    (ACACIA, "POST /v1/subscriptions/{s}", {"coupon": ""}, {"discounts": ""}),
    (ACACIA, "POST /v1/subscriptions/{s}", {"proration_date": "1"}, {"proration_date": "1"}),
    (BASIL, "POST /v1/subscriptions/{s}", {"coupon": "c"}, {"coupon": "c"}),
    (BASIL, "POST /v1/subscriptions", {}, {"billing_mode": {"type": "classic"}}),
    (CLOVER, "POST /v1/subscriptions", {}, {}),
    (BASIL, "POST /v1/promotion_codes", {"coupon": "c"}, {"promotion": {"type": "coupon", "coupon": "c"}}),
    (CLOVER, "POST /v1/promotion_codes", {"coupon": "c"}, {"coupon": "c"}),
    (CLOVER, "POST /v1/checkout/sessions", {"ui_mode": "hosted"}, {"ui_mode": "hosted_page"}),
    (DAHLIA, "POST /v1/subscriptions/{s}", {"billing_cycle_anchor": "now"},
     {"billing_cycle_anchor": {"type": "now"}}),
    (ENDIVE, "POST /v1/subscriptions/{s}", {"billing_cycle_anchor": "now"}, {"billing_cycle_anchor": "now"}),
)  # fmt: skip


@pytest.mark.parametrize(("version", "route", "sent", "meant"), OLD_REQUESTS)
def test_an_old_spelling_means_what_it_meant(version: str, route: str, sent: Body, meant: Body) -> None:
    assert translated(route, sent, version) == meant


def test_a_subscription_is_begun_in_the_words_of_2024(shop: Shop) -> None:
    made = ask(
        shop.stripe,
        "POST",
        "/v1/subscriptions",
        version=OLDEST,
        customer=shop.customer,
        items=[{"price": shop.price}],
        promotion_code=shop.code,
    ).body
    assert made["discount"]["promotion_code"] == shop.code
    assert made["current_period_end"] > made["current_period_start"]
    now = shop.stripe.get(f"/v1/subscriptions/{made['id']}")
    assert now["billing_mode"]["type"] == "classic"
    assert now["discounts"] == [made["discount"]["id"]]


# The table.


def test_versions_are_a_line_and_every_change_is_of_one_of_them() -> None:
    assert list(versions.KNOWN) == sorted(versions.KNOWN)
    assert versions.KNOWN[0] == OLDEST
    assert versions.NEWEST == ENDIVE
    assert {since for since, *_ in (*ADDED, *RESHAPED)} <= set(versions.KNOWN)


def test_every_event_of_a_shops_life_can_be_told_in_every_version() -> None:
    stripe = Double()
    whole_story(stripe)
    assert len({told.type for told in stripe.told()}) >= 30
    for told in stripe.told():
        for version in versions.KNOWN:
            event = events.rendered(stripe.account, told, version)
            assert event["data"]["object"].get("id") == told.object.get("id")
            assert ("previous_attributes" in event["data"]) == (told.previous is not None)


def test_rendering_changes_nothing_that_is_kept(shop: Shop) -> None:
    kept = shop.stripe.account.objects[shop.renewal]
    before = repr(kept)
    versions.rendered(kept, OLDEST, shop.stripe.account.find)["lines"]["data"].clear()
    assert repr(kept) == before
