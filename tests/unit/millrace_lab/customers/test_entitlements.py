"""Entitlements: granted and withdrawn as subscriptions change, told once a change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.double import Double

Body = dict[str, Any]
SUMMARY = "entitlements.active_entitlement_summary.updated"


class Shop:
    """A customer, products with features, and subscriptions that are no more than a status and products."""

    def __init__(self) -> None:
        self.stripe = Double()
        self.customer: str = self.stripe.post("/v1/customers")["id"]

    def product(self, name: str, *keys: str) -> str:
        self.stripe.post("/v1/products", id=name, name=name)
        for key in keys:
            self.stripe.post(f"/v1/products/{name}/features", entitlement_feature=self.feature(key))
        return name

    def feature(self, key: str) -> str:
        found = self.stripe.get("/v1/entitlements/features", lookup_key=key)["data"]
        made = found[0] if found else self.stripe.post("/v1/entitlements/features", lookup_key=key, name=key)
        return str(made["id"])

    def subscribe(self, id_: str, status: str, *products: str) -> None:
        """A subscription is made, or it becomes this."""
        step = self.stripe.account.step()
        items = {"data": [{"price": {"product": product}} for product in products]}
        body = {
            "id": id_,
            "object": "subscription",
            "customer": self.customer,
            "status": status,
            "items": items,
        }
        step.announce("subscription.changed", step.add(body, self.customer))
        step.commit()

    def keys(self) -> list[str]:
        listed = self.stripe.get("/v1/entitlements/active_entitlements", customer=self.customer, limit="100")
        return sorted(each["lookup_key"] for each in listed["data"])


STATUSES = [
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "paused",
    "incomplete",
    "incomplete_expired",
    "canceled",
]


@pytest.mark.parametrize("status", STATUSES)
def test_which_statuses_entitle(status: str) -> None:
    shop = Shop()
    shop.product("team", "exports")
    shop.subscribe("sub_1", status, "team")
    assert shop.keys() == (["exports"] if status in ("active", "trialing", "past_due") else [])


STORY = """
 subscription  status    products   | entitled to       told
 sub_1         active    solo       | exports           1
 sub_1         active    team       | exports,seats     2
 sub_2         trialing  solo       | exports,seats     2
 sub_1         canceled  team       | exports           3
 sub_2         canceled  solo       | -                 4
"""


def test_entitlements_follow_the_subscriptions() -> None:
    shop = Shop()
    shop.product("solo", "exports")
    shop.product("team", "exports", "seats")
    for line in STORY.strip().splitlines()[1:]:
        subscription, status, product, keys, told = line.replace("|", "").split()
        shop.subscribe(subscription, status, product)
        assert shop.keys() == ([] if keys == "-" else keys.split(","))
        assert len(shop.stripe.told(SUMMARY)) == int(told)


def test_the_event_says_what_is_and_what_was() -> None:
    shop = Shop()
    shop.product("team", "seats")
    shop.subscribe("sub_1", "active", "team")
    shop.subscribe("sub_1", "canceled", "team")
    granted, withdrawn = shop.stripe.told(SUMMARY)
    assert granted.object["customer"] == shop.customer
    assert [each["lookup_key"] for each in granted.object["entitlements"]["data"]] == ["seats"]
    assert granted.previous == {"entitlements": {"data": [], "has_more": False}}
    assert withdrawn.object["entitlements"]["data"] == []
    assert withdrawn.previous is not None
    assert [each["lookup_key"] for each in withdrawn.previous["entitlements"]["data"]] == ["seats"]


def test_the_event_embeds_ten_and_the_list_has_them_all() -> None:
    shop = Shop()
    shop.product("suite", *(f"feature_{number}" for number in range(12)))
    shop.subscribe("sub_1", "active", "suite")
    summary = shop.stripe.told(SUMMARY)[0].object["entitlements"]
    assert (len(summary["data"]), summary["has_more"], len(shop.keys())) == (10, True, 12)


def test_an_entitlement_is_found_by_its_id_with_its_feature() -> None:
    shop = Shop()
    shop.product("team", "seats")
    shop.subscribe("sub_1", "active", "team")
    kept = next(shop.stripe.account.all("entitlements.active_entitlement"))["id"]
    found = shop.stripe.get(f"/v1/entitlements/active_entitlements/{kept}", expand=["feature"])
    assert found["feature"]["lookup_key"] == "seats"
