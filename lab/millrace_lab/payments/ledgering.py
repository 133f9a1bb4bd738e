"""Balance transactions: every movement of the Stripe balance, and the balance that they add up to.

A transaction is made pending or available; what is pending becomes available at a midnight, told as
`balance.available`. No event tells of a transaction itself: it is found through its source or by listing.
Units: integer minor units of the settlement currency; rates are millionths of a settled unit for one unit.
Sources: docs.stripe.com/api/balance_transactions/object, docs.stripe.com/reports/reporting-categories,
docs/lab/behaviours.md. Fees, rates and delays are ours, and tables below.
"""

from __future__ import annotations

from fractions import Fraction

from millrace_lab.account import DAY, Step
from millrace_lab.catalog.currencies import decimals
from millrace_lab.errors import Body
from millrace_lab.rounding import round_half_away

MICRO = 1_000_000
PENDING_DAYS = 2  # the wait of a card payment; source: docs.stripe.com/payouts#payout-speed
BALANCE = "balance"  # the id of the one body that keeps the totals; it is never shown

# currency → (ten-thousandths of the amount, fixed part in minor units)
FEES = {
    "aud": (175, 30),
    "cad": (290, 30),
    "chf": (290, 30),
    "eur": (150, 25),
    "gbp": (150, 20),
    "jpy": (360, 0),
    "kwd": (290, 100),
    "usd": (290, 30),
}
USUAL_FEE = (290, 30)
DISPUTE_FEES = {"aud": 2500, "cad": 1500, "chf": 2000, "eur": 2000, "gbp": 2000, "jpy": 1300, "usd": 1500}

# dollars for one unit, times 1,000,000
DOLLARS_MICRO = {
    "aud": 655_000,
    "cad": 728_000,
    "chf": 1_121_000,
    "eur": 1_084_200,
    "gbp": 1_271_000,
    "jpy": 6_700,
    "kwd": 3_252_000,
    "usd": MICRO,
}

# type → reporting category, where it is not the type itself
CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "payment_failure_refund": "charge_failure",
    "payout_cancel": "payout_reversal",
    "payout_failure": "payout_reversal",
}


def fee_on(amount: int, currency: str) -> int:
    """What Stripe keeps of a charge, never more than all of it."""
    rate, fixed = FEES.get(currency, USUAL_FEE)
    return min(amount, round_half_away(Fraction(amount * rate, 10_000)) + fixed)


def rate_micro(currency: str, settles_in: str, at: int) -> int | None:
    """The day's rate, a fixed wobble around the table's: so that a refund meets a rate that has moved."""
    if currency == settles_in:
        return None
    usual = DOLLARS_MICRO[currency] * MICRO // DOLLARS_MICRO[settles_in]
    wobble = (at // DAY * 7919) % 30_011 - 15_000
    return usual + usual * wobble // DOLLARS_MICRO["eur"]


def converted(amount: int, currency: str, settles_in: str, rate: int | None) -> int:
    if rate is None:
        return amount
    shift = Fraction(10) ** (decimals(settles_in) - decimals(currency))
    return round_half_away(Fraction(amount * rate, MICRO) * shift)


def record(
    step: Step,
    *,
    type: str,
    source: str,
    amount: int,
    fee: int = 0,
    currency: str,
    pending: bool = False,
    rate: int | None = None,
    category: str | None = None,
    description: str | None = None,
    fee_description: str = "Stripe processing fees",
) -> Body:
    """One movement. Only what comes in from customers is `pending`; the rest moves what is available."""
    available_on = (step.now // DAY + PENDING_DAYS) * DAY if pending else step.now
    made = {
        "id": step.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": "payments",
        "created": step.now,
        "currency": currency,
        "description": description,
        "exchange_rate": None if rate is None else rate / MICRO,
        "fee": fee,
        "fee_details": _fee_details(fee, currency, fee_description),
        "net": amount - fee,
        "reporting_category": category or CATEGORIES.get(type, type),
        "source": source,
        "status": "pending" if pending else "available",
        "type": type,
    }
    return _wait(step, made) if pending else _arrive(step, step.add(made, source))


def _fee_details(fee: int, currency: str, description: str) -> list[Body]:
    if fee == 0:
        return []
    only = {"amount": fee, "application": None, "currency": currency, "description": description}
    return [{**only, "type": "stripe_fee"}]


def _wait(step: Step, made: Body) -> Body:
    """Count it as pending; the first one of a day has the clockwork release them all."""
    opened = totals(step)["_opened"]
    if opened.get(str(step.clock)) != made["available_on"]:
        step.change(BALANCE, _opened={**opened, str(step.clock): made["available_on"]})
        step.due(made["id"], "balance.available", made["available_on"])
    _move(step, "_pending", made)
    return step.add(made, made["source"], _group(step, made["available_on"]))


def _arrive(step: Step, made: Body) -> Body:
    """Count it as available. The next automatic payout finds it under the open round of its currency."""
    _move(step, "_available", made)
    if made["type"] != "payout":
        step.adopt(open_round(step, made["currency"]), made)
    return made


def _group(step: Step, available_on: int) -> str:
    return f"available on {available_on} {step.clock}"


def release(step: Step, first: Body) -> None:
    """What the clockwork does at a midnight: the day's pending transactions can be paid out from now on."""
    for txn in step.of("balance_transaction", _group(step, first["available_on"])):
        _move(step, "_pending", txn, sign=-1)
        _arrive(step, step.change(txn["id"], status="available"))
    step.tell("balance.available", balance(step))
    step.announce("balance.available", totals(step))


# The totals.


def totals(step: Step) -> Body:
    """The one body that keeps the sums by currency, on no test clock."""
    if (kept := step.find(BALANCE)) is not None:
        return kept
    sums: Body = {"_available": {}, "_pending": {}}
    step.add({"id": BALANCE, "object": "lab_balance", "_opened": {}, "_rounds": {}, **sums})
    return step.change(BALANCE, _clock=None)


def _move(step: Step, which: str, txn: Body, sign: int = 1) -> None:
    sums = totals(step)[which]
    moved = sums.get(txn["currency"], 0) + sign * txn["net"]
    step.change(BALANCE, **{which: {**sums, txn["currency"]: moved}})


def available(step: Step, currency: str) -> int:
    return int(totals(step)["_available"].get(currency, 0))


def open_round(step: Step, currency: str) -> str:
    """The name under which transactions wait for the next automatic payout, one per clock and currency."""
    key = f"{currency} {step.clock}"
    return f"round {totals(step)['_rounds'].get(key, 0)} {key}"


def waiting(step: Step, currency: str) -> list[Body]:
    """What the next automatic payout of this currency will carry."""
    return step.of("balance_transaction", open_round(step, currency))


def carried_by(payout: str) -> str:
    """The name under which the members of an automatic payout are listed, its own transaction included."""
    return f"carried by {payout}"


def close_round(step: Step, currency: str) -> None:
    key = f"{currency} {step.clock}"
    rounds = totals(step)["_rounds"]
    step.change(BALANCE, _rounds={**rounds, key: rounds.get(key, 0) + 1})


def balance(step: Step) -> Body:
    """The balance as Stripe shows it."""
    kept = totals(step)
    currencies = sorted({*kept["_available"], *kept["_pending"]})
    return {
        "object": "balance",
        "available": [_amount(kept["_available"], currency) for currency in currencies],
        "livemode": step.account.livemode,
        "pending": [_amount(kept["_pending"], currency) for currency in currencies],
    }


def _amount(sums: dict[str, int], currency: str) -> Body:
    amount = sums.get(currency, 0)
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}
