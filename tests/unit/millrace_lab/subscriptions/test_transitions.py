"""The statuses of a subscription: every move that Stripe knows, each told as the story that causes it.

Source: docs.stripe.com/billing/subscriptions/overview.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.double import Body
from tests.unit.millrace_lab.subscriptions.shop import Shop

Story = Callable[[Shop], Body]
NEVER = "insufficient_funds"
PAST_DUE_AFTER = "32d"  # a month, the draft's hour, and then some


def paid_at_once(shop: Shop) -> Body:
    return shop.subscribe(shop.customer(), shop.small)


def declined_at_first(shop: Shop) -> Body:
    return shop.subscribe(shop.customer(NEVER), shop.small)


def sent_by_mail(shop: Shop) -> Body:
    buyer = shop.customer(None)
    return shop.subscribe(buyer, shop.small, collection_method="send_invoice", days_until_due=14)


def costing_nothing(shop: Shop) -> Body:
    return shop.subscribe(shop.customer(None), shop.plan("Free", 0))


def on_trial(shop: Shop, bank: str | None = "ok", **given: Any) -> Body:
    return shop.subscribe(shop.customer(bank), shop.small, trial_period_days=14, **given)


def paid_after_all(shop: Shop) -> Body:
    sub = declined_at_first(shop)
    shop.card(sub["customer"], "ok")
    shop.post(f"/v1/invoices/{sub['latest_invoice']}/pay")
    return sub


def never_paid(shop: Shop) -> Body:
    sub = declined_at_first(shop)
    shop.wait("23h")
    return sub


def first_invoice_voided(shop: Shop) -> Body:
    sub = declined_at_first(shop)
    shop.post(f"/v1/invoices/{sub['latest_invoice']}/void")
    return sub


def trial_over(shop: Shop) -> Body:
    sub = on_trial(shop)
    shop.wait("14d")
    return sub


def trial_over_and_declined(shop: Shop) -> Body:
    sub = on_trial(shop, NEVER)
    shop.wait("15d")
    return sub


def trial_over_without_card(what: str) -> Story:
    def story(shop: Shop) -> Body:
        settings = {"end_behavior": {"missing_payment_method": what}}
        sub = on_trial(shop, None, trial_settings=settings)
        shop.wait("14d")
        return sub

    return story


def renewal_declined(shop: Shop, end: str = "past_due") -> Body:
    sub = shop.subscribe(shop.customer(f"ok,{NEVER}"), shop.small, metadata={"lab_dunning": end})
    shop.wait(PAST_DUE_AFTER)
    return sub


def canceled_now(shop: Shop) -> Body:
    sub = paid_at_once(shop)
    shop.delete(f"/v1/subscriptions/{sub['id']}")
    return sub


def trial_added(shop: Shop) -> Body:
    sub = paid_at_once(shop)
    return shop.change(sub, trial_end=shop.now + 7 * 86400)


def paused_by_request(shop: Shop) -> Body:
    sub = paid_at_once(shop)
    return shop.post(f"/v1/subscriptions/{sub['id']}/pause")


def paid_late(shop: Shop) -> Body:
    sub = renewal_declined(shop)
    shop.card(sub["customer"], "ok")
    shop.post(f"/v1/invoices/{shop.sub(sub)['latest_invoice']}/pay")
    return sub


def late_invoice_voided(shop: Shop) -> Body:
    sub = renewal_declined(shop)
    shop.post(f"/v1/invoices/{shop.sub(sub)['latest_invoice']}/void")
    return sub


def dunned_to(end: str) -> Story:
    def story(shop: Shop) -> Body:
        sub = renewal_declined(shop, end)
        shop.wait("16d")
        return sub

    return story


def unpaid_then_paid(shop: Shop) -> Body:
    sub = dunned_to("unpaid")(shop)
    shop.card(sub["customer"], "ok")
    shop.post(f"/v1/invoices/{shop.sub(sub)['latest_invoice']}/pay")
    return sub


def unpaid_then_canceled(shop: Shop) -> Body:
    sub = dunned_to("unpaid")(shop)
    shop.delete(f"/v1/subscriptions/{sub['id']}")
    return sub


def resumed(shop: Shop) -> Body:
    sub = paused_by_request(shop)
    return shop.post(f"/v1/subscriptions/{sub['id']}/resume")


def resumed_and_declined(shop: Shop) -> Body:
    sub = shop.subscribe(shop.customer(f"ok,{NEVER}"), shop.small)
    shop.wait("31d")  # the renewal's draft stands, so what is unused is the whole new month
    shop.post(f"/v1/subscriptions/{sub['id']}/pause", bill_for={"unused_time_from": {"type": "none"}})
    return shop.post(f"/v1/subscriptions/{sub['id']}/resume")


def paused_then_canceled(shop: Shop) -> Body:
    sub = paused_by_request(shop)
    shop.delete(f"/v1/subscriptions/{sub['id']}")
    return sub


def sent_and_overdue(shop: Shop) -> Body:
    sub = sent_by_mail(shop)
    shop.wait("15d")
    return sub


TABLE: list[tuple[str, Story]] = [
    # the statuses that events tell, one after the other     the story that leads there
    ("incomplete → active", paid_at_once),
    ("incomplete", declined_at_first),
    ("active", sent_by_mail),
    ("active", costing_nothing),
    ("trialing", on_trial),
    ("incomplete → active", paid_after_all),
    ("incomplete → incomplete_expired", never_paid),
    ("incomplete → incomplete_expired", first_invoice_voided),
    ("trialing → active", trial_over),
    ("trialing → active → past_due", trial_over_and_declined),
    ("trialing → canceled", trial_over_without_card("cancel")),
    ("trialing → paused", trial_over_without_card("pause")),
    ("trialing → active", trial_over_without_card("create_invoice")),
    ("incomplete → active → past_due", renewal_declined),
    ("incomplete → active → canceled", canceled_now),
    ("incomplete → active → trialing", trial_added),
    ("incomplete → active → paused", paused_by_request),
    ("active → past_due", sent_and_overdue),
    ("incomplete → active → past_due → active", paid_late),
    ("incomplete → active → past_due → active", late_invoice_voided),
    ("incomplete → active → past_due → unpaid", dunned_to("unpaid")),
    ("incomplete → active → past_due → canceled", dunned_to("canceled")),
    ("incomplete → active → past_due → paused", dunned_to("paused")),
    ("incomplete → active → past_due", dunned_to("past_due")),
    ("incomplete → active → past_due → unpaid → active", unpaid_then_paid),
    ("incomplete → active → past_due → unpaid → canceled", unpaid_then_canceled),
    ("incomplete → active → paused → active", resumed),
    ("incomplete → active → paused → active → past_due", resumed_and_declined),
    ("incomplete → active → paused → canceled", paused_then_canceled),
]


@pytest.mark.parametrize(
    ("moves", "story"), TABLE, ids=[f"{n} {moves}" for n, (moves, _) in enumerate(TABLE)]
)
def test_a_story_moves_the_status_as_stripe_does(moves: str, story: Story) -> None:
    shop = Shop()
    sub = story(shop)
    assert " → ".join(shop.statuses()) == moves
    assert shop.sub(sub)["status"] == moves.split(" → ")[-1]


@pytest.mark.parametrize("ended", [canceled_now, never_paid])
def test_what_has_ended_stays_ended(ended: Story) -> None:
    shop = Shop()
    sub = ended(shop)
    at_the_end = shop.sub(sub)["status"]
    assert shop.refusal("POST", f"/v1/subscriptions/{sub['id']}", trial_end=shop.now + 99)["status"] == 400
    assert shop.refusal("DELETE", f"/v1/subscriptions/{sub['id']}")["code"] == "resource_missing"
    shop.change(sub, metadata={"why": "moved away"})
    shop.wait("70d")
    assert shop.sub(sub)["status"] == at_the_end
    assert len(shop.invoices(sub)) == 1


def test_an_unpaid_subscription_gets_invoices_that_stay_drafts() -> None:
    shop = Shop()
    sub = dunned_to("unpaid")(shop)
    shop.wait("40d")
    assert [invoice["status"] for invoice in shop.invoices(sub)] == ["paid", "open", "draft"]
    assert shop.latest(sub)["status"] == "draft"
    assert not shop.latest(sub)["auto_advance"]
    assert shop.sub(sub)["status"] == "unpaid"


def test_dunning_may_write_the_invoice_off() -> None:
    shop = Shop()
    sub = dunned_to("canceled+uncollectible")(shop)
    assert shop.latest(sub)["status"] == "uncollectible"
    assert shop.sub(sub)["cancellation_details"]["reason"] == "payment_failed"


def test_a_classic_subscription_is_not_paused_by_dunning() -> None:
    shop = Shop()
    sub = shop.subscribe(
        shop.customer(f"ok,{NEVER}"),
        shop.small,
        billing_mode={"type": "classic"},
        metadata={"lab_dunning": "paused"},
    )
    shop.wait("50d")
    assert shop.sub(sub)["status"] == "past_due"
