"""Verdicts: what a customer may do, from subscriptions, dunning's restrictions and the catalog.

A verdict is a JSON object, because it is stored, published and answered as one:

    verdict   allowed | limited (allowed, up to `limit`) | denied
    kind      of the feature
    limit     a number where the verdict is limited
    reason    a sentence that a support agent can read
    rule      which rule decided
    evidence  ids of the events that prove it
    until     when it stops being true without a further event; `then` is the verdict from there on
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from entitlement.domain.plans import UNLIMITED, Catalog, Feature, Plan
from entitlement.domain.subscription import Snapshot
from millrace.events import instant, stripe

Verdict = dict[str, Any]

GIVES_ACCESS: Mapping[str, bool] = {  # the statuses that Stripe has; one that is not here gives none
    "incomplete": False,  # its first payment has not succeeded
    "incomplete_expired": False,
    "trialing": True,
    "active": True,  # `pause_collection` does not change this
    "past_due": True,  # dunning decides when that ends
    "unpaid": False,
    "paused": False,
    "canceled": False,
}


@dataclass(frozen=True, slots=True)
class Restriction:
    """Dunning's newest word on one invoice."""

    invoice: str
    subscription: str | None  # None: all of the customer's
    restricted: bool
    version: int  # of the dunning case; the newest holds
    reason: str
    event: str

    def covers(self, subscription: str) -> bool:
        return self.restricted and self.subscription in (None, subscription)


@dataclass(frozen=True, slots=True)
class Offer:
    """One subscription item that buys a feature, and whether it is given. A lesser refusal explains better."""

    subscription: str
    plan: str
    limit: int
    refusal: str  # '' when it is given
    rule: str
    reason: str
    evidence: tuple[str, ...]
    until: int | None


def verdicts(
    subscriptions: Mapping[str, Snapshot],
    restrictions: Sequence[Restriction],
    catalog: Catalog,
    at: datetime,
) -> dict[str, Verdict]:
    """Every feature of the catalog, judged for one customer at one time."""
    return {
        name: _verdict(feature, subscriptions, restrictions, catalog, at)
        for name, feature in catalog.features.items()
    }


def in_force(verdict: Verdict, at: datetime) -> Verdict:
    """The verdict as it is at a later time, when no further event has come."""
    while verdict["until"] and datetime.fromisoformat(verdict["until"]) <= at:
        verdict = verdict["then"]
    return verdict


def same(some: Mapping[str, Verdict], others: Mapping[str, Verdict]) -> bool:
    """Whether two sets of verdicts say the same, whichever events prove it."""
    return some.keys() == others.keys() and all(_same(some[name], others[name]) for name in some)


def _same(one: Verdict, other: Verdict) -> bool:
    said = [{k: v for k, v in verdict.items() if k not in ("evidence", "then")} for verdict in (one, other)]
    return said[0] == said[1] and ("then" not in one or _same(one["then"], other["then"]))


def nobody(kind: str) -> Verdict:
    """The verdict for a customer of whom nothing is known."""
    return _denied(kind, "no subscription of this customer has arrived", "unknown_customer", ())


def _verdict(
    feature: Feature,
    subscriptions: Mapping[str, Snapshot],
    restrictions: Sequence[Restriction],
    catalog: Catalog,
    at: datetime,
) -> Verdict:
    offers = sorted(_offers(feature, subscriptions, restrictions, catalog, at), key=_by_weight)
    given = [offer for offer in offers if not offer.refusal]
    if not given:
        return _refused(feature, offers, subscriptions, catalog)
    verdict = _given(feature, given)
    ends = [offer.until for offer in given if offer.until is not None]
    if ends:
        end = stripe.at(min(ends))
        then = _verdict(feature, subscriptions, restrictions, catalog, end)
        verdict |= {"until": instant(end), "then": then}
    return verdict


def _by_weight(offer: Offer) -> tuple[str, str, str]:
    return offer.refusal, offer.subscription, offer.plan


