"""What must be true at the end: read from the world itself, never from the events it told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.stripe.model import (
    BalanceTransaction,
    Card,
    Charge,
    CreditNote,
    Customer,
    Invoice,
    PaymentIntent,
    Subscription,
)
from lab.stripe.personal import person
from lab.stripe.render import body
from lab.stripe.render_catalog import card
from lab.stripe.world import World

LINKS: dict[type[Any], tuple[str, ...]] = {  # whoever has one may look or act
    Invoice: ("hosted_invoice_url", "invoice_pdf"),
    Charge: ("receipt_url",),
    PaymentIntent: ("client_secret",),
    CreditNote: ("pdf",),
}


@dataclass(frozen=True, slots=True)
class SubscriptionTruth:
    customer: str
    status: str
    items: tuple[tuple[str, int], ...]  # price id, quantity
    cancel_at: int | None
    pause_collection: str | None


@dataclass(frozen=True, slots=True)
class Receivable:
    customer: str
    currency: str
    amount_remaining: int


@dataclass(frozen=True, slots=True)
class DunningTruth:
    """An invoice whose payment failed at least once, and how it stands.

    `outcome`: paid, credited (nothing was left to pay), voided, uncollectible or open. `attempts` is the
    count on the invoice; `billing_reason` tells first payments, which are not dunned, from renewals.
    """

    customer: str
    subscription: str
    subscription_status: str
    billing_reason: str
    attempts: int
    last_decline: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Truth:
    """Units: minor units per currency. `unsettled` is what was charged but has no balance transaction yet."""

    customers: tuple[str, ...]
    subscriptions: dict[str, SubscriptionTruth]
    receivables: dict[str, Receivable]
    receivable: dict[str, int]
    stripe_balance: dict[str, int]
    unsettled: dict[str, int]
    invoices: dict[str, str]  # id -> status
    dunning: dict[str, DunningTruth]


def of(world: World) -> Truth:
    receivables = {
        invoice.id: Receivable(invoice.customer, invoice.currency, invoice.amount_remaining)
        for invoice in world.all(Invoice)
        if invoice.status == "open"
    }
    return Truth(
        customers=tuple(customer.id for customer in world.all(Customer)),
        subscriptions={sub.id: _subscription(sub) for sub in world.all(Subscription)},
        receivables=receivables,
        receivable=_sums((one.currency, one.amount_remaining) for one in receivables.values()),
        stripe_balance=_sums((moved.currency, moved.net) for moved in world.all(BalanceTransaction)),
        unsettled=_sums((charge.currency, charge.amount) for charge in world.all(Charge) if _waits(charge)),
        invoices={invoice.id: invoice.status for invoice in world.all(Invoice)},
        dunning={
            invoice.id: _dunning(world, invoice)
            for invoice in world.all(Invoice)
            if _failed_charges(world, invoice) or invoice.retries
        },
    )


def personal(world: World) -> dict[str, frozenset[str]]:
    """By customer, every personal value that the account knows; a card's last digits as JSON writes them."""
    return {customer.id: frozenset(_personal(world, customer)) for customer in world.all(Customer)}


def _personal(world: World, customer: Customer) -> Iterator[str]:
    lives = person(customer)
    yield from (customer.name, customer.email, lives.note, lives.name, lives.phone)
    yield from (lives.line1, lives.line2, lives.postal_code, lives.city)
    for paying in _owned(world, Card, customer.id):
        yield f'"last4":"{paying.last4}"'
        yield str(card(paying)["fingerprint"])
    for kind, names in LINKS.items():
        for thing in _owned(world, kind, customer.id):
            told = body(world.objects, thing.id)
            yield from (told[name] for name in names if told[name])


def _owned(world: World, kind: type[Any], customer: str) -> Iterator[Any]:
    return (thing for thing in world.all(kind) if thing.customer == customer)


def _sums(amounts: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for currency, amount in amounts:
        sums[currency] += amount
    return dict(sorted(sums.items()))


def _waits(charge: Charge) -> bool:
    return charge.status == "succeeded" and charge.balance_transaction is None


def _subscription(sub: Subscription) -> SubscriptionTruth:
    items = tuple((item.price, item.quantity) for item in sub.items)
    return SubscriptionTruth(sub.customer, sub.status, items, sub.cancel_at, sub.pause_collection)


def _failed_charges(world: World, invoice: Invoice) -> list[Charge]:
    return [charge for charge in world.of(Charge, invoice.id) if charge.status == "failed"]


def _dunning(world: World, invoice: Invoice) -> DunningTruth:
    sub = world.get(Subscription, invoice.subscription)
    failed = _failed_charges(world, invoice)
    decline = failed[-1].decline if failed else None
    return DunningTruth(
        customer=invoice.customer,
        subscription=sub.id,
        subscription_status=sub.status,
        billing_reason=invoice.billing_reason,
        attempts=invoice.attempt_count,
        last_decline=decline.decline_code if decline else None,
        outcome=_outcome(invoice),
    )


def _outcome(invoice: Invoice) -> str:
    if invoice.status == "paid" and invoice.amount_paid == 0:
        return "credited"
    return {"void": "voided"}.get(invoice.status, invoice.status)
