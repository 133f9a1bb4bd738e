"""The kinds of customers a small SaaS company has, one short life each.

A life reads top-down as a story: what the customer does, `yield` when it wakes next, what it does then.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.stripe import engine
from lab.stripe.model import DAY, HOUR, MINUTE
from lab.stripe.shop import ENDINGS, Buyer, Life

SOFT = ("insufficient_funds", "generic_decline", "do_not_honor", "processing_error")


def steady(b: Buyer) -> Life:
    b.starts()
    yield from ()


def discounted(b: Buyer) -> Life:
    b.starts(percent_off=b.random.choice((10, 20, 33)))
    yield from ()


def settles_abroad(b: Buyer) -> Life:
    """Pays in euros that reach the account as dollars; a refund meets another day's rate."""
    b.currency = "eur"
    b.arrives()
    b.brings_card(settles_in="usd")
    b.subscribes()
    yield b.later(5, 15)
    if b.random.random() < 0.5:
        _refund(b, share=50)


def annual(b: Buyer) -> Life:
    b.currency = "usd"
    b.starts(plan="business", interval="annual")
    yield from ()


def trial_converts(b: Buyer) -> Life:
    b.starts(trial_days=b.random.choice((2, 7, 14)))
    yield from ()


def trial_canceled(b: Buyer) -> Life:
    b.starts(trial_days=14)
    yield b.later(2, 9)
    b.do(engine.cancel_in_portal, b.subscription, "too_expensive")


def trial_without_card(b: Buyer) -> Life:
    b.arrives()
    b.subscribes(trial_days=14, missing_payment_method="cancel")
    yield from ()


def trial_paused_then_resumed(b: Buyer) -> Life:
    b.arrives()
    b.subscribes(trial_days=7, missing_payment_method="pause")
    yield b.later(9, 12)
    if b.random.random() < 0.7:
        b.brings_card()
        yield b.shop.at + 5 * MINUTE
        b.do(engine.resume, b.subscription)


def trial_payment_recovers(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT), "ok", trial_days=7)
    yield from ()


def trial_payment_exhausted(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT), trial_days=14)
    yield from ()


def seats_grow(b: Buyer) -> Life:
    b.starts(plan="team")
    for _ in range(b.random.randint(2, 4)):
        yield b.later(4, 16)
        b.changes_seats(b.random.randint(1, 8), invoice_now=b.random.random() < 0.5)


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
    b.moves_to("business", invoice_now=True)
    yield b.later(20, 30)
    if b.random.random() < 0.5:
        b.moves_to("scale", invoice_now=True)


def downgrades(b: Buyer) -> Life:
    """Late enough in the period that the next invoice outweighs the credit."""
    b.starts(plan="scale")
    yield b.renewal() - 4 * DAY - b.random.randint(0, 2 * DAY)
    b.moves_to("business")


def leaves_at_period_end(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 40)
    if b.random.random() < 0.6:
        b.do(engine.cancel_in_portal, b.subscription, b.random.choice(("unused", "switched_service")))
    else:
        b.do(engine.cancel_at_period_end, b.subscription)


def thinks_again(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 20)
    b.do(engine.cancel_in_portal, b.subscription, "missing_features")
    yield b.later(1, 3)
    b.do(engine.keep, b.subscription)


def leaves_at_once(b: Buyer) -> Life:
    b.starts()
    yield b.later(10, 45)
    b.do(engine.cancel_now, b.subscription)


def leaves_refunded(b: Buyer) -> Life:
    """Money back in full within days, and gone."""
    b.starts()
    yield b.later(1, 5)
    _refund(b, share=100)
    b.do(engine.cancel_now, b.subscription)


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
    b.do(engine.pay, b.invoice().id)


def exhausted(ending: str, hard: bool = False) -> Callable[[Buyer], Life]:
    def life(b: Buyer) -> Life:
        b.starts("ok", "stolen_card" if hard else b.random.choice(SOFT), dunning=ENDINGS[ending])
        yield from ()

    return life


