"""A company on the double, and its customers: each lives a short life, and the clock runs between their acts.

A life is a generator: it acts through the API, as a customer or the company would, and yields the second at
which it wants to act again. Every customer draws from a stream of its own, by the seed and its number, so that
leaving one out changes nothing of what the others decide.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from millrace_lab.account import DAY, HOUR, Account, Told
from millrace_lab.api import Api
from millrace_lab.clockwork import advance, furnished
from millrace_lab.errors import Body, StripeError

OPENS = 1_782_864_000  # 1 July 2026, midnight UTC
ARRIVAL_SHARE = 0.4  # of the days: whoever comes later has no time for a renewal and its retries
CURRENCIES = {"usd": "US", "eur": "DE", "jpy": "JP"}  # and the country of those who pay in it
PLANS: dict[str, tuple[int, int, int]] = {
    # plan → monthly price in minor units of usd, eur, jpy; team is sold by the seat
    "starter": (1900, 1700, 2900),
    "team": (1200, 1100, 1800),
    "business": (14900, 13900, 22000),
    "scale": (49900, 45900, 74000),
}
Life = Iterator[int]


@dataclass(slots=True)
class Shop:
    """What the company sells, by lookup key, and the account that it sells on."""

    account: Account
    api: Api
    prices: dict[str, str] = field(default_factory=dict)
    taxes: dict[str, str] = field(default_factory=dict)  # inclusive, exclusive → the rate's id

    @property
    def now(self) -> int:
        return self.account.now

    def opens(self) -> None:
        """Products, a price for each plan and currency, a metered one, tax rates and a coupon."""
        for plan, amounts in PLANS.items():
            product = self.api.post("/v1/products", id=f"prod_{plan}", name=plan.title())
            for currency, amount in zip(CURRENCIES, amounts, strict=True):
                key = f"{plan}_monthly_{currency}"
                self.prices[key] = self._price(product["id"], currency, amount, key)
        self.prices["business_annual_usd"] = self._price(
            "prod_business", "usd", 149000, "business_annual_usd", interval="year"
        )
        self._measures()
        for word in ("inclusive", "exclusive"):
            rate = self.api.post(
                "/v1/tax_rates", display_name="VAT", percentage="19", inclusive=word == "inclusive"
            )
            self.taxes[word] = rate["id"]
        self.api.post("/v1/coupons", id="welcome", percent_off=20, duration="repeating", duration_in_months=2)

    def _measures(self) -> None:
        """Automations are billed by use."""
        meter = self.api.post(
            "/v1/billing/meters",
            display_name="Automations",
            event_name="automations",
            default_aggregation={"formula": "sum"},
        )
        product = self.api.post("/v1/products", id="prod_automations", name="Automations")
        self.prices["automations"] = self._price(
            product["id"], "usd", 7, "automations_usd", usage_type="metered", meter=meter["id"]
        )

    def _price(
        self, product: str, currency: str, amount: int, key: str, *, interval: str = "month", **recurring: str
    ) -> str:
        price = self.api.post(
            "/v1/prices",
            product=product,
            currency=currency,
            unit_amount=amount,
            recurring={"interval": interval, **recurring},
            lookup_key=key,
        )
        return str(price["id"])


class Buyer:
    """One customer, and the things that customers do, each in a line."""

    def __init__(self, shop: Shop, number: int, seed: int) -> None:
        self.shop, self.number = shop, number
        self.random = random.Random(f"{seed}:{number}")  # noqa: S311 a story, not a secret
        self.currency = self.random.choices(tuple(CURRENCIES), weights=(5, 3, 2))[0]
        self.customer = self.subscription = self.card = ""

    def post(self, path: str, /, **params: object) -> Body:
        return self.shop.api.post(path, **params)

    def tries(self, path: str, /, **params: object) -> Body | None:
        """A request that may well be refused: a card that is declined, an invoice that is settled meanwhile."""
        try:
            return self.post(path, **params)
        except StripeError as refused:
            if refused.status >= 500:
                raise
            return None

    def arrives(self) -> None:
        country = CURRENCIES[self.currency]
        made = self.post(
            "/v1/customers",
            name=f"Customer {self.number}",
            email=f"billing+{self.number}@storm.example",
            address={"country": country},
        )
        self.customer = made["id"]

    def brings_card(self, *bank: str, card: str = "tok_visa", **lab: object) -> None:
        """A card whose bank answers so, one word an attempt, the last one from then on."""
        told = {name: str(value) for name, value in lab.items()}
        if bank:
            told["lab_bank"] = ",".join(bank)
        made = self.post("/v1/payment_methods", type="card", card={"token": card}, metadata=told)
        self.card = made["id"]
        self.post(f"/v1/payment_methods/{self.card}/attach", customer=self.customer)
        self.post(f"/v1/customers/{self.customer}", invoice_settings={"default_payment_method": self.card})

    def subscribes(self, plan: str | None = None, quantity: int | None = None, **params: object) -> None:
        chosen = plan or self.random.choice(tuple(PLANS))
        count = quantity or (self.random.randint(2, 30) if chosen == "team" else 1)
        items = [{"price": self.price(chosen), "quantity": count}]
        made = self.post(
            "/v1/subscriptions",
            customer=self.customer,
            items=items,
            payment_behavior=params.pop("payment_behavior", "allow_incomplete"),
            **params,
        )
        self.subscription = made["id"]

    def starts(
        self, *bank: str, plan: str | None = None, quantity: int | None = None, **params: object
    ) -> None:
        self.arrives()
        self.brings_card(*bank, lab_settles_after=self.random.choice((0, 0, 4, 2 * HOUR)))
        self.subscribes(plan, quantity, **params)

    def price(self, plan: str) -> str:
        return self.shop.prices[f"{plan}_monthly_{self.currency}"]

    def sub(self) -> Body:
        return self.shop.account.objects[self.subscription]

    def invoice(self) -> Body:
        """The latest invoice of the subscription."""
        return self.shop.account.objects[self.sub()["latest_invoice"]]

    def charge(self) -> str | None:
        """What paid the latest invoice, if a charge did."""
        intents = [
            paid["payment"].get("payment_intent")
            for paid in self.shop.account.of("invoice_payment", self.invoice()["id"])
            if paid["status"] == "paid"
        ]
        return (
            str(self.shop.account.objects[intents[-1]]["latest_charge"]) if intents and intents[-1] else None
        )

    def changes(self, *, plan: str | None = None, by: int = 0, how: str = "create_prorations") -> None:
        """Another plan, or other seats."""
        item = self.sub()["items"]["data"][0]
        change: Body = {"id": item["id"], "quantity": max(1, item["quantity"] + by)}
        if plan is not None:
            change |= {"price": self.price(plan), "quantity": 1}
        self.tries(f"/v1/subscriptions/{self.subscription}", items=[change], proration_behavior=how)

    def renewal(self) -> int:
        """The second at which the present period ends."""
        return int(self.sub()["items"]["data"][0]["current_period_end"])

    def later(self, least_days: float, most_days: float) -> int:
        return self.shop.now + self.random.randint(int(least_days * DAY), int(most_days * DAY))


Persona = Callable[[Buyer], Life]


@dataclass(frozen=True, slots=True)
class Company:
    """A run: the seed, how long, how many customers, and which lives they live, each as likely as the next.

    `without` are the numbers of customers who never come.
    """

    seed: int
    days: int
    customers: int
    cast: Sequence[Persona]
    without: Collection[int] = frozenset()
    twins: float = 0.0

    def play(
        self,
        progress: Callable[[int], None] = lambda day: None,
        hear: Callable[[Told], None] = lambda told: None,
    ) -> Account:
        """The account after the last day. `progress` hears the days as they pass, `hear` what is told."""
        account = furnished(Account(self.seed, OPENS))
        account.listeners.append(hear)
        account.settings |= {"expand_balance_transactions": True, "twins": self.twins}
        shop = Shop(account, Api(account))
        shop.opens()
        lives = [self._life(shop, number) for number in range(self.customers) if number not in self.without]
        heapq.heapify(lives)
        ends = OPENS + self.days * DAY
        while lives and lives[0][0] <= ends:
            at, number, life = heapq.heappop(lives)
            advance(account, at)
            progress((at - OPENS) // DAY)
            if (following := next(life, None)) is not None:
                heapq.heappush(lives, (max(following, at), number, life))
        advance(account, ends)
        return account

    def _life(self, shop: Shop, number: int) -> tuple[int, int, Life]:
        buyer = Buyer(shop, number, self.seed)
        persona = buyer.random.choice(self.cast)
        arrives = OPENS + buyer.random.randint(60, max(61, int(ARRIVAL_SHARE * self.days * DAY)))
        return arrives, number, persona(buyer)
