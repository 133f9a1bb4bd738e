"""The customer portal: what a customer may do there, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.millrace_lab.hosted.browser import Body, Customer


def features(**on: Any) -> Body:
    """The features of a configuration; those that are not named are off."""
    return {name: {"enabled": True, **more} for name, more in on.items()}


def configured(ada: Customer, **on: Any) -> str:
    id_: str = ada.stripe.post("/v1/billing_portal/configurations", features=features(**on))["id"]
    return id_


def test_a_cancellation_is_two_updates_a_second_apart_and_can_be_taken_back() -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(sub["customer"], return_url="https://shop.example/account")
    mark, now = ada.stripe.mark(), ada.stripe.now
    ada.press(session, "portal", do="cancel", subscription=sub["id"], feedback="too_expensive")
    first, second = ada.stripe.told("customer.subscription.updated", since=mark)
    assert (first.created, second.created) == (now, now + 1)
    assert second.object["cancellation_details"]["feedback"] == "too_expensive"
    canceled = ada.stripe.get(f"/v1/subscriptions/{sub['id']}")
    period_end = canceled["items"]["data"][0]["current_period_end"]
    assert (canceled["cancel_at"], canceled["cancel_at_period_end"]) == (period_end, False)
    assert "Ends on 1 August 2026." in ada.look(session, "portal").text
    ada.press(session, "portal", do="keep", subscription=sub["id"])
    assert ada.stripe.get(f"/v1/subscriptions/{sub['id']}")["cancel_at"] is None
    assert "Renews on 1 August 2026." in ada.look(session, "portal").text


def test_a_cancellation_may_be_immediate_where_the_shop_says_so() -> None:
    ada = Customer()
    sub = ada.subscribed()
    here = configured(
        ada, subscription_cancel={"mode": "immediately", "proration_behavior": "create_prorations"}
    )
    session = ada.portal(sub["customer"], configuration=here)
    ada.stripe.wait("10d")
    ada.press(session, "portal", do="cancel", subscription=sub["id"])
    ended = ada.stripe.get(f"/v1/subscriptions/{sub['id']}")
    assert (ended["status"], ended["cancellation_details"]["reason"]) == (
        "canceled",
        "cancellation_requested",
    )
    (credit,) = ada.stripe.get("/v1/invoiceitems", customer=sub["customer"])["data"]
    assert credit["amount"] == -1355  # 2 times 1000, 21 of 31 days: 1354.8


def test_a_new_card_pays_from_now_on() -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(sub["customer"])
    ada.press(session, "portal", do="card", payment_method="pm_card_mastercard")
    customer = ada.stripe.get(f"/v1/customers/{sub['customer']}")
    method = customer["invoice_settings"]["default_payment_method"]
    assert ada.stripe.get(f"/v1/subscriptions/{sub['id']}")["default_payment_method"] == method
    assert ada.stripe.get(f"/v1/payment_methods/{method}")["card"]["brand"] == "mastercard"
    assert "Used by default: Mastercard ending 4444." in ada.look(session, "portal").text
    assert ada.press(session, "portal", do="card", payment_method="pm_card_visa_chargeDeclined").startswith(
        "refused"
    )
    assert "offered" in ada.press(session, "portal", do="card", payment_method="pm_of_somebody_else")


def test_a_plan_is_switched_among_those_that_are_offered() -> None:
    ada = Customer()
    sub = ada.subscribed()
    more, hidden = (ada.price(amount, recurring={"interval": "month"}) for amount in (3000, 1))
    products = [{"product": ada.product, "prices": [ada.monthly, more]}]
    here = configured(ada, subscription_update={"products": products, "proration_behavior": "always_invoice"})
    session = ada.portal(sub["customer"], configuration=here)
    assert ada.look(session, "portal").text.count("Switch to Team") == 1
    ada.stripe.wait("15d 12h")  # half of July
    ada.press(session, "portal", do="switch", subscription=sub["id"], price=more)
    switched = ada.stripe.get(f"/v1/subscriptions/{sub['id']}")
    assert switched["items"]["data"][0]["price"]["id"] == more
    invoice = ada.stripe.get(f"/v1/invoices/{switched['latest_invoice']}")
    assert (invoice["status"], invoice["total"]) == ("paid", 2000)  # 2 times 3000 - 1000, for half a month
    assert "not offered" in ada.press(session, "portal", do="switch", subscription=sub["id"], price=hidden)


def test_a_subscription_is_paused_and_resumed() -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(sub["customer"], configuration=configured(ada, subscription_pause={}))
    ada.press(session, "portal", do="pause", subscription=sub["id"])
    paused = ada.stripe.get(f"/v1/subscriptions/{sub['id']}")
    assert paused["status_details"]["paused"]["subscription"]["type"] == "pause_requested"
    assert ("do", "resume") in ada.look(session, "portal").buttons()
    ada.press(session, "portal", do="resume", subscription=sub["id"])
    assert ada.stripe.get(f"/v1/subscriptions/{sub['id']}")["status"] == "active"


def test_details_change_as_far_as_the_shop_allows() -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(
        sub["customer"],
        configuration=configured(ada, customer_update={"allowed_updates": ["email", "address"]}),
    )
    ada.press(session, "portal", do="details", email="new@example.com", name="Eve", country="FR")
    changed = ada.stripe.get(f"/v1/customers/{sub['customer']}")
    assert (changed["email"], changed["name"]) == ("new@example.com", None)
    assert changed["address"]["country"] == "FR"


ACTS = ("card", "details", "cancel", "keep", "switch", "confirm", "pause", "resume")


@pytest.mark.parametrize("act", ACTS)
def test_nothing_is_possible_that_is_switched_off(act: str) -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(sub["customer"], configuration=configured(ada))
    mark = ada.stripe.mark()
    asked = ada.press(session, "portal", do=act, subscription=sub["id"], payment_method="pm_card_visa")
    assert (asked, ada.stripe.types(mark)) == ("refused: This is not possible here. Ask the shop.", [])


def test_nobody_touches_what_is_not_theirs() -> None:
    ada = Customer()
    hers, his = ada.subscribed(), ada.subscribed()
    session = ada.portal(hers["customer"])
    assert "not your" in ada.press(session, "portal", do="cancel", subscription=his["id"])
    cancel = {"type": "subscription_cancel", "subscription_cancel": {"subscription": hers["id"]}}
    second = ada.stripe.post(
        "/v1/subscriptions",
        customer=hers["customer"],
        items=[{"price": ada.monthly}],
        default_payment_method=hers["default_payment_method"],
    )
    narrow = ada.portal(hers["customer"], flow_data=cancel)
    assert "not your" in ada.press(narrow, "portal", do="cancel", subscription=second["id"])


# Sessions about one thing.


def test_a_flow_shows_one_thing_and_leads_back_to_the_shop() -> None:
    ada = Customer()
    sub = ada.subscribed()
    session = ada.portal(
        sub["customer"],
        flow_data={
            "type": "subscription_cancel",
            "subscription_cancel": {"subscription": sub["id"]},
            "after_completion": {"type": "redirect", "redirect": {"return_url": "https://shop.example/bye"}},
        },
    )
    page = ada.look(session, "portal")
    assert "Cancel your subscription" in page.text
    assert page.buttons() == [("do", "cancel")]
    assert ada.press(session, "portal", do="cancel", subscription=sub["id"]) == "https://shop.example/bye"


def test_a_change_is_confirmed_as_the_shop_proposed_it() -> None:
    ada = Customer()
    sub = ada.subscribed()
    asked = {"subscription": sub["id"], "items": [{"id": sub["items"]["data"][0]["id"], "quantity": 5}]}
    here = configured(
        ada, subscription_update={"products": [{"product": ada.product, "prices": [ada.monthly]}]}
    )
    flow = {"type": "subscription_update_confirm", "subscription_update_confirm": asked}
    session = ada.portal(sub["customer"], configuration=here, flow_data=flow)
    assert "5" in ada.look(session, "portal").words
    ada.press(session, "portal", do="confirm", subscription=sub["id"])
    assert ada.stripe.get(f"/v1/subscriptions/{sub['id']}")["items"]["data"][0]["quantity"] == 5


def test_what_was_proposed_for_a_subscription_that_is_no_more_cannot_be_done() -> None:
    ada = Customer()
    sub = ada.subscribed()
    here = configured(
        ada, subscription_update={"products": [{"product": ada.product, "prices": [ada.monthly]}]}
    )
    asked = {"subscription": sub["id"], "items": [{"id": sub["items"]["data"][0]["id"], "quantity": 5}]}
    flow = {"type": "subscription_update_confirm", "subscription_update_confirm": asked}
    session = ada.portal(sub["customer"], configuration=here, flow_data=flow)
    other = {"price": ada.price(500, recurring={"interval": "month"})}
    ada.stripe.post(
        f"/v1/subscriptions/{sub['id']}", items=[{"id": asked["items"][0]["id"], "deleted": True}, other]
    )
    page = ada.look(session, "portal")
    assert (page.buttons(), "nothing to confirm" in page.text) == ([], True)
    ada.stripe.delete(f"/v1/subscriptions/{sub['id']}")
    page = ada.look(session, "portal")
    assert (page.buttons(), "has ended" in page.text) == ([], True)


def test_a_change_of_what_the_subscription_has_not_cannot_be_proposed() -> None:
    ada = Customer()
    sub = ada.subscribed()
    here = configured(
        ada, subscription_update={"products": [{"product": ada.product, "prices": [ada.monthly]}]}
    )
    own = sub["items"]["data"][0]["id"]
    for item in ({"id": "si_other"}, {"id": own, "price": "price_none"}):
        flow = {
            "type": "subscription_update_confirm",
            "subscription_update_confirm": {"subscription": sub["id"], "items": [item]},
        }
        asked = {"customer": sub["customer"], "configuration": here, "flow_data": flow}
        error = ada.stripe.refusal("POST", "/v1/billing_portal/sessions", **asked)
        assert error["param"].startswith("flow_data[subscription_update_confirm][items]")
    flow["subscription_update_confirm"] = {"subscription": sub["id"], "items": [{"id": own}]}
    session = ada.stripe.post("/v1/billing_portal/sessions", **asked)
    assert session["flow"]["subscription_update_confirm"]["items"] == [{"id": own, "price": None}]
    assert "2" in ada.look(session["id"], "portal").words  # the quantity stays


def test_the_flow_to_pause_is_newer_than_stripes_description() -> None:
    ada = Customer()
    sub = ada.subscribed()
    flow = {"type": "subscription_pause", "subscription_pause": {"subscription": sub["id"]}}
    here = configured(ada, subscription_pause={})
    session = ada.portal(sub["customer"], configuration=here, flow_data=flow)
    assert ada.look(session, "portal").buttons() == [("do", "pause")]


@pytest.mark.parametrize(
    ("flow", "param"),
    [
        (
            {"type": "subscription_update", "subscription_update": {"subscription": "{sub}"}},
            "flow_data[type]",
        ),
        ({"type": "subscription_cancel"}, "flow_data[subscription_cancel]"),
        (
            {"type": "subscription_cancel", "subscription_cancel": {"subscription": "{other}"}},
            "flow_data[subscription_cancel][subscription]",
        ),
        (
            {"type": "payment_method_update", "after_completion": {"type": "redirect"}},
            "flow_data[after_completion][redirect]",
        ),
    ],
)
def test_a_flow_that_cannot_be_done_is_refused(flow: Body, param: str) -> None:
    ada = Customer()
    sub, other = ada.subscribed(), ada.subscribed()
    if part := flow.get(flow["type"]):
        named = part["subscription"].format(sub=sub["id"], other=other["id"])
        flow = {**flow, flow["type"]: {"subscription": named}}
    asked = {"customer": sub["customer"], "flow_data": flow}
    assert ada.stripe.refusal("POST", "/v1/billing_portal/sessions", **asked)["param"] == param


# Configurations.


def test_a_configuration_changes_a_feature_at_a_time() -> None:
    ada = Customer()
    here = configured(ada, invoice_history={}, subscription_cancel={})
    path = f"/v1/billing_portal/configurations/{here}"
    changed = ada.stripe.post(path, features={"invoice_history": {"enabled": False}}, metadata={"of": "shop"})
    on = [name for name, feature in changed["features"].items() if feature["enabled"]]
    assert on == ["subscription_cancel"]
    told = ada.stripe.told("billing_portal.configuration.updated")[-1].previous
    assert told == {"features": {"invoice_history": {"enabled": True}}, "metadata": {}}
    ada.stripe.post(path, active="false")
    customer = ada.stripe.post("/v1/customers")["id"]
    asked = {"customer": customer, "configuration": here}
    assert ada.stripe.refusal("POST", "/v1/billing_portal/sessions", **asked)["param"] == "configuration"


def test_without_a_configuration_the_default_one_is_taken() -> None:
    ada = Customer()
    customer = ada.stripe.post("/v1/customers")["id"]
    first, second = (ada.portal(customer) for _ in range(2))
    (default,) = ada.stripe.get("/v1/billing_portal/configurations", is_default="true")["data"]
    found = {ada.stripe.account.objects[id_]["configuration"] for id_ in (first, second)}
    assert found == {default["id"]}
    path = f"/v1/billing_portal/configurations/{default['id']}"
    assert ada.stripe.refusal("POST", path, active="false")["param"] == "active"
