"""Prorations: what the rest of a period costs, to the second, and what is given back for it.

Source: docs.stripe.com/billing/subscriptions/prorations; docs/lab/behaviours.md. Each line is rounded once. The
classic mode credits the item's present price; the flexible one credits what was really debited.
"""

from __future__ import annotations

from fractions import Fraction

from millrace_lab.account import Step
from millrace_lab.catalog import discounts
from millrace_lab.catalog.currencies import grain
from millrace_lab.errors import Body
from millrace_lab.invoices.lines import Line
from millrace_lab.periods import moment
from millrace_lab.rounding import round_half_away
from millrace_lab.subscriptions.billing import TIMES, full_price, product_of
from millrace_lab.subscriptions.bodies import is_metered
from millrace_lab.subscriptions.lifecycle import flexible


def prorated(amount: int, at: int, start: int, end: int, to: int = 1) -> int:
    """The share of `amount` that belongs to the time from `at` to the end of its period, in multiples of `to`."""
    return round_half_away(Fraction(amount * (end - at), end - start), to)


def debit(step: Step, sub: Body, item: Body, at: int, whole: tuple[int, int] | None = None) -> list[Line]:
    """The rest of the item's period at its new price, discounts already inside.

    `whole` is the natural period of its price, where the present one is a shorter first one.
    """
    if is_metered(item["price"]):
        return []
    start, end = whole or (item["current_period_start"], item["current_period_end"])
    amount = prorated(full_price(sub, item), at, start, end, grain(sub["currency"]))
    return [_line(step, sub, item, "Remaining", amount, at, inside(step, sub, item, amount))]


def credit(step: Step, sub: Body, item: Body, at: int) -> list[Line]:
    """What was paid for the item's time after `at`, given back."""
    if is_metered(item["price"]) or at >= item["current_period_end"]:
        return []
    billed = sub["_billed"].get(item["id"])
    if flexible(sub):
        return _credit_of_debit(step, sub, item, billed, at) if billed else []
    start, end = item["current_period_start"], item["current_period_end"]
    amount = prorated(full_price(sub, item), at, start, end, grain(sub["currency"]))
    off = inside(step, sub, item, amount)
    return [_line(step, sub, item, "Unused", -amount, at, tuple((id_, -each) for id_, each in off), billed)]


def _credit_of_debit(step: Step, sub: Body, item: Body, billed: Body, at: int) -> list[Line]:
    start, end = billed["period"]
    amount = prorated(billed["amount"], max(at, start), start, end, grain(sub["currency"]))
    return [_line(step, sub, item, "Unused", -amount, at, (), billed)] if amount else []


def inside(step: Step, sub: Body, item: Body, amount: int) -> tuple[tuple[str, int], ...]:
    """The discounts that a proration carries inside its amount."""
    given = discounts.live(step, (*item["discounts"], *sub["discounts"]))
    return tuple(discounts.split(step, [amount], given, sub["currency"])[0]) if given else ()


def _line(
    step: Step,
    sub: Body,
    item: Body,
    what: str,
    amount: int,
    at: int,
    off: tuple[tuple[str, int], ...],
    billed: Body | None = None,
) -> Line:
    named = billed is not None and billed["invoice"] is not None
    return Line(
        amount=amount - sum(each for _, each in off),
        currency=sub["currency"],
        description=f"{what} time on {item['quantity']} {TIMES} {product_of(step, item)} after {moment(at):%d %b %Y}",
        period=(at, item["current_period_end"]),
        price=item["price"],
        quantity=item["quantity"],
        unit_amount_decimal=item["price"]["unit_amount_decimal"],
        subscription=sub["id"],
        subscription_item=item["id"],
        proration=True,
        credited=(billed["invoice"], tuple(billed["lines"])) if billed and named else None,
        discountable=False,
        discounted=off,
        tax_rates=tuple(item["tax_rates"]),
        metadata=sub["metadata"],
    )
