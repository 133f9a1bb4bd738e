"""Money reaching the Stripe balance: fees, settlement currency, exchange rates. Integers only."""

from __future__ import annotations

from lab.stripe.model import DAY, BalanceTransaction, Charge, Refund
from lab.stripe.proration import round_half_away
from lab.stripe.world import Step

MICRO = 1_000_000
# currency -> (rate in 1/10,000, fixed part in minor units)
FEES = {"usd": (290, 30), "eur": (150, 25), "jpy": (360, 0)}
EUR_USD_MICRO = 1_084_200


def fee_on(amount: int, currency: str) -> int:
    rate, fixed = FEES[currency]
    return min(amount, round_half_away(amount * rate, 10_000) + fixed)


def rate_micro(at: int) -> int:
    """Dollars for a euro on a day, times 1,000,000: a fixed wobble, so that refunds meet a moved rate."""
    return EUR_USD_MICRO + (at // DAY * 7919) % 30_011 - 15_000


def settle_charge(step: Step, charge: Charge) -> str:
    rate = rate_micro(step.at) if charge.settles_in else None
    currency = charge.settles_in or charge.currency
    amount = _converted(charge.amount, rate)
    moved = BalanceTransaction(
        step.new_id("txn"), step.at, "charge", charge.id, currency, amount, fee_on(amount, currency), rate
    )
    step.add(moved)
    return moved.id


def settle_refund(step: Step, refund: Refund) -> str:
    """Stripe keeps its fee: a refund takes its whole amount from the balance, at today's rate."""
    charge = step.get(Charge, refund.charge)
    rate = rate_micro(step.at) if charge.settles_in else None
    currency = charge.settles_in or charge.currency
    amount = -_converted(refund.amount, rate)
    moved = BalanceTransaction(step.new_id("txn"), step.at, "refund", refund.id, currency, amount, 0, rate)
    step.add(moved)
    return moved.id


def return_refund(step: Step, refund: Refund, settled: BalanceTransaction) -> str:
    """A failed refund comes back exactly as it went."""
    moved = BalanceTransaction(
        step.new_id("txn"),
        step.at,
        "refund_failure",
        refund.id,
        settled.currency,
        -settled.amount,
        0,
        settled.rate_micro,
    )
    step.add(moved)
    return moved.id


def _converted(amount: int, rate: int | None) -> int:
    return amount if rate is None else round_half_away(amount * rate, MICRO)
