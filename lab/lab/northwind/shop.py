"""The account on which the company lives, and what its customers do, each in a line.

A life is a generator: it acts through the API, as a customer or the company would, and yields the second at
which it wants to act again. Every customer draws from a stream of its own, by the seed and its number.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import Any

from lab.northwind import people, plans
from millrace_lab.account import DAY, HOUR, Account
from millrace_lab.api import Api
from millrace_lab.clockwork import advance, furnished
from millrace_lab.errors import Body
from millrace_lab.subscriptions import canceling

ACCOUNT = "acct_1NorthwindBoards"
Life = Iterator[int]
TWIN_SHARE = 0.02  # of the changes of which Stripe is seen to tell by two Event objects
BRANDS = ("visa", "mastercard", "amex")
ENDINGS = {  # what Stripe does after the last retry, in the words of `lab_dunning`
    "canceled": "canceled",
    "unpaid": "unpaid",
    "written off": "canceled+uncollectible",
    "paused": "paused",
    "left": "past_due",
}


class Shop:
    """The company's account, and the lives that are lived on it."""

    def __init__(self, seed: int, opens: int, *, twins: float = TWIN_SHARE) -> None:
        self.seed = seed
        self.account = furnished(Account(seed, opens, id=ACCOUNT))
        self.account.settings |= {
            "name": "Northwind Boards",
            "expand_balance_transactions": True,
            "twins": twins,
        }
        self.api = Api(self.account)
        self.catalog = plans.sell(self.api)
        self._lives: list[tuple[int, int, Life]] = []

    @property
    def now(self) -> int:
        return self.account.now

    def enter(self, life: Life, at: int) -> None:
        heapq.heappush(self._lives, (at, len(self._lives), life))

    def run(self, until: int) -> None:
        """Let everybody live, and time pass between their acts."""
        while self._lives and self._lives[0][0] <= until:
            at, number, life = heapq.heappop(self._lives)
            self.wait(at)
            following = next(life, None)
            if following is not None:
                heapq.heappush(self._lives, (max(following, at), number, life))
        self.wait(until)

    def wait(self, until: int) -> None:
        advance(self.account, until)


