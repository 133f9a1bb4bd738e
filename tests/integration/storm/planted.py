"""Copies of the consumers, each with one fault that careful people have made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from dunning.domain import Case
from dunning.store import State
from entitlement.domain.customer import Changed, Customer, subscription_told
from entitlement.domain.plans import Catalog
from entitlement.fold import judged_by
from lab.storm.direct import folds
from ledger.domain.journal import Book, Posting, Rule, Told
from ledger.fold import RULES, judged
from millrace.consumer import Decision, Fold, noop
from millrace.events import Event, stripe

AnyFold = Fold[Any, Any]


def older_overwrites_newer(entitlement: AnyFold) -> AnyFold:
    """Whatever arrives last is taken to be how the subscription stands."""

    def told(customer: Customer, event: Event, catalog: Catalog) -> Changed | str:
        id_ = stripe.text(stripe.object_of(event), "id")
        others = {name: known for name, known in customer.subscriptions.items() if name != id_}
        return subscription_told(replace(customer, subscriptions=others), event, catalog)

    return _with(
        entitlement, {type_: judged_by(told) for type_ in entitlement.apply if "subscription" in type_}
    )


def deduplicated_by_event_id_only(ledger: AnyFold) -> AnyFold:
    """A payment told by two Event objects is posted twice."""
    return _with(ledger, _posting_again("stripe.invoice_payment.paid"))


def refund_posted_twice(ledger: AnyFold) -> AnyFold:
    """Every event of a refund posts the refund."""
    return _with(
        ledger, _posting_again("stripe.refund.created", "stripe.refund.updated", "stripe.refund.failed")
    )


def restriction_not_lifted(dunning: AnyFold) -> AnyFold:
    """A payment is taken for news only as long as access is given."""
    rule = dunning.apply["stripe.invoice.paid"]

    def paid(case: State | None, event: Event, policies: Any) -> Decision[State]:
        if isinstance(case, Case) and case.standing.access == "restricted":
            return noop("access is restricted: dunning has done its part")
        return rule(case, event, policies)

    return _with(dunning, {"stripe.invoice.paid": paid})


PLANTED: Mapping[str, tuple[str, Callable[[AnyFold], AnyFold]]] = {
    "older overwrites newer": ("entitlement", older_overwrites_newer),
    "deduplicated by event id only": ("ledger", deduplicated_by_event_id_only),
    "refund posted twice": ("ledger", refund_posted_twice),
    "restriction not lifted": ("dunning", restriction_not_lifted),
}


def planted(name: str) -> dict[str, AnyFold]:
    """The consumer that has the fault, by its own name."""
    consumer, plant = PLANTED[name]
    return {consumer: plant(folds()[consumer])}


def _with(fold: AnyFold, apply: Mapping[str, Any]) -> AnyFold:
    return replace(fold, apply={**fold.apply, **apply})


def _posting_again(*types: str) -> dict[str, Any]:
    return {type_: judged(_again(RULES[type_])) for type_ in types}


def _again(rule: Rule) -> Rule:
    """What is posted already is posted once more, under the event's own name."""

    def told(book: Book, event: Event) -> Told:
        postings = rule(book, event)
        return (
            postings if not isinstance(postings, list) else [_renamed(book, each, event) for each in postings]
        )

    return told


def _renamed(book: Book, one: Posting, event: Event) -> Posting:
    return replace(one, fact=f"{one.fact}#{event.id}") if one.fact in book.facts else one
