"""The kinds of customers a small SaaS company has, one short life each.

A life reads top-down as a story: what the customer does, `yield` when it wakes next, what it does then.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.northwind import plans
from lab.northwind.shop import Buyer, Life
from millrace_lab.account import DAY, HOUR, MINUTE
from millrace_lab.errors import Body

SOFT = ("insufficient_funds", "generic_decline", "do_not_honor", "processing_error")


def steady(b: Buyer) -> Life:
    b.starts()
    yield from ()


def discounted(b: Buyer) -> Life:
    b.starts(discounts=[{"coupon": plans.coupon(b.random.choice(plans.PERCENTS_OFF))}])
    yield from ()


def settles_abroad(b: Buyer) -> Life:
    """Pays in euros that reach the account as dollars; a refund meets another day's rate."""
    b.currency = "eur"
    b.arrives()
    b.brings_card(settles_in="usd")
    b.subscribes()
    yield b.later(5, 15)
    if b.random.random() < 0.5:
        b.is_refunded(percent=50)


def annual(b: Buyer) -> Life:
    b.currency = "usd"
    b.starts(plan="business", interval="annual")
    yield from ()


def trial_converts(b: Buyer) -> Life:
    b.starts(trial_period_days=b.random.choice((2, 7, 14)))
    yield from ()


def trial_canceled(b: Buyer) -> Life:
    b.starts(trial_period_days=14)
    yield b.later(2, 9)
    b.cancels_in_portal("too_expensive")


def without_card(ending: str) -> Body:
    """What becomes of a trial that ends without a payment method, in Stripe's words."""
    return {"end_behavior": {"missing_payment_method": ending}}


def trial_without_card(b: Buyer) -> Life:
    b.arrives()
    b.subscribes(trial_period_days=14, trial_settings=without_card("cancel"))
    yield from ()


def trial_paused_then_resumed(b: Buyer) -> Life:
    b.arrives()
    b.subscribes(trial_period_days=7, trial_settings=without_card("pause"))
    yield b.later(9, 12)
    if b.random.random() < 0.7:
        b.brings_card()
        yield b.shop.now + 5 * MINUTE
        b.resumes()


def trial_payment_recovers(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT), "ok", trial_period_days=7)
    yield from ()


def trial_payment_exhausted(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT), trial_period_days=14)
    yield from ()


def seats_grow(b: Buyer) -> Life:
    b.starts(plan="team")
    for _ in range(b.random.randint(2, 4)):
        yield b.later(4, 16)
        b.changes_seats(b.random.randint(1, 8), how=b.random.choice(("create_prorations", "always_invoice")))


def seats_breathe(b: Buyer) -> Life:
    """Fewer seats now, more later, all settled on the next invoice; once two changes in one second."""
    b.starts(plan="team", quantity=b.random.randint(10, 30))
    yield b.later(5, 15)
    b.changes_seats(-b.random.randint(1, 4))
    yield b.later(3, 9)
    b.changes_seats(3)
    b.changes_seats(2)


def upgrades(b: Buyer) -> Life:
    b.starts(plan="starter")
    yield b.later(3, 25)
    b.moves_to("business", how="always_invoice")
    yield b.later(20, 30)
    if b.random.random() < 0.5:
        b.moves_to("scale", how="always_invoice")


def downgrades(b: Buyer) -> Life:
    """Late enough in the period that the next invoice outweighs the credit."""
    b.starts(plan="scale")
    yield b.renewal() - 4 * DAY - b.random.randint(0, 2 * DAY)
    b.moves_to("business")


def leaves_at_period_end(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 40)
    if b.random.random() < 0.6:
        b.cancels_in_portal(b.random.choice(("unused", "switched_service")))
    else:
        b.updates(cancel_at_period_end=True)


def thinks_again(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 20)
    b.cancels_in_portal("missing_features")
    yield b.later(1, 3)
    b.updates(cancel_at="")


def leaves_at_once(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 45)
    b.cancels_now()


def leaves_refunded(b: Buyer) -> Life:
    """Money back in full within days, and gone."""
    b.starts()
    yield b.later(1, 5)
    b.is_refunded(percent=100)
    b.cancels_now()


