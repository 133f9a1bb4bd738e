"""The company's life as it is played: people wake up, act on the account, and go back to sleep.

A person is a generator that yields the second at which it wants to wake again. Between two wakings
Stripe's clockwork does what is due. One `random.Random` serves everything, so a seed is a whole story.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from typing import Any

from lab.stripe import engine, plans
from lab.stripe.model import DAY, HOUR, Dunning, Invoice, Subscription
from lab.stripe.world import Event, Outcome, World

Life = Iterator[int]
# Types that Stripe is seen to tell twice, as two Event objects for one change.
TOLD_TWICE = frozenset(
    {"customer.subscription.updated", "invoice.paid", "charge.succeeded", "invoice_payment.paid"}
)
TWIN_SHARE = 0.02


class Shop:
    """The account, what was told so far, and the moment at which somebody acts."""

    def __init__(self, seed: int, opens: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a story, not a secret
        self.world = World(seed=seed, now=opens)
        self.at = opens
        self.events: list[Event] = []
        self._lives: list[tuple[int, int, Life]] = []

    def do(self, action: Callable[..., Outcome], *args: Any, **kwargs: Any) -> str:
        """Act now; returns the id of what was made."""
        outcome = action(self.world, self.at, *args, **kwargs)
        self._heard(outcome)
        return outcome.id

    def enter(self, life: Life, at: int) -> None:
        heapq.heappush(self._lives, (at, len(self._lives) + len(self.events), life))

    def run(self, until: int) -> None:
        while self._lives and self._lives[0][0] <= until:
            at, number, life = heapq.heappop(self._lives)
            self._pass_time(at)
            following = next(life, None)
            if following is not None:
                heapq.heappush(self._lives, (max(following, at), number, life))
        self._pass_time(until)

    def _pass_time(self, until: int) -> None:
        self._heard(engine.advance(self.world, until))
        self.at = until

    def _heard(self, outcome: Outcome) -> None:
        self.world = outcome.world
        self.events += outcome.events
        for event in outcome.events:
            if event["type"] in TOLD_TWICE and self.random.random() < TWIN_SHARE:
                twin = engine.told_again(self.world, event)
                self.world = twin.world
                self.events += twin.events


class Buyer:
    """One customer of the company and the things customers do, each in a line."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.shop = shop
        self.random = shop.random
        self.number = number
        self.currency = self.random.choices(plans.CURRENCIES, weights=(5, 3, 2))[0]
        self.customer = ""
        self.subscription = ""
        self.card = ""

    def arrives(self) -> None:
        name = f"{self.random.choice(FIRST)} {self.random.choice(SECOND)} {self.number}"
        self.customer = self.shop.do(
            engine.create_customer,
            name=name,
            email=f"billing+{self.number}@{name.split()[0].lower()}.example",
            country=plans.COUNTRY[self.currency],
            currency=self.currency,
            tax_rate=self._tax_rate(),
        )

    def _tax_rate(self) -> str | None:
        match self.currency:
            case "eur":
                return self.random.choice((plans.VAT_EXCLUSIVE, plans.VAT_INCLUSIVE))
            case "jpy":
                return plans.CONSUMPTION_TAX
        return None

    def brings_card(self, *outcomes: str, settles_in: str | None = None) -> None:
        """A card that pays, unless told otherwise."""
        self.card = self.shop.do(
            engine.add_card,
            self.customer,
            brand=self.random.choice(("visa", "mastercard", "amex")),
            last4=f"{self.random.randrange(10000):04d}",
            outcomes=outcomes or ("ok",),
            settles_after=self.random.choice((0, 0, 0, 4, 90, 2 * HOUR)),
            settles_in=settles_in,
        )

    def subscribes(self, plan: str | None = None, quantity: int | None = None, **kwargs: Any) -> None:
        chosen = plan or self.random.choices(plans.PLANS, weights=(4, 4, 2, 1))[0]
        count = quantity or (self.random.randint(2, 40) if chosen == "team" else 1)
        interval = kwargs.pop("interval", "monthly")
        price = plans.price_id(chosen, self.currency, interval)
        self.subscription = self.shop.do(engine.subscribe, self.customer, [(price, count)], **kwargs)

    def starts(self, *outcomes: str, **kwargs: Any) -> None:
        self.arrives()
        self.brings_card(*outcomes)
        self.subscribes(**kwargs)

    def sub(self) -> Subscription:
        return self.shop.world.get(Subscription, self.subscription)

    def invoice(self) -> Invoice:
        """The latest invoice of the subscription."""
        return self.shop.world.get(Invoice, self.sub().latest_invoice or "")

    def renewal(self) -> int:
        return self.sub().items[0].period_end

    def later(self, least_days: float, most_days: float) -> int:
        return self.shop.at + self.random.randint(int(least_days * DAY), int(most_days * DAY))

    def do(self, action: Callable[..., Outcome], *args: Any, **kwargs: Any) -> str:
        return self.shop.do(action, *args, **kwargs)

    def changes_seats(self, by: int, **kwargs: Any) -> None:
        seats = self.sub().items[0].quantity
        self.do(engine.change_item, self.subscription, quantity=max(1, seats + by), **kwargs)

    def moves_to(self, plan: str, **kwargs: Any) -> None:
        price = plans.price_id(plan, self.currency)
        self.do(engine.change_item, self.subscription, price=price, quantity=1, **kwargs)


ENDINGS = {
    "canceled": Dunning(),
    "unpaid": Dunning(subscription="unpaid"),
    "written off": Dunning(subscription="canceled", invoice="uncollectible"),
    "paused": Dunning(subscription="paused"),
    "left": Dunning(subscription="past_due"),
}
FIRST = ("Amber", "Birch", "Cobalt", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper")
SECOND = (
    "Analytics",
    "Bakery",
    "Clinics",
    "Design",
    "Energy",
    "Foods",
    "Games",
    "Hotels",
    "Logistics",
    "Media",
)
