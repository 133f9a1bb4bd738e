"""Entitlement reads subscription events and dunning's words, and keeps one state a customer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from entitlement import metrics, store
from entitlement.domain import customer
from entitlement.domain.customer import Changed, Customer
from entitlement.domain.plans import Catalog
from millrace.consumer import Apply, Decision, Fold, applied, noop
from millrace.errors import Poison
from millrace.events import STRIPE, Event, stripe
from millrace.events.ours import DunningChanged

Rule: TypeAlias = Callable[[Customer, Event, Catalog], Changed | str]


def judged_by(rule: Rule) -> Apply[Customer, Catalog]:
    """A rule of the domain as the consumer runtime calls it."""

    def apply(state: Customer | None, event: Event, catalog: Catalog) -> Decision[Customer]:
        account, _, id_ = key(event).partition("/")
        outcome = rule(state or Customer(account, id_), event, catalog)
        if isinstance(outcome, str):
            return noop(outcome)
        return applied(outcome.customer, outcome.reason, *outcome.effects)

    return apply


told = judged_by(customer.subscription_told)

APPLY: Mapping[str, Apply[Customer, Catalog]] = {
    "stripe.customer.subscription.created": told,
    "stripe.customer.subscription.updated": told,
    "stripe.customer.subscription.deleted": told,
    "stripe.customer.subscription.paused": told,
    "stripe.customer.subscription.resumed": told,
    "stripe.customer.subscription.trial_will_end": told,
    "stripe.customer.subscription.pending_update_applied": told,
    "stripe.customer.subscription.pending_update_expired": told,
    DunningChanged.TYPE: judged_by(customer.dunning_changed),
}


def key(event: Event) -> str:
    """account/customer. Raises Poison when the subscription belongs to nobody."""
    if not event.type.startswith(STRIPE):
        return event.key
    owner = stripe.customer_of(stripe.object_of(event))
    if owner is None:
        raise Poison("subscription.customer is missing: it belongs to nobody")
    return f"{event.account}/{owner}"


def fold(catalog: Callable[[], Catalog]) -> Fold[Customer, Catalog]:
    """The consumer; `catalog` gives the version in force, and is asked once a batch."""
    return Fold(
        "entitlement", APPLY, key=key, load=store.load, save=metrics.counted(store.save), rules=catalog
    )
