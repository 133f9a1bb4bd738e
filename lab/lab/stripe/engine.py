"""Everything that may happen to an account, in one list.

An action takes the world, the second it happens and what it concerns, and returns an `Outcome`: the new
world, the events Stripe would send, and the id of what was made. What the account does not allow raises
`Refused`, and the old world simply stays.
"""

from __future__ import annotations

from dataclasses import replace

from lab.stripe import collection
from lab.stripe.clockwork import advance, next_due, tick
from lab.stripe.corrections import (
    charge_of,
    credit_note,
    mark_uncollectible,
    refund,
    void_credit_note,
    void_invoice,
)
from lab.stripe.lifecycle import change_customer, change_subscription
from lab.stripe.model import Card, Customer, Invoice, Price, Product, Refused, Subscription, TaxRate
from lab.stripe.plan_changes import change_item
from lab.stripe.subscriptions import (
    cancel_at_period_end,
    cancel_in_portal,
    cancel_now,
    keep,
    pause,
    pause_collection,
    resume,
    resume_collection,
    subscribe,
)
from lab.stripe.world import Outcome, Step, World, told_again

__all__ = [
    "Outcome",
    "Refused",
    "World",
    "add_card",
    "advance",
    "bank_says",
    "cancel_at_period_end",
    "cancel_in_portal",
    "cancel_now",
    "change_item",
    "charge_of",
    "create_customer",
    "credit_note",
    "keep",
    "mark_uncollectible",
    "next_due",
    "open_shop",
    "pause",
    "pause_collection",
    "pay",
    "refund",
    "resume",
    "resume_collection",
    "subscribe",
    "tick",
    "told_again",
    "void_credit_note",
    "void_invoice",
]


def open_shop(
    world: World, at: int, products: list[Product], prices: list[Price], rates: list[TaxRate]
) -> Outcome:
    """Set up what is sold."""
    step = Step(world, at)
    for rate in rates:
        step.add(rate)
        step.tell("tax_rate.created", rate.id)
    for product in products:
        step.add(product)
        step.tell("product.created", product.id)
    for price in prices:
        step.add(price)
        step.tell("price.created", price.id)
    return step.done()


def create_customer(
    world: World, at: int, *, name: str, email: str, country: str, currency: str, tax_rate: str | None = None
) -> Outcome:
    step = Step(world, at)
    id_ = step.new_id("cus", 14)
    prefix = id_[-8:].upper()
    step.add(Customer(id_, at, name, email, country, currency, tax_rate, prefix))
    step.tell("customer.created", id_)
    return step.done(id_)


def add_card(
    world: World,
    at: int,
    customer: str,
    *,
    brand: str = "visa",
    last4: str = "4242",
    outcomes: tuple[str, ...] = ("ok",),
    settles_after: int = 0,
    settles_in: str | None = None,
) -> Outcome:
    """Attach a card and make it the default, also of living subscriptions that name another one."""
    step = Step(world, at)
    id_ = step.new_id("pm")
    step.add(Card(id_, at, customer, brand, last4, outcomes, settles_after, settles_in))
    step.tell("payment_method.attached", id_)
    change_customer(step, customer, default_payment_method=id_)
    for sub in step.of(Subscription, customer):
        if sub.default_payment_method is not None and sub.ended_at is None:
            change_subscription(step, sub.id, default_payment_method=id_)
    return step.done(id_)


def bank_says(world: World, at: int, card: str, outcomes: tuple[str, ...]) -> Outcome:
    """The bank changes its mind about a card. Nobody tells Stripe, so there is no event."""
    step = Step(world, at)
    step.save(replace(step.get(Card, card), outcomes=outcomes))
    return step.done(card)


def pay(world: World, at: int, invoice: str) -> Outcome:
    """A person pays on the invoice page, perhaps long after Stripe gave up."""
    step = Step(world, at)
    step.get(Invoice, invoice)
    collection.attempt(step, invoice, scheduled=False)
    return step.done(invoice)
