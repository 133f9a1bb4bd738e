"""What the sentences of the stories mean, each in the calls of Stripe's API that it stands for.

People are there once they are named; "we" are the company. What only a customer's bank can do (to ask, to
dispute, to decide) is done to the double directly, as its control page does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from millrace_lab.account import Step
from millrace_lab.api import Reply, Request
from millrace_lab.payments import charging, disputes
from tests.support.double import OPENS, Body
from tests.unit.millrace_lab.stories.telling import DAY, Teller, says

PHRASES: list[tuple[str, Callable[..., Body]]] = [
    # what may stand behind a comma when something is subscribed to or changed → parameters
    (r"on trial for (\d+) days", lambda days: {"trial_period_days": int(days)}),
    (r"without a card then (\w+)", lambda end: {"trial_settings": {"end_behavior": {"missing_payment_method": end}}}),
    (r"due in (\d+) days", lambda days: {"collection_method": "send_invoice", "days_until_due": int(days)}),
    (r"prorated later", lambda: {"proration_behavior": "create_prorations"}),
    (r"prorated at once", lambda: {"proration_behavior": "always_invoice"}),
    (r"not prorated", lambda: {"proration_behavior": "none"}),
    (r"with tax (txr_\w+)", lambda rate: {"default_tax_rates": [rate]}),
    (r"given up as (\S+)", lambda how: {"metadata": {"lab_dunning": how}}),
]  # fmt: skip
BANK = {
    # what the customer's bank does when it is asked for money → in the double's words
    "pays": "ok",
    "asks": "authentication_required",
    "refuses": "insufficient_funds",
}


class Stage(Teller):
    """A company with a price list, and people who buy there."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.prices: dict[str, str] = {}
        self.cards: dict[str, str] = {}
        self.disputed = ""

    # The price list.

    def sells(self, name: str, amount: str | None, interval: str = "month", **more: Any) -> None:
        """A price of its own product: so much for one, every interval."""
        product = self.post("/v1/products", name=name)["id"]
        recurring = {"interval": interval, **more.pop("recurring", {})}
        given = {"currency": self.currency, "recurring": recurring, **more}
        if amount is not None:
            given["unit_amount"] = self.minor(amount)
        self.prices[name] = self.post("/v1/prices", product=product, **given)["id"]

    def measures(self, name: str, amount: str | None, **more: Any) -> None:
        """A price for usage, in arrears; its meter sums events of the same name."""
        meter = self.post(
            "/v1/billing/meters", display_name=name, event_name=name, default_aggregation={"formula": "sum"}
        )
        recurring = {"usage_type": "metered", "meter": meter["id"]}
        self.sells(name, amount, recurring=recurring, **more)

    def taxes(self, name: str, percentage: str, *, inclusive: bool) -> None:
        """A tax rate, with the id txr_<name>."""
        self.post(
            "/v1/tax_rates",
            display_name="VAT",
            percentage=percentage,
            inclusive=inclusive,
            metadata={"lab_id": f"txr_{name}"},
        )

    # People and their cards.

    def person(self, who: str) -> str:
        if who not in self.people:
            self.people[who] = self.post("/v1/customers", name=who.title())["id"]
        return self.people[who]

    @says(r"(\w+) has a card(?: \((.+)\))?")
    def has_card(self, who: str, bank: str | None = None) -> None:
        """A new card, from now on the default one. The bank does one thing an attempt, the last one for ever."""
        card = self.post(
            "/v1/payment_methods",
            type="card",
            card={"token": "tok_visa"},
            metadata={"lab_bank": ",".join(BANK[word] for word in (bank or "pays").split(", "))},
        )["id"]
        self.post(f"/v1/payment_methods/{card}/attach", customer=self.person(who))
        self.post(f"/v1/customers/{self.person(who)}", invoice_settings={"default_payment_method": card})

    # Subscriptions.

    @says(r"(\w+) subscribes to ([^,]+)((?:, [^,]+)*)")
    def subscribes(self, who: str, basket: str, more: str) -> None:
        items = [self._item(each) for each in basket.split(" + ")]
        self.post("/v1/subscriptions", customer=self.person(who), items=items, **_phrases(more))

    @says(r"(\w+) changes (?:(\w+) )?to ([^,]+)((?:, [^,]+)*)")
    def changes(self, who: str, plan: str | None, basket: str, more: str) -> None:
        sub = self.sub(who, plan)
        items = [{"id": sub["items"]["data"][0]["id"], **self._item(basket)}]
        self.post(f"/v1/subscriptions/{sub['id']}", items=items, **_phrases(more))

    @says(r"(\w+) adds ([^,]+)((?:, [^,]+)*)")
    def adds(self, who: str, basket: str, more: str) -> None:
        path = f"/v1/subscriptions/{self.sub(who)['id']}"
        self.post(path, items=[self._item(basket)], **_phrases(more))

    @says(r"(\w+) cancels (?:(\w+) )?(now|at the period's end)")
    def cancels(self, who: str, plan: str | None, when: str) -> None:
        path = f"/v1/subscriptions/{self.sub(who, plan)['id']}"
        if when == "now":
            self.delete(path)
        else:
            self.post(path, cancel_at_period_end=True)

    @says(r"we pause (\w+)'s collection, (\w+)")
    def pauses_collection(self, who: str, behavior: str) -> None:
        self.post(f"/v1/subscriptions/{self.sub(who)['id']}", pause_collection={"behavior": behavior})

    @says(r"we collect from (\w+) again")
    def collects_again(self, who: str) -> None:
        self.post(f"/v1/subscriptions/{self.sub(who)['id']}", pause_collection="")

    @says(r"(\w+) (pauses|resumes)")
    def pauses(self, who: str, what: str) -> None:
        self.post(f"/v1/subscriptions/{self.sub(who)['id']}/{what.removesuffix('s')}")

    @says(r"(\w+) is scheduled for (.+), then (release|cancel)")
    def scheduled(self, who: str, phases: str, end: str) -> None:
        """Phases such as "2 months of Intro, 1 months of 3 Team"."""
        said = [re.fullmatch(r"(\d+) months of (.+)", each) for each in phases.split(", ")]
        planned = [
            {"items": [self._item(m[2])], "duration": {"interval": "month", "interval_count": int(m[1])}}
            for m in said
            if m
        ]
        assert len(planned) == len(said), f"not phases: {phases}"
        self.post(
            "/v1/subscription_schedules",
            customer=self.person(who),
            phases=planned,
            end_behavior=end,
            start_date="now",
        )

    # Usage and credits.

    @says(r"(\w+) uses (\d+) (\w+)(?: on day (\d+))?")
    def uses(self, who: str, value: str, name: str, day: str | None = None) -> None:
        """Usage is dated now, or reported late for an earlier day."""
        dated = {} if day is None else {"timestamp": OPENS + int(day) * DAY}
        payload = {"stripe_customer_id": self.person(who), "value": value}
        self.post("/v1/billing/meter_events", event_name=name, payload=payload, **dated)

    @says(r"we grant (\w+) (\S+) until day (\d+)")
    def grants(self, who: str, amount: str, day: str) -> None:
        self.post(
            "/v1/billing/credit_grants",
            customer=self.person(who),
            amount={
                "type": "monetary",
                "monetary": {"currency": self.currency, "value": self.minor(amount)},
            },
            applicability_config={"scope": {"price_type": "metered"}},
            category="paid",
            expires_at=OPENS + int(day) * DAY,
        )

    # Invoices of our own.

    @says(r"we note (\S+) for (.+) on (\w+)'s account")
    def notes(self, amount: str, what: str, who: str) -> None:
        self.post(
            "/v1/invoiceitems",
            customer=self.person(who),
            amount=self.minor(amount),
            currency=self.currency,
            description=what,
        )

    @says(r"we (charge|bill) (\w+)((?:, [^,]+)*)")
    def charges(self, how: str, who: str, more: str) -> None:
        """An invoice over all that is noted: charged at once, or sent and due in a fortnight."""
        sent = {"collection_method": "send_invoice", "days_until_due": 14} if how == "bill" else {}
        invoice = self.post(
            "/v1/invoices",
            customer=self.person(who),
            pending_invoice_items_behavior="include",
            **sent,
            **_phrases(more),
        )["id"]
        if how == "charge":
            self.post(f"/v1/invoices/{invoice}/pay")
        else:
            self.post(f"/v1/invoices/{invoice}/finalize", auto_advance=False)

    @says(r"we give (\w+) a credit of (\S+)")
    def gives_credit(self, who: str, amount: str) -> None:
        path = f"/v1/customers/{self.person(who)}/balance_transactions"
        self.post(path, amount=-self.minor(amount), currency=self.currency)

    @says(r"we (void|write off) invoice (\d+)")
    def closes(self, how: str, number: str) -> None:
        act = {"void": "void", "write off": "mark_uncollectible"}[how]
        self.post(f"/v1/invoices/{self.invoice(number)['id']}/{act}")

    @says(r"(\w+) pays invoice (\d+)( out of band)?")
    def pays(self, who: str, number: str, outside: str | None = None) -> None:
        """By hand: the customer is there to answer the bank's question."""
        given = {"paid_out_of_band": True} if outside else {"off_session": False}
        self.post(f"/v1/invoices/{self.invoice(number)['id']}/pay", **given)

    # Money back.

    @says(r"we refund (\S+) of invoice (\d+)")
    def refunds(self, amount: str, number: str) -> None:
        self.post("/v1/refunds", charge=self._charge(number), amount=self.minor(amount))

    @says(r"we credit (\S+) of (\w+) on invoice (\d+) and (refund|owe) (\S+)")
    def credits(self, amount: str, what: str, number: str, how: str, back: str) -> None:
        """A credit note over part of one line, before its tax; with its tax it is refunded or put on the balance."""
        invoice = self.invoice(number)
        line = next(each for each in invoice["lines"]["data"] if each["description"] == what)
        credited = {"invoice_line_item": line["id"], "amount": self.minor(amount)}
        self.post(
            "/v1/credit_notes",
            invoice=invoice["id"],
            lines=[{"type": "invoice_line_item", **credited}],
            **{{"refund": "refund_amount", "owe": "credit_amount"}[how]: self.minor(back)},
        )

    # The bank.

    @says(r"(\w+) authenticates the payment of invoice (\d+)")
    def authenticates(self, who: str, number: str) -> None:
        intent = self._payment(number)["payment_intent"]
        self._act(lambda step: charging.authenticate(step, intent))

    @says(r"(\w+)'s bank disputes (\S+) of invoice (\d+)")
    def disputes(self, who: str, amount: str, number: str) -> None:
        charge, part = self._charge(number), self.minor(amount)
        self.disputed = self._act(lambda step: disputes.open_against(step, charge, amount=part))["id"]

    @says(r"the dispute is (won|lost)")
    def decides(self, how: str) -> None:
        self._act(lambda step: disputes.decide(step, self.disputed, won=how == "won"))

    # Finding.

    def sub(self, who: str, plan: str | None = None) -> Body:
        """Somebody's subscription: to a plan, or the only one."""
        found: list[Body] = [
            sub
            for sub in self.get("/v1/subscriptions", customer=self.person(who), status="all")["data"]
            if plan is None or sub["items"]["data"][0]["price"]["id"] == self.prices[plan]
        ]
        assert len(found) == 1, f"{who} has {len(found)} of these subscriptions"
        return found[0]

    def _item(self, text: str) -> Body:
        """An item such as "5 Team"; of usage there is no number."""
        quantity, _, name = text.rpartition(" ")
        return {"price": self.prices[name], **({"quantity": int(quantity)} if quantity else {})}

    def _payment(self, number: str) -> Body:
        """The latest payment of an invoice."""
        paid = self.get("/v1/invoice_payments", invoice=self.invoice(number)["id"])["data"]
        payment: Body = paid[0]["payment"]
        return payment

    def _charge(self, number: str) -> str:
        intent = self.get(f"/v1/payment_intents/{self._payment(number)['payment_intent']}")
        return str(intent["latest_charge"])

    def _act(self, do: Callable[[Step], Body]) -> Body:
        step = self.account.step()
        done = do(step)
        step.commit()
        return done


class Connected(Stage):
    """A connected account of a platform: asked with the platform's key and the header Stripe-Account."""

    def __init__(self, platform: Stage, country: str, *args: Any) -> None:
        super().__init__(*args)
        self.id = platform.post("/v1/accounts", type="express", country=country)["id"]
        account = platform.account.reach(self.id)
        assert account is not None
        self.account, self.api = account, platform.api

    def call(self, method: str, path: str, **params: Any) -> Reply:
        return self.api.call(Request(method, path, params, key="sk_test_lab", account=self.id))


def _phrases(text: str) -> Body:
    """The parameters that a list of phrases stands for."""
    params: Body = {}
    for phrase in text.split(", ")[1:]:
        params |= _phrase(phrase)
    return params


def _phrase(phrase: str) -> Body:
    for pattern, meaning in PHRASES:
        if said := re.fullmatch(pattern, phrase):
            params: Body = meaning(*said.groups())
            return params
    raise AssertionError(f"nobody understands {phrase!r}")
