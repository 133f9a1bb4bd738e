"""Ending a subscription: now, later, in the portal; and thinking again."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_lab.subscriptions import canceling
from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop, amounts, item

DAY = 86400


def running(shop: Shop, **given: Any) -> Body:
    return shop.subscribe(shop.customer(), shop.small, **given)


def test_cancel_now_is_told_as_deleted_and_collects_nothing_more() -> None:
    shop = Shop()
    sub = running(shop)
    shop.wait("31d 30m")  # the renewal's draft has half an hour to go
    mark = shop.mark()
    ended = shop.delete(
        f"/v1/subscriptions/{sub['id']}",
        cancellation_details={"comment": "too much", "feedback": "too_expensive"},
    )
    assert (ended["status"], ended["ended_at"], ended["canceled_at"]) == ("canceled", shop.now, shop.now)
    assert ended["cancellation_details"] == {
        "comment": "too much", "feedback": "too_expensive", "feedback_option": None, "reason": "cancellation_requested",
    }  # fmt: skip
    shop.wait("40d")
    assert shop.types(mark) == ["customer.subscription.deleted", "invoice.updated"]
    assert shop.latest(sub)["status"] == "draft"


def test_what_waits_is_dropped_or_settled() -> None:
    for settle, types in (
        (False, ["customer.subscription.deleted", "invoiceitem.deleted", "invoiceitem.deleted"]),
        (True, ["customer.subscription.updated", "invoice.created"]),
    ):
        shop = Shop()
        sub = running(shop)
        shop.wait("15d 12h")
        shop.change(sub, items=[{"id": item(sub)["id"], "price": shop.large}])
        mark = shop.mark()
        shop.delete(f"/v1/subscriptions/{sub['id']}", invoice_now=settle)
        assert shop.types(mark)[: len(types)] == types
        assert amounts(shop.latest(sub)) == ([-500, 1000] if settle else [1000])


def test_cancel_with_proration_gives_the_rest_back() -> None:
    for at_once in (True, False):
        shop = Shop()
        sub = running(shop)
        shop.wait("15d 12h")
        shop.delete(f"/v1/subscriptions/{sub['id']}", prorate=True, invoice_now=at_once)
        customer = shop.get(f"/v1/customers/{sub['customer']}")
        if at_once:
            assert (amounts(shop.latest(sub)), customer["balance"]) == ([-500], -500)
        else:  # it waits for whatever is invoiced to this customer next
            again = shop.subscribe(sub["customer"], shop.small)
            assert sorted(amounts(shop.latest(again))) == [-500, 1000]


SPELLINGS = [
    # how it is asked for                                  cancel_at            the boolean
    ({"cancel_at_period_end": True}, 31 * DAY, True),
    ({"cancel_at": "min_period_end"}, 31 * DAY, False),
    ({"cancel_at": "max_period_end"}, 31 * DAY, False),
]


@pytest.mark.parametrize(("asked", "after", "boolean"), SPELLINGS)
def test_a_scheduled_end_has_two_spellings_and_one_effect(asked: Body, after: int, boolean: bool) -> None:
    shop = Shop()
    began, sub = shop.now, running(shop)
    shop.wait("3d")
    sub = shop.change(sub, **asked)
    assert (sub["cancel_at"], sub["cancel_at_period_end"]) == (began + after, boolean)
    assert (sub["status"], sub["canceled_at"]) == ("active", began + 3 * DAY)
    assert sub["cancellation_details"]["reason"] == "cancellation_requested"
    mark = shop.mark()
    shop.wait("60d")
    ended = shop.sub(sub)
    assert (ended["status"], ended["ended_at"], ended["canceled_at"]) == (
        "canceled",
        began + after,
        began + 3 * DAY,
    )
    assert [told for told in shop.types(mark) if told != "balance.available"] == [
        "customer.subscription.deleted"
    ]
    assert len(shop.invoices(sub)) == 1


def test_thinking_again_leaves_no_trace() -> None:
    for undone in ({"cancel_at_period_end": False}, {"cancel_at": ""}):
        shop = Shop()
        sub = running(shop)
        shop.change(sub, cancel_at_period_end=True)
        kept = shop.change(sub, **undone)
        assert (kept["cancel_at"], kept["cancel_at_period_end"], kept["canceled_at"]) == (None, False, None)
        assert kept["cancellation_details"]["reason"] is None
        shop.wait("40d")
        assert shop.sub(sub)["status"] == "active"


@pytest.mark.parametrize(("mode", "boolean"), [("flexible", False), ("classic", True)])
def test_the_portal_tells_it_twice_a_second_apart(mode: str, boolean: bool) -> None:
    """Source: docs/lab/behaviours.md: the second update adds what the customer said."""
    shop = Shop()
    sub = running(shop, billing_mode={"type": mode})
    mark = shop.mark()
    step = shop.account.step()
    canceling.in_portal(step, sub["id"], "too_complex", "I never understood it")
    step.commit()
    first, second = shop.told(since=mark)
    assert (first.type, second.type) == ("customer.subscription.updated",) * 2
    assert (first.created, second.created) == (shop.now, shop.now + 1)
    assert set(first.previous or ()) >= {"cancel_at", "canceled_at", "cancellation_details"}
    assert second.previous == {"cancellation_details": {"comment": None, "feedback": None}}
    assert first.object["cancel_at_period_end"] is boolean
    shop.wait("32d")
    assert shop.sub(sub)["status"] == "canceled"


def test_an_end_within_the_period_keeps_the_rest_if_nothing_is_prorated() -> None:
    shop = Shop()
    sub = running(shop)
    shop.change(sub, cancel_at=shop.now + 31 * DAY // 2, proration_behavior="none")
    shop.wait("16d")
    assert (shop.sub(sub)["status"], len(shop.invoices(sub))) == ("canceled", 1)


def test_an_end_within_the_period_gives_the_rest_back() -> None:
    shop = Shop()
    sub = running(shop)
    shop.change(sub, cancel_at=shop.now + 31 * DAY // 2)
    shop.wait("16d")
    assert shop.sub(sub)["status"] == "canceled"
    assert amounts(shop.latest(sub)) == [-500]
    assert (shop.latest(sub)["status"], shop.get(f"/v1/customers/{sub['customer']}")["balance"]) == (
        "paid",
        -500,
    )


def test_the_past_and_two_dates_at_once_are_refused() -> None:
    shop = Shop()
    sub = running(shop)
    path = f"/v1/subscriptions/{sub['id']}"
    assert shop.refusal("POST", path, cancel_at=shop.now)["param"] == "cancel_at"
    assert shop.refusal("POST", path, cancel_at=shop.now + 9, cancel_at_period_end=True)["status"] == 400


def test_canceling_an_incomplete_one_voids_its_invoice() -> None:
    shop = Shop()
    sub = shop.subscribe(shop.customer("insufficient_funds"), shop.small)
    shop.delete(f"/v1/subscriptions/{sub['id']}")
    assert (shop.sub(sub)["status"], shop.latest(sub)["status"]) == ("incomplete_expired", "void")
