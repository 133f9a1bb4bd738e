"""Short true stories for tests of order: the same events in any order must end in one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lab.stripe import engine, plans
from lab.stripe.model import DAY, HOUR, Charge, Invoice, Subscription
from lab.stripe.quarter import START
from lab.stripe.world import Event, Outcome, World

OPENS = int(START.timestamp())
GERMANY = {"country": "DE", "currency": "eur", "tax_rate": plans.VAT_EXCLUSIVE}


class Teller:
    """Plays one customer through the engine and keeps what was told."""

    def __init__(self, *outcomes: str, settles_after: int = 0, world: World | None = None) -> None:
        self.world = world or World(seed=7, now=OPENS)
        self.events: list[Event] = []
        self.at = OPENS
        self.do(engine.open_shop, plans.products(OPENS), plans.prices(OPENS), plans.tax_rates(OPENS))
        self.customer = self.do(
            engine.create_customer, name="Amber Bakery", email="billing@amber.example", **GERMANY
        )
        self.card = self.do(engine.add_card, self.customer, outcomes=outcomes, settles_after=settles_after)

    def do(self, action: Callable[..., Outcome], *args: Any, **kwargs: Any) -> str:
        outcome = action(self.world, self.at, *args, **kwargs)
        self.world = outcome.world
        self.events += outcome.events
        return outcome.id

    def wait(self, seconds: int) -> None:
        self.at += seconds
        outcome = engine.advance(self.world, self.at)
        self.world = outcome.world
        self.events += outcome.events

    def subscribes(self, plan: str = "team", quantity: int = 5) -> str:
        price = plans.price_id(plan, "eur")
        return self.do(engine.subscribe, self.customer, [(price, quantity)])

    def latest_invoice(self, subscription: str) -> Invoice:
        sub = self.world.get(Subscription, subscription)
        return self.world.get(Invoice, sub.latest_invoice or "")

    def about(self, invoice: Invoice, types: Iterable[str]) -> list[Event]:
        """What was told about one invoice and its money, of the given types, in order."""
        wanted = set(types)
        return [
            event
            for event in self.events
            if event["type"] in wanted and _concerns(event["data"]["object"], invoice, self.world)
        ]


def _concerns(told: dict[str, Any], invoice: Invoice, world: World) -> bool:
    charges = {charge.id for charge in world.of(Charge, invoice.id)}
    names = {told["id"], told.get("invoice"), told.get("payment_intent"), told.get("charge")}
    return bool(names & {invoice.id, invoice.payment_intent, *charges})


def subscription_lifecycle() -> list[Event]:
    """Six events of one subscription, with two ties: born and active in one second; seats and a
    scheduled cancellation in one second; then the feedback, and the end."""
    teller = Teller("ok")
    sub = teller.subscribes()
    teller.wait(10 * DAY)
    teller.do(engine.change_item, sub, quantity=8, invoice_now=True)
    teller.do(engine.cancel_in_portal, sub, "unused")
    teller.wait(25 * DAY)
    return [event for event in teller.events if event["data"]["object"]["id"] == sub]


def invoice_lifecycle() -> list[Event]:
    """Six events of one renewal invoice that fails once and is paid on the retry."""
    teller = Teller("ok", "insufficient_funds", "ok")
    sub = teller.subscribes()
    teller.wait(40 * DAY)
    return teller.about(teller.latest_invoice(sub), RECOVERY)


RECOVERY = (
    "invoice.finalized",
    "payment_intent.payment_failed",
    "invoice.payment_failed",
    "charge.succeeded",
    "invoice_payment.paid",
    "invoice.paid",
)
MONEY = (
    "invoice.finalized",
    "invoice_payment.paid",
    "charge.succeeded",
    "charge.updated",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "credit_note.voided",
)


def refund_lifecycle(*, fails: bool = False) -> list[Event]:
    """Billed, paid, settled later, refunded in part, the refund settled later; perhaps it comes back."""
    teller = Teller("ok", settles_after=90)
    sub = teller.subscribes()
    invoice = teller.latest_invoice(sub)
    teller.wait(3 * DAY)
    charge = engine.charge_of(teller.world, invoice.id)
    teller.do(engine.refund, charge.id, 2500, settles_after=HOUR, fails_after=2 * DAY if fails else None)
    teller.wait(5 * DAY)
    return teller.about(teller.latest_invoice(sub), MONEY)


def void_lifecycle() -> list[Event]:
    """A renewal that fails and is voided: finalized, failed twice over, voided."""
    teller = Teller("ok", "do_not_honor")
    sub = teller.subscribes()
    teller.wait(33 * DAY)
    teller.do(engine.void_invoice, teller.latest_invoice(sub).id)
    failures = ("payment_intent.payment_failed", "invoice.payment_failed")
    return teller.about(teller.latest_invoice(sub), (*MONEY, *failures))


def credit_note_lifecycle() -> list[Event]:
    """A failing renewal is credited in part, the retry collects the rest, and part of that is refunded
    by a second credit note."""
    teller = Teller("ok", "insufficient_funds", "ok")
    sub = teller.subscribes()
    teller.wait(32 * DAY)
    teller.do(engine.credit_note, teller.latest_invoice(sub).id, 1500)
    teller.wait(4 * DAY)
    teller.do(engine.credit_note, teller.latest_invoice(sub).id, 1000)
    return teller.about(teller.latest_invoice(sub), (*MONEY, "invoice.payment_failed"))