def retry_recovers(b: Buyer) -> Life:
    b.starts("ok", *b.random.choices(SOFT, k=b.random.randint(1, 3)), "ok")
    yield from ()


def card_replaced(b: Buyer) -> Life:
    """The old card expired; the customer brings a new one before the next retry."""
    b.starts("ok", b.random.choice(("expired_card", "incorrect_cvc")))
    yield b.renewal() + DAY
    b.brings_card()


def hard_decline_replaced(b: Buyer) -> Life:
    """Stripe skips retries with a stolen card; the customer pays by hand with another one."""
    b.starts("ok", b.random.choice(("lost_card", "stolen_card")))
    yield b.renewal() + 4 * DAY
    b.brings_card()
    b.pays()


def exhausted(ending: str, hard: bool = False) -> Callable[[Buyer], Life]:
    def life(b: Buyer) -> Life:
        b.starts("ok", "stolen_card" if hard else b.random.choice(SOFT), ending=ending)
        yield from ()

    return life


def late_success(ending: str) -> Callable[[Buyer], Life]:
    """Stripe has given up; days later the customer pays on the invoice page."""

    def life(b: Buyer) -> Life:
        b.starts("ok", "insufficient_funds", ending=ending)
        yield b.renewal() + b.random.randint(18, 23) * DAY
        b.bank_changes_its_mind()
        b.pays()

    return life


def upgrade_fails(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok", plan="starter")
    yield b.later(5, 20)
    b.moves_to("business", how="always_invoice")


def first_payment_never(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT))
    yield from ()


def first_payment_second_try(b: Buyer) -> Life:
    b.starts("authentication_required", "ok")
    yield b.shop.now + b.random.randint(5 * MINUTE, 3 * HOUR)
    b.pays()


def refund_part(b: Buyer) -> Life:
    b.starts()
    yield b.later(3, 20)
    b.is_refunded(percent=b.random.choice((10, 25, 50)))


def refund_fails(b: Buyer) -> Life:
    b.starts()
    yield b.later(3, 12)
    b.is_refunded(percent=100, lab_fails_after=3 * DAY)


def voided(b: Buyer) -> Life:
    """Support agrees that this month was not usable and voids the failing invoice."""
    b.starts("ok", "do_not_honor", "ok")
    yield b.renewal() + 2 * DAY
    b.post(f"/v1/invoices/{b.invoice()['id']}/void")


def forgiven(b: Buyer) -> Life:
    """Written off by hand, and the subscription ended."""
    b.starts("ok", "insufficient_funds")
    yield b.renewal() + 6 * DAY
    b.post(f"/v1/invoices/{b.invoice()['id']}/mark_uncollectible")
    b.cancels_now()


def credited_before_payment(b: Buyer) -> Life:
    """Part of a failing invoice is credited; the next retry collects the rest."""
    b.starts("ok", "insufficient_funds", "ok", plan="business")
    yield b.renewal() + DAY
    b.is_credited(b.invoice()["total"] // 4, reason="product_unsatisfactory")


def credited_in_full(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok")
    yield b.renewal() + DAY
    b.is_credited(b.invoice()["amount_remaining"], reason="duplicate")


def credit_note_withdrawn(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok")
    yield b.renewal() + DAY
    note = b.is_credited(b.invoice()["total"] // 5)
    yield b.later(0.1, 0.5)
    b.post(f"/v1/credit_notes/{note}/void")


def credited_after_payment(b: Buyer) -> Life:
    b.starts()
    yield b.later(2, 14)
    amount = max(1, b.invoice()["amount_paid"] // b.random.choice((1, 3, 4)))
    b.is_credited(amount, refund_amount=amount)


def collection_paused(behavior: str) -> Callable[[Buyer], Life]:
    def life(b: Buyer) -> Life:
        b.starts()
        yield b.later(5, 20)
        b.updates(pause_collection={"behavior": behavior})
        yield b.renewal() + b.random.randint(3, 9) * DAY
        b.updates(pause_collection="")

    return life


def pauses(b: Buyer) -> Life:
    b.starts()
    yield b.later(8, 20)
    b.pauses()
    yield b.later(12, 25)
    b.resumes()


def pauses_within_a_second(b: Buyer) -> Life:
    b.starts()
    yield b.later(8, 20)
    b.pauses()
    b.resumes()