def late_success(ending: str) -> Callable[[Buyer], Life]:
    """Stripe has given up; days later the customer pays on the invoice page."""

    def life(b: Buyer) -> Life:
        b.starts("ok", "insufficient_funds", dunning=ENDINGS[ending])
        yield b.renewal() + b.random.randint(18, 23) * DAY
        b.do(engine.bank_says, b.card, ("ok",))
        b.do(engine.pay, b.invoice().id)

    return life


def upgrade_fails(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok", plan="starter")
    yield b.later(5, 20)
    b.moves_to("business", invoice_now=True)


def first_payment_never(b: Buyer) -> Life:
    b.starts(b.random.choice(SOFT))
    yield from ()


def first_payment_second_try(b: Buyer) -> Life:
    b.starts("authentication_required", "ok")
    yield b.shop.at + b.random.randint(5 * MINUTE, 3 * HOUR)
    b.do(engine.pay, b.invoice().id)


def _refund(b: Buyer, share: int, **kwargs: int) -> None:
    paid = b.invoice()
    charge = engine.charge_of(b.shop.world, paid.id)
    settles = b.random.choice((0, 0, 30 * MINUTE))
    b.do(engine.refund, charge.id, max(1, paid.amount_paid * share // 100), settles_after=settles, **kwargs)


def refund_part(b: Buyer) -> Life:
    b.starts()
    yield b.later(3, 20)
    _refund(b, share=b.random.choice((10, 25, 50)))


def refund_fails(b: Buyer) -> Life:
    b.starts()
    yield b.later(3, 12)
    _refund(b, share=100, fails_after=3 * DAY)


def voided(b: Buyer) -> Life:
    """Support agrees that this month was not usable and voids the failing invoice."""
    b.starts("ok", "do_not_honor", "ok")
    yield b.renewal() + 2 * DAY
    b.do(engine.void_invoice, b.invoice().id)


def forgiven(b: Buyer) -> Life:
    """Written off by hand, and the subscription ended."""
    b.starts("ok", "insufficient_funds")
    yield b.renewal() + 6 * DAY
    b.do(engine.mark_uncollectible, b.invoice().id)
    b.do(engine.cancel_now, b.subscription)


def credited_before_payment(b: Buyer) -> Life:
    """Part of a failing invoice is credited; the next retry collects the rest."""
    b.starts("ok", "insufficient_funds", "ok", plan="business")
    yield b.renewal() + DAY
    b.do(engine.credit_note, b.invoice().id, b.invoice().total // 4, "product_unsatisfactory")


def credited_in_full(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok")
    yield b.renewal() + DAY
    b.do(engine.credit_note, b.invoice().id, b.invoice().amount_remaining, "duplicate")


def credit_note_withdrawn(b: Buyer) -> Life:
    b.starts("ok", "insufficient_funds", "ok")
    yield b.renewal() + DAY
    note = b.do(engine.credit_note, b.invoice().id, b.invoice().total // 5)
    yield b.later(0.1, 0.5)
    b.do(engine.void_credit_note, note)


def credited_after_payment(b: Buyer) -> Life:
    b.starts()
    yield b.later(2, 14)
    b.do(engine.credit_note, b.invoice().id, max(1, b.invoice().amount_paid // b.random.choice((1, 3, 4))))


def collection_paused(behavior: str) -> Callable[[Buyer], Life]:
    def life(b: Buyer) -> Life:
        b.starts()
        yield b.later(5, 20)
        b.do(engine.pause_collection, b.subscription, behavior)
        yield b.renewal() + b.random.randint(3, 9) * DAY
        b.do(engine.resume_collection, b.subscription)

    return life


def pauses(b: Buyer) -> Life:
    b.starts()
    yield b.later(8, 20)
    b.do(engine.pause, b.subscription)
    yield b.later(12, 25)
    b.do(engine.resume, b.subscription)


def pauses_within_a_second(b: Buyer) -> Life:
    b.starts()
    yield b.later(8, 20)
    b.do(engine.pause, b.subscription)
    b.do(engine.resume, b.subscription)
