"""Lines and totals of an invoice: arithmetic only, each amount rounded once, on its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from lab.stripe.model import Invoice, Item, Line, Price, TaxRate
from lab.stripe.periods import moment
from lab.stripe.proration import percent_of, prorated, tax_within

NewId = Callable[[str], str]


def period_line(new_id: NewId, item: Item, price: Price, *, free: bool = False) -> Line:
    """A full period of one item; a trial's period is free."""
    what = f"Trial period for {price.product}" if free else f"{item.quantity} x {price.lookup_key}"
    return Line(
        id=new_id("il"),
        amount=0 if free else price.unit_amount * item.quantity,
        quantity=item.quantity,
        price=price.id,
        product=price.product,
        unit_amount=0 if free else price.unit_amount,
        description=what,
        period_start=item.period_start,
        period_end=item.period_end,
        item=item.id,
    )


def proration_line(new_id: NewId, item: Item, price: Price, at: int) -> Line:
    """The rest of an item's period: charged to the second. `credit_of` turns it into a credit."""
    return Line(
        id=new_id("il"),
        amount=prorated(price.unit_amount, item.quantity, at, item.period_start, item.period_end),
        quantity=item.quantity,
        price=price.id,
        product=price.product,
        unit_amount=price.unit_amount,
        description=f"Remaining time on {item.quantity} x {price.lookup_key} after {moment(at):%d %b %Y}",
        period_start=at,
        period_end=item.period_end,
        item=item.id,
        proration=True,
    )


def credit_of(line: Line, invoice: str | None, credited: tuple[str, ...]) -> Line:
    return replace(
        line,
        amount=-line.amount,
        description=line.description.replace("Remaining", "Unused", 1),
        credited_invoice=invoice,
        credited_lines=credited,
    )


def totalled(invoice: Invoice, percent_off: int, rate: TaxRate | None) -> Invoice:
    """The invoice with discounts and taxes worked out on every line, and summed."""
    lines = tuple(_taxed(_discounted(line, percent_off), rate) for line in invoice.lines)
    subtotal = sum(line.amount for line in lines)
    discounted = sum(line.discount_amount for line in lines)
    tax = sum(line.tax for line in lines)
    inclusive = rate is not None and rate.inclusive
    return replace(
        invoice,
        lines=lines,
        subtotal=subtotal,
        discounted=discounted,
        tax=tax,
        tax_inclusive=inclusive,
        total=subtotal - discounted + (0 if inclusive else tax),
    )


def total_of(lines: Iterable[Line], rate: TaxRate | None) -> int:
    """What these lines would come to on an invoice without discount."""
    taxed = [_taxed(line, rate) for line in lines]
    exclusive = rate is not None and not rate.inclusive
    return sum(line.amount + (line.tax if exclusive else 0) for line in taxed)


def _discounted(line: Line, percent_off: int) -> Line:
    return line if line.proration else replace(line, discount_amount=percent_of(line.amount, percent_off))


def _taxed(line: Line, rate: TaxRate | None) -> Line:
    net = line.amount - line.discount_amount
    if rate is None:
        return line
    if rate.inclusive:
        tax = tax_within(net, rate.percent)
        return replace(line, tax=tax, taxable=net - tax)
    return replace(line, tax=percent_of(net, rate.percent), taxable=net)
