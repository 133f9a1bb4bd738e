"""The lives that customers lead in a storm. Each reads top-down; `yield` says when it goes on."""

from __future__ import annotations

from millrace_lab.account import DAY, HOUR, MINUTE
from millrace_lab.storm.companies import Buyer, Life, Persona

SOFT = ("insufficient_funds", "generic_decline", "do_not_honor")
HARD = ("stolen_card", "lost_card")


def steady(b: Buyer) -> Life:
    b.starts()
    yield from ()


def discounted(b: Buyer) -> Life:
    b.starts(discounts=[{"coupon": "welcome"}])
    yield from ()


def seats(b: Buyer) -> Life:
    """More and fewer seats; once two changes in one second."""
    b.starts(plan="team", quantity=b.random.randint(8, 20))
    for _ in range(b.random.randint(1, 3)):
        yield b.later(3, 12)
        b.changes(by=b.random.randint(1, 6), how=b.random.choice(("create_prorations", "always_invoice")))
    yield b.later(2, 8)
    b.changes(by=-3)
    b.changes(by=2)


def upgrades(b: Buyer) -> Life:
    b.starts(plan="starter")
    yield b.later(3, 20)
    b.changes(plan="business", how="always_invoice")
    yield b.later(5, 25)
    b.changes(plan="scale", how="always_invoice")


def downgrades(b: Buyer) -> Life:
    b.starts(plan="scale")
    yield b.renewal() - b.random.randint(2, 6) * DAY
    b.changes(plan="business")


def tries_it(b: Buyer) -> Life:
    """A trial that converts, or is canceled before it ends."""
    b.starts(trial_period_days=b.random.choice((2, 7, 14)))
    if b.random.random() < 0.3:
        yield b.shop.now + DAY
        b.post(f"/v1/subscriptions/{b.subscription}", cancel_at_period_end=True)


def tries_it_without_card(b: Buyer) -> Life:
    b.arrives()
    ending = b.random.choice(("cancel", "pause"))
    b.subscribes(trial_period_days=7, trial_settings={"end_behavior": {"missing_payment_method": ending}})
    if ending == "pause":
        yield b.later(9, 14)
        b.brings_card()
        b.tries(f"/v1/subscriptions/{b.subscription}/resume")


def retries(b: Buyer) -> Life:
    """The bank declines some renewals' first attempts; a retry goes through."""
    b.starts("ok", *b.random.choices(SOFT, k=b.random.randint(1, 3)), "ok")
    yield from ()


def brings_another_card(b: Buyer) -> Life:
    b.starts("ok", b.random.choice((*HARD, "expired_card")))
    yield b.renewal() + b.random.randint(2, 11) * DAY
    b.brings_card()
    b.tries(f"/v1/invoices/{b.invoice()['id']}/pay")


def never_pays_again(b: Buyer) -> Life:
    endings = ("canceled", "unpaid", "past_due", "canceled+uncollectible")
    b.starts("ok", b.random.choice((*SOFT, *HARD)), metadata={"lab_dunning": b.random.choice(endings)})
    yield from ()


def pays_after_all(b: Buyer) -> Life:
    """Stripe has given up; days later the customer pays by hand."""
    b.starts("ok", "insufficient_funds", metadata={"lab_dunning": b.random.choice(("canceled", "unpaid"))})
    yield b.renewal() + b.random.randint(17, 24) * DAY
    b.brings_card()
    b.tries(f"/v1/invoices/{b.invoice()['id']}/pay")


def never_paid(b: Buyer) -> Life:
    """The first payment fails; some try again within the day that Stripe waits for them."""
    b.starts(b.random.choice(SOFT), "ok")
    if b.random.random() < 0.5:
        yield b.shop.now + b.random.randint(5 * MINUTE, 20 * HOUR)
        b.tries(f"/v1/invoices/{b.invoice()['id']}/pay")


