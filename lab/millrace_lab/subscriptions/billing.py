"""What a subscription bills: a period of each item, its measured usage, and the invoice that carries them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from millrace_lab.account import Step
from millrace_lab.catalog import currencies, discounts, prices
from millrace_lab.catalog.costs import Charge, charges
from millrace_lab.errors import Body
from millrace_lab.invoices import closing, drafting, items
from millrace_lab.invoices.lines import Line, decimal
from millrace_lab.subscriptions.bodies import is_metered, items_of, keep_items
from millrace_lab.usage import meters

TIMES = "\N{MULTIPLICATION SIGN}"


def period_lines(step: Step, sub: Body, item: Body, *, free: bool = False) -> list[Line]:
    """The item's present period, billed in advance; of a trial it is free; a metered item has none yet."""
    if is_metered(item["price"]):
        return []
    period = (item["current_period_start"], item["current_period_end"])
    if free:
        return [line_of(step, sub, item, Charge(0, item["quantity"], "0"), period, trial=True)]
    return [line_of(step, sub, item, each, period) for each in costs_of(sub, item)]


def usage_lines(step: Step, sub: Body, item: Body, until: int) -> list[Line]:
    """What was measured since the item's period began, billed afterwards; nothing used is a line of nothing."""
    if not is_metered(item["price"]):
        return []
    period = (item["current_period_start"], until)
    meter = item["price"]["recurring"]["meter"]
    used = meters.used(step, meter, sub["customer"], *period) if meter else Fraction(0)
    price = prices.in_currency(item["price"], sub["currency"])
    return [replace(line_of(step, sub, item, each, period), meter=meter) for each in charges(price, used)]


def nothing_used_yet(step: Step, sub: Body, item: Body) -> Line:
    """The line of nothing that the classic mode begins a metered item with."""
    period = (item["current_period_start"], item["current_period_end"])
    unit = item["price"]["unit_amount_decimal"] or "0"
    return line_of(step, sub, item, Charge(0, 0, unit), period)


def costs_of(sub: Body, item: Body) -> list[Charge]:
    return charges(prices.in_currency(item["price"], sub["currency"]), item["quantity"])


def full_price(sub: Body, item: Body) -> int:
    """A whole period of the item, in minor units, before discounts."""
    return sum(charge.amount for charge in costs_of(sub, item))


def line_of(
    step: Step, sub: Body, item: Body, charge: Charge, period: tuple[int, int], *, trial: bool = False
) -> Line:
    """A line of an item. Its metadata is the subscription's: docs.stripe.com/api/invoice-line-item/object."""
    name = product_of(step, item)
    return Line(
        amount=charge.amount,
        currency=sub["currency"],
        description=f"Trial period for {name}" if trial else described(name, item, sub["currency"], charge),
        period=period,
        price=item["price"],
        quantity=charge.quantity,
        unit_amount_decimal=charge.unit_amount_decimal,
        subscription=sub["id"],
        subscription_item=item["id"],
        discounts=tuple(each["id"] for each in discounts.live(step, item["discounts"])),
        tax_rates=tuple(item["tax_rates"]),
        metadata=sub["metadata"],
    )


def product_of(step: Step, item: Body) -> str:
    product = step.find(item["price"]["product"])
    return str(product["name"]) if product and "name" in product else str(item["price"]["product"])


def described(name: str, item: Body, currency: str, charge: Charge) -> str:
    """As Stripe words a line: a quantity times a product, at its price per interval."""
    if charge.unit_amount_decimal is None:
        return f"{name} (Tier {charge.tier}, flat fee)"
    each = spoken(Fraction(charge.unit_amount_decimal), currency)
    how_often = every(item["price"]["recurring"])
    tier = f"Tier {charge.tier} at" if charge.tier else "at"
    return f"{decimal(charge.quantity)} {TIMES} {name} ({tier} {each} / {how_often})"


def every(recurring: Body) -> str:
    count, interval = recurring["interval_count"], recurring["interval"]
    return str(interval) if count == 1 else f"every {count} {interval}s"


SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def spoken(amount: Fraction, currency: str) -> str:
    """An amount as a person reads it, with as many places as it needs."""
    places = currencies.decimals(currency)
    exact = amount / 10**places
    while (exact * 10**places).denominator != 1 and places < 12:
        places += 1
    digits = f"{int(exact * 10**places):0{places + 1}d}"
    number = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"{SIGNS.get(currency, currency.upper() + ' ')}{number}"


# The invoice.


def draft(
    step: Step, id_: str, lines: Iterable[Line], reason: str, period: tuple[int, int], *, hold: bool = False
) -> Body:
    """A draft of these lines and of what waits to be invoiced; the subscription points at it. Nothing is told.

    `hold` leaves it a draft until somebody finalizes it.
    """
    sub = step.get("subscription", id_)
    waiting = items.take(step, subscription=id_)
    waiting += items.take(step, customer=sub["customer"], currency=sub["currency"])
    invoice = drafting.draft(
        step,
        customer=sub["customer"],
        currency=sub["currency"],
        lines=[*waiting, *_newest_first(sub, lines)],
        subscription=sub,
        billing_reason=reason,
        period=period,
        terms=drafting.Terms(auto_advance=not hold),
    )
    step.change(
        id_,
        latest_invoice=invoice["id"],
        discounts=discounts.lasting(step, sub["discounts"]),
        _billed={**sub["_billed"], **debited(sub, invoice)},
    )
    _use_up(step, id_, {subscription_item_of(line) for line in invoice["_lines"]})
    return invoice


def _newest_first(sub: Body, lines: Iterable[Line]) -> list[Line]:
    """The lines of items in the order that Stripe describes for `invoice.lines`; others keep their place."""
    made = {item["id"]: int(item["created"]) for item in items_of(sub)}
    return sorted(lines, key=lambda line: -made.get(line.subscription_item or "", 0))


def give_up(step: Step, invoice: str) -> None:
    """Void an invoice that still stands; of one that is paid in part no more is collected."""
    body = step.get("invoice", invoice)
    if body["status"] == "open" and body["amount_paid"] == 0:
        closing.void(step, invoice)
    else:
        closing.stop(step, invoice)


def _use_up(step: Step, id_: str, billed: set[str | None]) -> None:
    """An item's own discounts for one invoice are gone once it was on one."""
    items_ = items_of(step.get("subscription", id_))
    left = [
        {**item, "discounts": discounts.lasting(step, item["discounts"])} if item["id"] in billed else item
        for item in items_
    ]
    if left != items_:
        keep_items(step, id_, left)


def debited(sub: Body, invoice: Body) -> Body:
    """What an invoice debits for each licensed item until when: the base of later credits."""
    licensed = {item["id"] for item in items_of(sub) if not is_metered(item["price"])}
    found: Body = {}
    for line in sorted(invoice["_lines"], key=lambda line: int(line["period"]["start"])):
        item = subscription_item_of(line)
        if item is not None and item in licensed and line["amount"] >= 0:
            found[item] = _later(found.get(item), line, invoice["id"])
    return found


def subscription_item_of(line: Body) -> str | None:
    details = (line["parent"] or {}).get("subscription_item_details") or {}
    found: str | None = details.get("subscription_item")
    return found


def _later(known: Body | None, line: Body, invoice: str) -> Body:
    """The debit that reaches furthest. The tiers of one period are one debit; of several prorations to the
    same end each replaces the one before it, which was given back as it came."""
    period = (line["period"]["start"], line["period"]["end"])
    net = line["amount"] - sum(off["amount"] for off in line["discount_amounts"])
    this = {"amount": net, "period": period, "invoice": invoice, "lines": (line["id"],)}
    replaces = line["parent"]["subscription_item_details"]["proration"]
    if known is None or period[1] > known["period"][1] or (replaces and period[1] == known["period"][1]):
        return this
    if period == known["period"]:
        return {**known, "amount": known["amount"] + net, "lines": (*known["lines"], line["id"])}
    return known
