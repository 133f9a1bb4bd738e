"""Two shops to tell the stories of usage with: one that measures, one that sells credits beforehand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from millrace_lab.usage import credits, meters
from tests.support.double import Double

Body = dict[str, Any]
TRANSACTIONS = "billing.credit_balance_transaction.created"


class Metered:
    """A double with one meter and one customer."""

    def __init__(self, formula: str = "sum", **settings: Any) -> None:
        self.stripe = Double()
        self.customer = self.stripe.post("/v1/customers", name="Ada")["id"]
        self.meter = self.stripe.post(
            "/v1/billing/meters",
            display_name="Calls",
            event_name="calls",
            default_aggregation={"formula": formula},
            **settings,
        )["id"]

    def use(self, value: str, at: int | None = None, **more: Any) -> Body:
        payload = {"stripe_customer_id": self.customer, "value": value}
        if at is not None:
            more["timestamp"] = at
        return self.stripe.post("/v1/billing/meter_events", event_name="calls", payload=payload, **more)

    def used(self, start: int, end: int) -> Fraction:
        return meters.used(self.stripe.account.step(), self.meter, self.customer, start, end)

    def summaries(self, start: int, end: int, **more: Any) -> list[Body]:
        path = f"/v1/billing/meters/{self.meter}/event_summaries"
        found = self.stripe.get(path, customer=self.customer, start_time=start, end_time=end, **more)
        data: list[Body] = found["data"]
        return data


class Prepaid:
    """A double with a customer and two prices: `metered`, and `flat` that credits never pay for."""

    def __init__(self) -> None:
        self.stripe = Double()
        self.customer = self.stripe.post("/v1/customers", name="Ada")["id"]
        product = self.stripe.post("/v1/products", name="Calls")["id"]
        meter = self.stripe.post(
            "/v1/billing/meters", display_name="C", event_name="calls", default_aggregation={"formula": "sum"}
        )["id"]
        recurring = {"interval": "month", "usage_type": "metered", "meter": meter}
        priced = {"product": product, "currency": "usd", "unit_amount": 1}
        self.metered = self.stripe.post("/v1/prices", **priced, recurring=recurring)["id"]
        self.other = self.stripe.post("/v1/prices", **priced, recurring=recurring)["id"]
        self.flat = self.stripe.post("/v1/prices", **priced, recurring={"interval": "month"})["id"]

    def grant(self, value: int, currency: str = "usd", **more: Any) -> Body:
        more.setdefault("applicability_config", {"scope": {"price_type": "metered"}})
        amount = {"type": "monetary", "monetary": {"currency": currency, "value": value}}
        return self.stripe.post("/v1/billing/credit_grants", customer=self.customer, amount=amount, **more)

    def draw(self, *lines: Body, invoice: str = "in_1") -> dict[str, list[Body]]:
        """What finalising an invoice with these lines draws."""
        step = self.stripe.account.step()
        found = credits.apply(
            step, {"id": invoice, "customer": self.customer, "currency": "usd"}, list(lines)
        )
        step.commit()
        return found

    def line(self, amount: int, price: str | None = None, off: int = 0, name: str = "il_1") -> Body:
        return {
            "id": name,
            "amount": amount,
            "discount_amounts": [{"amount": off, "discount": "di_1"}],
            "parent": {"type": "subscription_item_details"},
            "pricing": {"price_details": {"price": price or self.metered}},
        }

    def give_back(self, invoice: str = "in_1") -> None:
        step = self.stripe.account.step()
        credits.give_back(step, invoice)
        step.commit()

    def left(self) -> int:
        asked = {"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}}
        path = "/v1/billing/credit_balance_summary"
        balances = self.stripe.get(path, customer=self.customer, filter=asked)["balances"]
        return sum(each["available_balance"]["monetary"]["value"] for each in balances)

    def moves(self, since: int = 0) -> list[tuple[str, int]]:
        """(what, amount) of every transaction told, in order."""
        sides = [
            told.object["credit"] or told.object["debit"]
            for told in self.stripe.told(TRANSACTIONS, since=since)
        ]
        return [(side["type"], side["amount"]["monetary"]["value"]) for side in sides]
