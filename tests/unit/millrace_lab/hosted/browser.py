"""A customer in front of the hosted pages, without a browser: reads a page's words, presses its buttons."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from millrace_lab.account import Step
from millrace_lab.errors import StripeError
from millrace_lab.hosted import clicking, pages
from tests.support.double import Double

Body = dict[str, Any]
SHOWS: dict[str, Callable[..., str]] = {
    "pay": pages.checkout,
    "portal": pages.portal,
    "invoice": pages.invoice,
}
DOES: dict[str, Callable[[Step, str, dict[str, str]], str]] = {
    "pay": clicking.checkout,
    "portal": clicking.portal,
    "invoice": clicking.invoice,
}


class Page(HTMLParser):
    """What a page offers: headings, labelled fields with their values, buttons, words, and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def buttons(self) -> list[tuple[str | None, str | None]]:
        return [(button["name"], button["value"]) for button in self.all("button")]


class Customer:
    """One shop with a product, and somebody who buys there."""

    def __init__(self, **settings: Any) -> None:
        self.stripe = Double(**settings)
        self.product = self.stripe.post("/v1/products", name="Team")["id"]
        self.monthly = self.price(1000, recurring={"interval": "month"})
        self.once = self.price(1500)

    def price(self, amount: int, **more: Any) -> str:
        more.setdefault("currency", "usd")
        id_: str = self.stripe.post("/v1/prices", product=self.product, unit_amount=amount, **more)["id"]
        return id_

    def session(self, mode: str, **more: Any) -> str:
        if mode != "setup":
            price = self.monthly if mode == "subscription" else self.once
            more.setdefault("line_items", [{"price": price, "quantity": 2}])
        url = "https://shop.example/thanks?id={CHECKOUT_SESSION_ID}"
        id_: str = self.stripe.post("/v1/checkout/sessions", mode=mode, success_url=url, **more)["id"]
        return id_

    def get(self, session: str) -> Body:
        return self.stripe.get(f"/v1/checkout/sessions/{session}")

    def look(self, id_: str, at: str = "pay", notice: str | None = None) -> Page:
        return Page(SHOWS[at](self.stripe.account.step(), id_, notice))

    def press(self, id_: str, at: str = "pay", **form: str) -> str:
        """Send a form; the URL that follows, or what was refused."""
        step = self.stripe.account.step()
        try:
            followed = DOES[at](step, id_, form)
        except StripeError as error:
            if error.keep:
                step.commit()
            return f"refused: {error.message}"
        step.commit()
        return followed

    def pay(self, session: str, card: str = "pm_card_visa", **form: str) -> str:
        return self.press(session, email="ada@example.com", payment_method=card, **form)

    def subscribed(self, **more: Any) -> Body:
        """A subscription that was bought in Checkout."""
        session = self.session("subscription", **more)
        self.pay(session)
        return self.stripe.get(f"/v1/subscriptions/{self.get(session)['subscription']}")

    def portal(self, customer: str, **more: Any) -> str:
        id_: str = self.stripe.post("/v1/billing_portal/sessions", customer=customer, **more)["id"]
        return id_