class Buyer:
    """One customer of the company and the things customers do, each in a line."""

    def __init__(self, shop: Shop, number: int) -> None:
        self.shop, self.number = shop, number
        self.random = random.Random(f"{shop.seed}:{number}")  # noqa: S311 - a story, not a secret
        self.person = people.person(shop.seed, number)
        self.currency = self.random.choices(plans.CURRENCIES, weights=(5, 3, 2))[0]
        self.tax_rate: str | None = None
        self.customer = self.subscription = self.card = ""

    def post(self, path: str, /, **params: Any) -> Body:
        return self.shop.api.post(path, **params)

    # Coming.

    def arrives(self) -> None:
        self.tax_rate = self._tax_rate()
        params = self.person.customer(plans.COUNTRY[self.currency])
        self.customer = self.post("/v1/customers", **params)["id"]

    def brings_card(
        self, *bank: str, settles_in: str | None = None, settles_after: int | None = None
    ) -> None:
        """A card that pays, unless told otherwise; the default from now on, of living subscriptions too."""
        waits = self.random.choice((0, 0, 0, 4, 90, 2 * HOUR)) if settles_after is None else settles_after
        own = {
            "lab_bank": ",".join(bank or ("ok",)),
            "lab_last4": f"{self.random.randrange(10000):04d}",
            "lab_settles_after": str(waits),
        }
        made = self.post(
            "/v1/payment_methods",
            type="card",
            card={"token": f"tok_{self.random.choice(BRANDS)}"},
            billing_details=self.person.billing(plans.COUNTRY[self.currency]),
            metadata=own | ({"lab_settles_in": settles_in} if settles_in else {}),
        )
        self.card = made["id"]
        self.post(f"/v1/payment_methods/{self.card}/attach", customer=self.customer)
        self.post(f"/v1/customers/{self.customer}", invoice_settings={"default_payment_method": self.card})
        if self.subscription and self.sub()["default_payment_method"] and not self.sub()["ended_at"]:
            self.updates(default_payment_method=self.card)

    def subscribes(self, plan: str | None = None, quantity: int | None = None, **params: Any) -> None:
        chosen = plan or self.random.choices(plans.PLANS, weights=(4, 4, 2, 1))[0]
        count = quantity or (self.random.randint(2, 40) if chosen == "team" else 1)
        rate = self.tax_rate
        taxed = {"default_tax_rates": [self.shop.catalog.tax_rates[rate]]} if rate else {}
        made = self.post(
            "/v1/subscriptions",
            customer=self.customer,
            items=[{"price": self.price(chosen, params.pop("interval", "monthly")), "quantity": count}],
            payment_settings={"save_default_payment_method": "on_subscription"},
            **taxed,
            **params,
        )
        self.subscription = made["id"]

    def starts(self, *bank: str, ending: str | None = None, **params: Any) -> None:
        """Arrives, brings a card whose bank says so, and subscribes. `ending`: what follows the last retry."""
        self.arrives()
        self.brings_card(*bank)
        if ending:
            params["metadata"] = {"lab_dunning": ENDINGS[ending]}
        self.subscribes(**params)

    def _tax_rate(self) -> str | None:
        match self.currency:
            case "eur":
                return self.random.choice((plans.VAT_EXCLUSIVE, plans.VAT_INCLUSIVE))
            case "jpy":
                return plans.CONSUMPTION_TAX
        return None

    # Looking.

    def price(self, plan: str, interval: str = "monthly") -> str:
        return self.shop.catalog.prices[plans.lookup_key(plan, self.currency, interval)]

    def sub(self) -> Body:
        return self.shop.account.objects[self.subscription]

    def invoice(self) -> Body:
        """The latest invoice of the subscription."""
        return self.shop.account.objects[self.sub()["latest_invoice"]]

    def renewal(self) -> int:
        """The second at which the present period ends."""
        return int(self.sub()["items"]["data"][0]["current_period_end"])

    def later(self, least_days: float, most_days: float) -> int:
        return self.shop.now + self.random.randint(int(least_days * DAY), int(most_days * DAY))

    # Acting.

    def updates(self, **params: Any) -> None:
        self.post(f"/v1/subscriptions/{self.subscription}", **params)

    def changes_seats(self, by: int, how: str = "create_prorations") -> None:
        item = self.sub()["items"]["data"][0]
        seats = {"id": item["id"], "quantity": max(1, item["quantity"] + by)}
        self.updates(items=[seats], proration_behavior=how)

    def moves_to(self, plan: str, how: str = "create_prorations") -> None:
        item = {"id": self.sub()["items"]["data"][0]["id"], "price": self.price(plan), "quantity": 1}
        self.updates(items=[item], proration_behavior=how)

    def cancels_in_portal(self, feedback: str) -> None:
        """As on Stripe's own page, which has no route in the API."""
        step = self.shop.account.step()
        canceling.in_portal(step, self.subscription, feedback)
        step.commit()

    def cancels_now(self) -> None:
        self.shop.api.delete(f"/v1/subscriptions/{self.subscription}")

    def pauses(self) -> None:
        self.post(f"/v1/subscriptions/{self.subscription}/pause")

    def resumes(self) -> None:
        self.post(f"/v1/subscriptions/{self.subscription}/resume")

    def pays(self) -> None:
        """By hand, on the invoice's page."""
        self.post(f"/v1/invoices/{self.invoice()['id']}/pay")

    def bank_changes_its_mind(self) -> None:
        """From now on it pays."""
        self.post(f"/v1/payment_methods/{self.card}", metadata={"lab_bank": "ok"})

    def is_refunded(self, percent: int, **lab: int) -> None:
        """A part of the latest invoice. What the bank does is in the words of `lab_fails_after` and others."""
        said = {"lab_settles_after": self.random.choice((0, 0, 30 * 60))} | lab
        self.post(
            "/v1/refunds",
            charge=self.charge(),
            amount=max(1, self.invoice()["amount_paid"] * percent // 100),
            metadata={name: str(value) for name, value in said.items()},
        )

    def is_credited(self, amount: int, **params: Any) -> str:
        """A credit note on the latest invoice; its id."""
        made = self.post("/v1/credit_notes", invoice=self.invoice()["id"], amount=amount, **params)
        return str(made["id"])

    def charge(self) -> str:
        """What paid the latest invoice."""
        return str(self.invoice()["_charge"])
