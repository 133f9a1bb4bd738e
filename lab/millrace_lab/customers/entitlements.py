"""What customers are entitled to: the features of the products they subscribe to.

Entitlements are worked out anew whenever a subscription changes; a difference is told as
`entitlements.active_entitlement_summary.updated`, whose body embeds ten of them at most.
Source: docs.stripe.com/billing/entitlements; docs/lab/behaviours.md.
"""

from __future__ import annotations

from millrace_lab import lists
from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams

KIND = "entitlements.active_entitlement"
ENTITLING = frozenset({"trialing", "active", "past_due"})  # statuses of a subscription; our reading
EMBEDDED = 10


class ListEntitlements(ListParams):
    customer: str


def follow(step: Step, subscription: Body) -> None:
    """A subscription has changed: grant and withdraw, and tell once if anything did."""
    customer = subscription["customer"]
    before = step.of(KIND, customer)
    wanted = _features(step, customer)
    had = {entitlement["feature"]: entitlement for entitlement in before}
    if had.keys() == wanted.keys():
        return
    for feature in had.keys() - wanted.keys():
        step.remove(had[feature]["id"])
    for feature, body in wanted.items():
        if feature not in had:
            _grant(step, customer, body)
    summary = _summary(step, customer)
    previous = {"entitlements": {"data": before[::-1][:EMBEDDED], "has_more": len(before) > EMBEDDED}}
    step.tell("entitlements.active_entitlement_summary.updated", summary, previous=previous)


def _features(step: Step, customer: str) -> dict[str, Body]:
    """The active features of what a customer subscribes to, by id."""
    products = {
        item["price"]["product"]: None
        for subscription in step.of("subscription", customer)
        if subscription["status"] in ENTITLING
        for item in subscription["items"]["data"]
    }
    attached = (each for product in products for each in step.of("product_feature", product))
    features = (step.get("entitlements.feature", each["entitlement_feature"]["id"]) for each in attached)
    return {feature["id"]: feature for feature in features}


def _grant(step: Step, customer: str, feature: Body) -> None:
    step.add(
        {
            "id": step.new_id("ent"),
            "object": KIND,
            "feature": feature["id"],
            "livemode": step.account.livemode,
            "lookup_key": feature["lookup_key"],
            "_customer": customer,
        },
        customer,
    )


def _summary(step: Step, customer: str) -> Body:
    now = step.of(KIND, customer)[::-1]
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer,
        "entitlements": lists.listed(now, f"/v1/customer/{customer}/entitlements", most=EMBEDDED),
        "livemode": step.account.livemode,
    }


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get(KIND, id_)


def listing(step: Step, params: ListEntitlements) -> Page:
    step.get("customer", params.customer, "customer")
    return lists.page(step, KIND, params, "/v1/entitlements/active_entitlements", parent=params.customer)


OPERATIONS = (
    Operation("GET /v1/entitlements/active_entitlements/{id}", retrieve),
    Operation("GET /v1/entitlements/active_entitlements", listing, ListEntitlements),
)
