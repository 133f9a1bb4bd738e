"""Test clocks: customers whose time is their own."""

from __future__ import annotations

from millrace_lab.account import DAY
from tests.support.double import OPENS, Double

CLOCKS = "/v1/test_helpers/test_clocks"


def test_an_advance_is_answered_as_advancing_and_then_the_clock_is_ready() -> None:
    stripe = Double()
    clock = stripe.post(CLOCKS, frozen_time=OPENS, name="trial")["id"]
    answer = stripe.post(f"{CLOCKS}/{clock}/advance", frozen_time=OPENS + DAY)
    assert answer["status"] == "advancing"
    assert answer["status_details"] == {"advancing": {"target_frozen_time": OPENS + DAY}}
    now = stripe.get(f"{CLOCKS}/{clock}")
    assert (now["status"], now["frozen_time"]) == ("ready", OPENS + DAY)
    kinds = ["created", "advancing", "ready"]
    assert stripe.types() == [f"test_helpers.test_clock.{kind}" for kind in kinds]
    assert stripe.now == OPENS  # the account's own time stands still


def test_a_clock_only_goes_forward() -> None:
    stripe = Double()
    clock = stripe.post(CLOCKS, frozen_time=OPENS)["id"]
    for at in (OPENS, OPENS - 1):
        assert stripe.refusal("POST", f"{CLOCKS}/{clock}/advance", frozen_time=at)["param"] == "frozen_time"


def _subscribed(stripe: Double, clock: str | None) -> str:
    product = stripe.post("/v1/products", name="Team")["id"]
    price = stripe.post(
        "/v1/prices", product=product, currency="usd", unit_amount=900, recurring={"interval": "month"}
    )["id"]
    on = {"test_clock": clock} if clock else {}
    customer = stripe.post("/v1/customers", email="ada@example.com", **on)["id"]
    method = {"collection_method": "send_invoice", "days_until_due": 30}
    id_: str = stripe.post("/v1/subscriptions", customer=customer, items=[{"price": price}], **method)["id"]
    return id_


def test_what_lives_on_a_clock_renews_by_it_and_nothing_else_does() -> None:
    stripe = Double()
    clock = stripe.post(CLOCKS, frozen_time=OPENS)["id"]
    ours, others = _subscribed(stripe, clock), _subscribed(stripe, None)
    stripe.post(f"{CLOCKS}/{clock}/advance", frozen_time=OPENS + 62 * DAY)
    assert len(stripe.get("/v1/invoices", subscription=ours)["data"]) == 3
    assert len(stripe.get("/v1/invoices", subscription=others)["data"]) == 1
    assert stripe.types()[-1] == "test_helpers.test_clock.ready"


def test_a_deleted_clock_takes_its_customers_along() -> None:
    stripe = Double()
    clock = stripe.post(CLOCKS, frozen_time=OPENS)["id"]
    subscription, other = _subscribed(stripe, clock), _subscribed(stripe, None)
    customer = stripe.get(f"/v1/subscriptions/{subscription}")["customer"]
    assert stripe.delete(f"{CLOCKS}/{clock}")["deleted"]
    assert stripe.get(f"/v1/customers/{customer}")["deleted"]
    assert stripe.refusal("GET", f"/v1/subscriptions/{subscription}")["status"] == 404
    assert stripe.get(f"/v1/subscriptions/{other}")["status"] == "active"
    assert stripe.get(CLOCKS)["data"] == []
    stripe.wait("40d")
