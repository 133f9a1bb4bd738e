"""Lives that few customers lead, and that many receivers are not ready for."""

from __future__ import annotations

from millrace_lab.account import DAY, HOUR
from millrace_lab.storm import lives
from millrace_lab.storm.companies import Buyer, Life, Persona


def is_taxed(b: Buyer) -> Life:
    """With a rate that is inside the price or on top of it; seats change on the way."""
    rate = b.shop.taxes[b.random.choice(("inclusive", "exclusive"))]
    b.starts(
        "ok", *b.random.choice(((), ("insufficient_funds", "ok"))), plan="team", default_tax_rates=[rate]
    )
    yield b.later(5, 20)
    b.changes(by=b.random.randint(-1, 4), how="always_invoice")


def settles_abroad(b: Buyer) -> Life:
    """Pays in euros that reach the account as dollars; a refund meets another day's rate."""
    b.currency = "eur"
    b.arrives()
    b.brings_card(lab_settles_in="usd")
    b.subscribes()
    yield b.later(5, 15)
    if charge := b.charge():
        b.tries("/v1/refunds", charge=charge, amount=b.invoice()["amount_paid"] // 2)


def subscribes_twice(b: Buyer) -> Life:
    b.starts("ok", plan="starter")
    yield b.later(1, 10)
    b.subscribes("business")
    yield b.later(10, 30)
    b.tries(f"/v1/subscriptions/{b.subscription}", cancel_at_period_end=True)


def is_measured(b: Buyer) -> Life:
    """Billed by use, after the period; some of it told late."""
    b.currency = "usd"
    b.arrives()
    b.brings_card()
    items = [{"price": b.price("starter"), "quantity": 1}, {"price": b.shop.prices["automations"]}]
    b.subscription = b.post("/v1/subscriptions", customer=b.customer, items=items)["id"]
    for _ in range(b.random.randint(3, 9)):
        yield b.later(1, 7)
        payload = {"stripe_customer_id": b.customer, "value": str(b.random.randint(1, 900))}
        at = b.shop.now - b.random.choice((0, HOUR, 2 * DAY))
        b.tries("/v1/billing/meter_events", event_name="automations", payload=payload, timestamp=at)


def has_credit(b: Buyer) -> Life:
    """A balance in the customer's favour pays the next invoices, wholly or in part."""
    b.starts(plan="business")
    yield b.later(3, 20)
    amount = -b.random.randint(500, 40000)
    path = f"/v1/customers/{b.customer}/balance_transactions"
    b.post(path, amount=amount, currency=b.currency)


def downgrades_to_credit(b: Buyer) -> Life:
    """The credit for the unused time is more than what is due: it stays on the customer's balance."""
    b.starts(plan="scale")
    yield b.later(2, 6)
    b.changes(plan="starter", how="always_invoice")


def must_authenticate(b: Buyer) -> Life:
    """The bank wants the customer to confirm; a day later another card is brought."""
    b.starts("ok", "authentication_required")
    yield b.renewal() + DAY
    b.brings_card()
    b.tries(f"/v1/invoices/{b.invoice()['id']}/pay")


def disputes(b: Buyer) -> Life:
    """The charge is disputed as fraudulent; the company answers, or does not."""
    b.arrives()
    b.brings_card(card="tok_createDispute")
    b.subscribes()
    yield b.later(2, 9)
    found = [each for each in b.shop.account.all("dispute") if each["charge"] == b.charge()]
    for dispute in found:
        evidence = b.random.choice(("winning_evidence", "losing_evidence"))
        b.tries(f"/v1/disputes/{dispute['id']}", evidence={"uncategorized_text": evidence}, submit=True)


def is_sent_invoices(b: Buyer) -> Life:
    """Pays by transfer when the invoice comes, or long after it was due."""
    b.arrives()
    b.subscribes(collection_method="send_invoice", days_until_due=b.random.choice((7, 30)))
    for _ in range(2):
        yield b.later(3, 40)
        b.tries(f"/v1/invoices/{b.invoice()['id']}/pay", paid_out_of_band=True)


def buys_once(b: Buyer) -> Life:
    """Something besides the subscription, on an invoice of its own."""
    b.starts()
    yield b.later(2, 30)
    b.post("/v1/invoiceitems", customer=b.customer, amount=b.random.randint(100, 9000), currency=b.currency)
    made = b.post(
        "/v1/invoices", customer=b.customer, currency=b.currency, pending_invoice_items_behavior="include"
    )
    b.tries(f"/v1/invoices/{made['id']}/finalize")
    b.tries(f"/v1/invoices/{made['id']}/pay")


def goes_annual(b: Buyer) -> Life:
    """From the month to the year: the period begins anew."""
    b.currency = "usd"
    b.starts(plan="business")
    yield b.later(5, 40)
    item = b.sub()["items"]["data"][0]
    annual = {"id": item["id"], "price": b.shop.prices["business_annual_usd"]}
    b.tries(f"/v1/subscriptions/{b.subscription}", items=[annual])


def is_scheduled(b: Buyer) -> Life:
    """A schedule moves the plan up after a month."""
    b.starts(plan="starter")
    yield b.later(1, 9)
    made = b.tries("/v1/subscription_schedules", from_subscription=b.subscription)
    if made is None:
        return
    first = made["phases"][0]
    phases = [
        {
            "items": [{"price": b.price("starter"), "quantity": 1}],
            "start_date": first["start_date"],
            "end_date": first["end_date"],
        },
        {
            "items": [{"price": b.price("business"), "quantity": 1}],
            "duration": {"interval": "month", "interval_count": 1},
        },
    ]
    b.tries(f"/v1/subscription_schedules/{made['id']}", phases=phases)


CAST: tuple[Persona, ...] = (
    is_taxed, settles_abroad, subscribes_twice, is_measured, has_credit, downgrades_to_credit, must_authenticate,
    disputes, is_sent_invoices, buys_once, goes_annual, is_scheduled,
)  # fmt: skip
EVERYBODY: tuple[Persona, ...] = (*lives.CAST, *CAST)