def leaves(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 40)
    b.post(f"/v1/subscriptions/{b.subscription}", cancel_at_period_end=True)
    if b.random.random() < 0.3:
        yield b.shop.now + HOUR
        b.tries(f"/v1/subscriptions/{b.subscription}", cancel_at_period_end=False)


def leaves_at_once(b: Buyer) -> Life:
    b.starts()
    yield b.later(5, 45)
    b.shop.api.delete(f"/v1/subscriptions/{b.subscription}")


def is_refunded(b: Buyer) -> Life:
    """Part of a payment, all of it, or a refund that the bank sends back."""
    b.starts()
    yield b.later(1, 20)
    if charge := b.charge():
        how = b.random.choice(({}, {"lab_settles_after": "1800"}, {"lab_fails_after": str(3 * DAY)}))
        part = b.invoice()["amount_paid"] // b.random.choice((1, 2, 4))
        b.tries("/v1/refunds", charge=charge, amount=max(1, part), metadata=how)


def is_forgiven(b: Buyer) -> Life:
    """A failing invoice is voided, or written off and the subscription ended."""
    b.starts("ok", "do_not_honor", "do_not_honor", "ok")
    yield b.renewal() + 2 * DAY
    if b.random.random() < 0.5:
        b.tries(f"/v1/invoices/{b.invoice()['id']}/void")
    else:
        b.tries(f"/v1/invoices/{b.invoice()['id']}/mark_uncollectible")
        b.shop.api.delete(f"/v1/subscriptions/{b.subscription}")


def is_credited(b: Buyer) -> Life:
    """A credit note: before the payment, after it, or withdrawn."""
    fails = b.random.random() < 0.6
    b.starts("ok", *(("insufficient_funds", "ok") if fails else ()))
    yield b.renewal() + DAY + b.random.randint(3 * HOUR, 9 * HOUR)
    invoice = b.invoice()
    amount = max(1, invoice["total"] // b.random.choice((2, 5)))
    how = {} if invoice["status"] == "open" else {"credit_amount": amount}
    note = b.tries("/v1/credit_notes", invoice=invoice["id"], amount=amount, **how)
    if note and invoice["status"] == "open" and b.random.random() < 0.3:
        yield b.later(0.1, 0.5)
        b.tries(f"/v1/credit_notes/{note['id']}/void")


def pauses_collection(b: Buyer) -> Life:
    b.starts()
    yield b.later(5, 20)
    how = b.random.choice(("keep_as_draft", "mark_uncollectible", "void"))
    b.post(f"/v1/subscriptions/{b.subscription}", pause_collection={"behavior": how})
    yield b.renewal() + b.random.randint(3, 9) * DAY
    b.tries(f"/v1/subscriptions/{b.subscription}", pause_collection="")


def pauses(b: Buyer) -> Life:
    b.starts()
    yield b.later(8, 20)
    if b.tries(f"/v1/subscriptions/{b.subscription}/pause"):
        yield b.later(0, 20)
        b.tries(f"/v1/subscriptions/{b.subscription}/resume")


def pays_outside(b: Buyer) -> Life:
    """By bank transfer, which the company notes down by hand."""
    b.starts("ok", "insufficient_funds")
    yield b.renewal() + b.random.randint(3, 12) * DAY
    b.tries(f"/v1/invoices/{b.invoice()['id']}/pay", paid_out_of_band=True)


def goes_for_good(b: Buyer) -> Life:
    """The customer is deleted, perhaps with an invoice that failed."""
    b.starts("ok", *b.random.choice((("ok",), ("insufficient_funds",))))
    yield b.renewal() + b.random.randint(1, 9) * DAY
    b.shop.api.delete(f"/v1/customers/{b.customer}")


CAST: tuple[Persona, ...] = (
    steady, discounted, seats, upgrades, downgrades, tries_it, tries_it_without_card, retries, brings_another_card,
    never_pays_again, pays_after_all, never_paid, leaves, leaves_at_once, is_refunded, is_forgiven, is_credited,
    pauses_collection, pauses, pays_outside, goes_for_good,
)  # fmt: skip
