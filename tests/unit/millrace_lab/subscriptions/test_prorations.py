"""Prorations: to the second, rounded once a line, and never a cent away from what Stripe published."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from millrace_lab.subscriptions.prorating import prorated
from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400
# price in cents, seconds that remain of the period, the period's seconds, Stripe's amount, the amount by days
PUBLISHED = [
    (1000, 445_540, 2_678_400, 166, 193),
    (3252, 445_540, 2_678_400, 541, 629),
    (2000, 2_573_558, 2_592_000, 1986, 2000),
    (2500, 2_573_558, 2_592_000, 2482, 2500),
    (1000, 881_112, 2_419_200, 364, 392),
]


@pytest.mark.parametrize(("price", "remaining", "period", "stripe", "by_days"), PUBLISHED)
def test_the_published_examples_come_out_to_the_cent(
    price: int, remaining: int, period: int, stripe: int, by_days: int
) -> None:
    """Source: docs/lab/behaviours.md, from docs.stripe.com/billing/subscriptions/prorations and two fixtures."""
    assert prorated(price, period - remaining, 0, period) == stripe
    assert abs(by_days - stripe) > 1


def test_a_published_upgrade_comes_out_on_an_invoice() -> None:
    """1000 → 3252 with 445,540 of 2,678,400 seconds to go (a month of 31 days) is -166 and 541."""
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait(f"{2_678_400 - 445_540}s")
    change(shop, sub, shop.plan("Larger", 3252), proration_behavior="always_invoice")
    assert amounts(shop.latest(sub)) == [-166, 541]
    assert shop.latest(sub)["total"] == 375


def change(
    shop: Shop, sub: Body, price: str | None = None, quantity: int | None = None, **given: Any
) -> Body:
    asked: Body = {"id": item(shop.sub(sub))["id"]}
    if price is not None:
        asked["price"] = price
    if quantity is not None:
        asked["quantity"] = quantity
    return shop.change(sub, items=[asked], **given)


STORIES = """
behavior            what changes at half-time     waits          invoiced at once    on the next invoice
create_prorations   Small → Large                 -500 1000                          -500 1000 2000
create_prorations   1 → 3 seats                   -500 1500                          -500 1500 3000
always_invoice      Small → Large                                -500 1000           2000
always_invoice      1 → 3 seats                                  -500 1500           3000
none                Small → Large                                                    2000
none                1 → 3 seats                                                      3000
"""


def cells(story: str) -> list[str]:
    return [story[a:b].strip() for a, b in pairwise((0, 20, 50, 65, 85, 200))]


@pytest.mark.parametrize("story", STORIES.strip().splitlines()[1:])
def test_a_change_at_half_time(story: str) -> None:
    behavior, what, waits, at_once, following = cells(story)
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    mark, before = shop.mark(), len(shop.invoices(sub))
    if what == "Small → Large":
        change(shop, sub, shop.large, proration_behavior=behavior)
    else:
        change(shop, sub, quantity=3, proration_behavior=behavior)
    made = [each.object["amount"] for each in shop.told("invoiceitem.created", since=mark)]
    assert made == [int(amount) for amount in (waits or at_once).split()]
    assert len(shop.invoices(sub)) - before == bool(at_once)
    if at_once:
        assert amounts(shop.latest(sub)) == [int(amount) for amount in at_once.split()]
    shop.wait("16d")
    assert amounts(shop.latest(sub)) == [int(amount) for amount in following.split()]


def test_a_proration_says_what_it_gives_back() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    first = shop.latest(sub)
    shop.wait("10d")
    change(shop, sub, shop.large, proration_behavior="always_invoice")
    back, ahead = shop.latest(sub)["lines"]["data"]
    assert back["description"] == "Unused time on 1 \N{MULTIPLICATION SIGN} Small after 11 Jul 2026"
    assert ahead["description"] == "Remaining time on 1 \N{MULTIPLICATION SIGN} Large after 11 Jul 2026"
    details = back["parent"]["subscription_item_details"]
    assert details["proration"]
    assert details["proration_details"]["credited_items"] == {
        "invoice": first["id"],
        "invoice_line_items": [first["lines"]["data"][0]["id"]],
    }
    assert ahead["parent"]["subscription_item_details"]["proration_details"]["credited_items"] is None
    assert (back["discountable"], ahead["discountable"]) == (False, False)
    assert back["period"] == {"start": shop.now, "end": item(sub)["current_period_end"]}


@pytest.mark.parametrize(("mode", "credit"), [("classic", -1000), ("flexible", -500)])
def test_classic_credits_the_present_price_and_flexible_what_was_debited(mode: str, credit: int) -> None:
    """The plan became twice as dear without proration; only half of it was ever debited.

    Source: docs.stripe.com/billing/subscriptions/billing-mode/compare.
    """
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, billing_mode={"type": mode})
    shop.wait("15d 12h")
    change(shop, sub, shop.large, proration_behavior="none")
    change(shop, sub, shop.small, proration_behavior="always_invoice")
    assert amounts(shop.latest(sub)) == [credit, 500]


def test_the_flexible_mode_credits_net_of_the_discount_and_the_classic_mode_the_last_discounts() -> None:
    shop = Shop()
    shop.post("/v1/coupons", id="HALF", percent_off="50", duration="once")
    found = {}
    for mode in ("flexible", "classic"):
        sub = shop.subscribe(
            shop.customer(), shop.small, discounts=[{"coupon": "HALF"}], billing_mode={"type": mode}
        )
        assert shop.latest(sub)["total"] == 500
        change(shop, sub, shop.large, proration_behavior="always_invoice")
        found[mode] = amounts(shop.latest(sub))
    assert found == {"flexible": [-500, 2000], "classic": [-1000, 2000]}


def test_discounts_are_inside_a_proration() -> None:
    shop = Shop()
    shop.post("/v1/coupons", id="TENTH", percent_off="10", duration="forever")
    sub = shop.subscribe(shop.customer(), shop.small, discounts=[{"coupon": "TENTH"}])
    shop.wait("15d 12h")
    change(shop, sub, shop.large, proration_behavior="always_invoice")
    latest = shop.latest(sub)
    assert amounts(latest) == [-450, 900]
    assert (latest["total_discount_amounts"], latest["total"]) == ([], 450)


def test_two_changes_in_one_period_credit_the_first_one_before_it_is_invoiced() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    mark = shop.mark()
    change(shop, sub, shop.large)
    shop.wait("7d 18h")
    change(shop, sub, shop.small)
    made = [each.object["amount"] for each in shop.told("invoiceitem.created", since=mark)]
    assert made == [-500, 1000, -500, 250]


def test_a_proration_can_be_dated() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    half_time = shop.now + 31 * DAY // 2
    shop.wait("20d")
    change(shop, sub, shop.large, proration_date=half_time, proration_behavior="always_invoice")
    assert amounts(shop.latest(sub)) == [-500, 1000]
    outside = shop.refusal(
        "POST", f"/v1/subscriptions/{sub['id']}", items=[], proration_date=half_time - 30 * DAY
    )
    assert outside["param"] == "proration_date"


def test_a_downgrade_at_once_is_a_credit_on_the_balance() -> None:
    shop = Shop()
    buyer = shop.customer()
    sub = shop.subscribe(buyer, shop.large)
    shop.wait("15d 12h")
    change(shop, sub, shop.small, proration_behavior="always_invoice")
    assert (shop.latest(sub)["total"], shop.latest(sub)["status"]) == (-500, "paid")
    assert shop.get(f"/v1/customers/{buyer}")["balance"] == -500
    shop.wait("16d")
    assert (shop.latest(sub)["total"], shop.latest(sub)["amount_due"]) == (1000, 500)


def test_a_yearly_plan_begins_a_new_cycle_at_once() -> None:
    """The unused half of the month is given back and the whole year charged now; the anchor moves."""
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    mark = shop.mark()
    sub = change(shop, sub, shop.plan("Yearly", 10_000, "year"))
    assert amounts(shop.latest(sub)) == [-500, 10_000]
    assert shop.latest(sub)["status"] == "paid"
    assert sub["billing_cycle_anchor"] == item(sub)["current_period_start"] == shop.now
    assert item(sub)["current_period_end"] == shop.now + 365 * DAY
    assert len(shop.told("customer.subscription.updated", since=mark)) == 1
    shop.wait("364d")
    assert len(shop.invoices(sub)) == 2
    shop.wait("2d")
    assert amounts(shop.latest(sub)) == [10_000]


def test_from_free_to_paid_the_cycle_begins_when_money_does() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.plan("Free", 0))
    shop.wait("10d")
    sub = change(shop, sub, shop.small)
    assert amounts(shop.latest(sub)) == [1000]
    assert sub["billing_cycle_anchor"] == shop.now


def test_the_anchor_can_be_moved_to_now() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small)
    shop.wait("15d 12h")
    sub = shop.change(sub, billing_cycle_anchor={"type": "now"})
    assert amounts(shop.latest(sub)) == [-500, 1000]
    assert sub["billing_cycle_anchor"] == shop.now
    unchanged = shop.change(sub, billing_cycle_anchor={"type": "unchanged"})
    assert unchanged["latest_invoice"] == sub["latest_invoice"]


def test_seats_of_a_tiered_price_are_prorated_as_a_whole() -> None:
    shop = Shop()
    tiered = shop.plan(
        "Tiered",
        None,
        billing_scheme="tiered",
        tiers_mode="graduated",
        tiers=[{"up_to": "2", "unit_amount": "1000"}, {"up_to": "inf", "unit_amount": "500"}],
    )
    sub = shop.subscribe(shop.customer(), tiered, quantity=2)
    shop.wait("15d 12h")
    change(shop, sub, quantity=6, proration_behavior="always_invoice")
    assert amounts(shop.latest(sub)) == [-1000, 2000]
    shop.wait("16d")
    assert amounts(shop.latest(sub)) == [2000, 2000]


def test_of_several_changes_on_one_invoice_the_last_debit_is_what_is_given_back() -> None:
    """3 seats are paid, then 5 from a third of the month on, then 9 from its middle: 9 are given back."""
    shop = Shop()
    sub = shop.subscribe(shop.customer(), shop.small, quantity=3)
    shop.wait("10d")
    change(shop, sub, quantity=5)
    shop.wait("5d")
    change(shop, sub, quantity=9, proration_behavior="always_invoice")
    last = shop.latest(sub)["lines"]["data"][1]  # newest first: 5 given back, 9 ahead, 3 given back, 5 ahead
    shop.wait("8d")
    change(shop, sub, quantity=1, proration_behavior="always_invoice")
    credit = shop.latest(sub)["lines"]["data"][0]
    details = credit["parent"]["subscription_item_details"]["proration_details"]["credited_items"]
    assert (credit["amount"], details["invoice_line_items"]) == (-last["amount"] // 2, [last["id"]])
