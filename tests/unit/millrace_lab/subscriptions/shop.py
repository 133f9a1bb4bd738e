"""A small shop on the double: what is sold, who buys, and short ways to say what happens to a subscription."""

from __future__ import annotations

from typing import Any

from tests.support.double import Body, Double


class Shop(Double):
    """Plans at round prices, in one product each, and customers whose bank says what they were made to say."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.prices: dict[str, str] = {}
        self.small = self.plan("Small", 1000)
        self.large = self.plan("Large", 2000)

    def plan(self, name: str, amount: int | None, interval: str = "month", **more: Any) -> str:
        """A price of its own product; its name can be used in `items` from then on."""
        product = self.post("/v1/products", name=name)["id"]
        recurring = {"interval": interval, **more.pop("recurring", {})}
        given = {"currency": "usd", **({} if amount is None else {"unit_amount": amount}), **more}
        price = self.post("/v1/prices", product=product, recurring=recurring, **given)
        return str(price["id"])

    def metered(self, name: str, amount: int) -> tuple[str, str]:
        """A price for usage, and the name of the events that measure it."""
        meter = self.post(
            "/v1/billing/meters",
            display_name=name,
            event_name=name.lower(),
            default_aggregation={"formula": "sum"},
        )["id"]
        price = self.plan(name, amount, recurring={"usage_type": "metered", "meter": meter})
        return price, name.lower()

    def used(self, event: str, customer: str, value: int) -> None:
        self.post(
            "/v1/billing/meter_events",
            event_name=event,
            payload={"stripe_customer_id": customer, "value": str(value)},
        )

    def customer(self, bank: str | None = "ok", **given: Any) -> str:
        """Somebody with a card whose bank answers so, attempt after attempt; None is somebody without a card."""
        id_ = str(self.post("/v1/customers", email="ada@example.com", **given)["id"])
        if bank is not None:
            self.card(id_, bank)
        return id_

    def card(self, customer: str, bank: str) -> str:
        """A new card that becomes the customer's default."""
        card = self.post(
            "/v1/payment_methods", type="card", card={"token": "tok_visa"}, metadata={"lab_bank": bank}
        )["id"]
        self.post(f"/v1/payment_methods/{card}/attach", customer=customer)
        self.post(f"/v1/customers/{customer}", invoice_settings={"default_payment_method": card})
        return str(card)

    def subscribe(self, customer: str, *prices: str, quantity: int | None = None, **given: Any) -> Body:
        items = [{"price": price, **({"quantity": quantity} if quantity else {})} for price in prices]
        return self.post("/v1/subscriptions", customer=customer, items=items, **given)

    def sub(self, of: Body) -> Body:
        """The subscription as it is now."""
        return self.get(f"/v1/subscriptions/{of['id']}")

    def change(self, of: Body, **given: Any) -> Body:
        return self.post(f"/v1/subscriptions/{of['id']}", **given)

    def invoices(self, of: Body) -> list[Body]:
        """A subscription's invoices, oldest first."""
        found: list[Body] = self.get("/v1/invoices", subscription=of["id"], limit=100)["data"]
        return found[::-1]

    def latest(self, of: Body) -> Body:
        return self.get(f"/v1/invoices/{self.sub(of)['latest_invoice']}")

    def statuses(self, since: int = 0) -> list[str]:
        """Every status that events told of subscriptions, without repetitions."""
        told = self.told(*STATUS_EVENTS, since=since)
        found = [each.object["status"] for each in told]
        return [status for n, status in enumerate(found) if n == 0 or status != found[n - 1]]


STATUS_EVENTS = tuple(
    f"customer.subscription.{what}" for what in ("created", "updated", "deleted", "paused", "resumed")
)


def amounts(invoice: Body) -> list[int]:
    return [line["amount"] for line in invoice["lines"]["data"]]


def item(sub: Body, place: int = 0) -> Body:
    found: Body = sub["items"]["data"][place]
    return found