def _offers(
    feature: Feature,
    subscriptions: Mapping[str, Snapshot],
    restrictions: Sequence[Restriction],
    catalog: Catalog,
    at: datetime,
) -> Iterator[Offer]:
    for id_, snapshot in subscriptions.items():
        holds = [r for r in restrictions if r.covers(id_)] if feature.when_restricted == "deny" else []
        for item in snapshot.after.items:
            plan = catalog.plan_of(item)
            if plan and feature.name in plan.gives:
                yield _offer(id_, snapshot, plan, _limit(feature, plan, item.quantity), holds, at)


def _limit(feature: Feature, plan: Plan, quantity: int | None) -> int:
    given = plan.gives[feature.name]
    return given + (quantity or 0) if feature.kind == "seats" else given


def _offer(
    id_: str, snapshot: Snapshot, plan: Plan, limit: int, holds: Sequence[Restriction], at: datetime
) -> Offer:
    status, ends = snapshot.after.status, snapshot.after.cancels_at
    evidence: tuple[str, ...] = (snapshot.event,)
    until = None
    if not GIVES_ACCESS.get(status, False):
        refusal, rule, reason = "2 status", f"status.{status}", f"subscription {id_} is {status}"
    elif ends is not None and stripe.at(ends) <= at:
        refusal, rule = "3 ended", "cancel_scheduled"
        reason = f"subscription {id_} was to end at {instant(stripe.at(ends))}"
    elif holds:
        refusal, rule = "1 restricted", "dunning.restricted"
        reason = f"invoice {holds[0].invoice} is unpaid: {holds[0].reason}"
        evidence = (snapshot.event, *(hold.event for hold in holds))
    else:
        refusal, rule, until = "", f"status.{status}", ends
        reason = f"plan {plan.name} of subscription {id_}, which is {status}"
        reason += f" until {instant(stripe.at(ends))}" if ends is not None else ""
    return Offer(id_, plan.name, limit, refusal, rule, reason, evidence, until)


def _given(feature: Feature, given: Sequence[Offer]) -> Verdict:
    """Seats of several items add up; of several limits the greatest counts."""
    limits = [offer.limit for offer in given]
    unlimited = feature.kind == "switch" or UNLIMITED in limits
    total = sum(limits) if feature.kind == "seats" else max(limits)
    return {
        "verdict": "allowed" if unlimited else "limited",
        "kind": feature.kind,
        "limit": None if unlimited else total,
        "reason": "; ".join(dict.fromkeys(offer.reason for offer in given)),
        "rule": given[0].rule,
        "evidence": _events(given),
        "until": None,
    }


def _refused(
    feature: Feature, offers: Sequence[Offer], subscriptions: Mapping[str, Snapshot], catalog: Catalog
) -> Verdict:
    if offers:
        return _denied(feature.kind, offers[0].reason, offers[0].rule, offers[0].evidence)
    if not subscriptions:
        return nobody(feature.kind)
    events = tuple(snapshot.event for snapshot in subscriptions.values())
    if unknown := _unknown_price(subscriptions, catalog):
        return _denied(feature.kind, unknown, "price_not_in_catalog", events)
    return _denied(feature.kind, "no plan of this customer includes it", "not_in_plan", events)


def _unknown_price(subscriptions: Mapping[str, Snapshot], catalog: Catalog) -> str:
    for id_, snapshot in subscriptions.items():
        for item in snapshot.after.items:
            if not snapshot.ended and catalog.plan_of(item) is None:
                return f"price {item.price} of subscription {id_} is not in catalog {catalog.version}"
    return ""


def _denied(kind: str, reason: str, rule: str, evidence: Sequence[str]) -> Verdict:
    return {
        "verdict": "denied",
        "kind": kind,
        "limit": None,
        "reason": reason,
        "rule": rule,
        "evidence": list(evidence),
        "until": None,
    }


def _events(offers: Sequence[Offer]) -> list[str]:
    return list(dict.fromkeys(event for offer in offers for event in offer.evidence))
