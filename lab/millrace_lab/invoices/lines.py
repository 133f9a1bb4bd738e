"""Lines of an invoice: what a caller hands over, and the body that it becomes.

An invoice carries ten of its lines and says whether it has more; all of them are kept in `_lines` and are
paged at `/v1/invoices/{invoice}/lines`. Source: docs.stripe.com/api/invoice-line-item/object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from millrace_lab import lists
from millrace_lab.account import Step
from millrace_lab.errors import Body

EMBEDDED = 10
Period = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A line before it is on an invoice. `amount` is gross, in minor units, with its sign.

    `credited` names what a proration gives back: (invoice, its lines). `discounts` are ids of discounts of
    the line's own, `tax_rates` bodies of its own rates. `discounted` are discounts that are already inside
    the amount of a proration: they are shown on the waiting item and never taken off again. `meter` is the
    meter whose usage in the period the line bills: it is read once more when the invoice is finalized.
    """

    amount: int
    currency: str
    description: str | None
    period: Period
    price: Body | None = None
    quantity: Fraction | int | None = 1
    unit_amount_decimal: str | None = None
    subscription: str | None = None
    subscription_item: str | None = None
    invoice_item: str | None = None
    proration: bool = False
    credited: tuple[str, tuple[str, ...]] | None = None
    discountable: bool = True
    discounts: tuple[str, ...] = ()
    discounted: tuple[tuple[str, int], ...] = ()
    tax_rates: tuple[Body, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    meter: str | None = None


def body(step: Step, line: Line, invoice: str) -> Body:
    """The line on its invoice, before discounts and taxes are worked out."""
    return {
        "id": step.new_id("il"),
        "object": "line_item",
        "amount": line.amount,
        "currency": line.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": line.discountable,
        "discounts": list(line.discounts),
        "invoice": invoice,
        "livemode": step.account.livemode,
        "metadata": line.metadata,
        "parent": parent(line),
        "period": {"end": line.period[1], "start": line.period[0]},
        "pretax_credit_amounts": [],
        "pricing": pricing(line.price, line.unit_amount_decimal),
        "quantity": None if line.quantity is None else int(line.quantity),
        "quantity_decimal": None if line.quantity is None else decimal(line.quantity),
        "subscription": line.subscription,
        "subtotal": line.amount,
        "taxes": [],
        "_price": line.price,
        "_tax_rates": list(line.tax_rates),
        "_credits": [],
        "_meter": line.meter,
    }


def parent(line: Line) -> Body | None:
    """Where a line comes from: an item of a subscription, or a waiting invoice item.

    A proration of a subscription item names both. Source: docs/lab/behaviours.md (basil).
    """
    shared = {
        "proration": line.proration,
        "proration_details": {"credited_items": credited(line)} if line.proration else None,
        "subscription": line.subscription,
    }
    if line.subscription_item is not None:
        details = {**shared, "invoice_item": line.invoice_item, "subscription_item": line.subscription_item}
        return {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        }
    if line.invoice_item is not None:
        details = {**shared, "invoice_item": line.invoice_item}
        return {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    return None


def credited(line: Line) -> Body | None:
    if line.credited is None:
        return None
    invoice, given_back = line.credited
    return {"invoice": invoice, "invoice_line_items": list(given_back)}


def pricing(price: Body | None, unit_amount_decimal: str | None) -> Body | None:
    """A line that was given an amount only has none: our reading, Stripe makes a price of its own for it."""
    if price is None:
        return None
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": unit_amount_decimal,
    }


def decimal(quantity: Fraction | int) -> str:
    """A quantity with at most twelve places, without trailing zeros."""
    exact = Fraction(quantity)
    places = 10**12
    whole, rest = divmod(abs(exact.numerator) * places // exact.denominator, places)
    sign = "-" if exact < 0 else ""
    return f"{sign}{whole}.{rest:012d}".rstrip("0").rstrip(".")


def embedded(invoice: str, bodies: Iterable[Body]) -> Body:
    return lists.listed(list(bodies), f"/v1/invoices/{invoice}/lines", most=EMBEDDED)
