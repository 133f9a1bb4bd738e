"""Parameters that invoices, invoice items and credit notes share, and how a line is read from them."""

from __future__ import annotations

from fractions import Fraction

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import currencies, prices, tax_rates
from millrace_lab.catalog.amounts import DecimalAmount, SignedDecimalAmount
from millrace_lab.catalog.asking import Discounts, PriceData, Rates
from millrace_lab.catalog.prices import CreatePrice
from millrace_lab.errors import Body
from millrace_lab.invoices.lines import Line
from millrace_lab.params import Amount, Metadata, Params, Second, Text
from millrace_lab.rounding import round_half_away


class Period(Params):
    start: Second
    end: Second


class Pricing(Params):
    price: str | None = None


class NewPrice(PriceData):
    product: str


class LineTerms(Params):
    """What can be said of a line, wherever a line can be made."""

    amount: Amount | None = None
    description: Text = None
    discountable: bool | None = None
    discounts: Discounts = None
    metadata: Metadata = None
    period: Period | None = None
    price_data: NewPrice | None = None
    quantity: int | None = None
    quantity_decimal: DecimalAmount | None = None
    tax_rates: Rates = None


class LineAsked(LineTerms):
    """A line, at a price that exists if it names one."""

    pricing: Pricing | None = None


class ItemAsked(LineAsked):
    """What an invoice item can be asked for with besides: an amount for each of a quantity."""

    unit_amount_decimal: SignedDecimalAmount | None = None


def price_of(step: Step, asked: LineAsked) -> Body | None:
    """The price that is named, or a new one, made for this line and not for sale."""
    if asked.pricing is not None and asked.pricing.price is not None:
        return step.get("price", asked.pricing.price, "pricing[price]")
    if asked.price_data is None:
        return None
    data = asked.price_data
    step.get("product", data.product, "price_data[product]")
    sold = CreatePrice(active=False, **data.model_dump(exclude_none=True))
    return prices.make(step, sold, data.product)


def currency_of(step: Step, buyer: Body, asked: str | None, price: Body | None) -> str:
    """As asked, else the price's, else the customer's, else dollars."""
    found: str = asked or (price or {}).get("currency") or buyer.get("currency") or "usd"
    currencies.check_currency(found)
    return found


def line(step: Step, asked: LineAsked, currency: str, price: Body | None) -> Line:
    """A new line from its parameters: a price times a quantity, or a plain amount."""
    refuse_unless(
        price is None or price["type"] == "one_time",
        "The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.",
        "price",
    )
    quantity = quantity_of(asked) or Fraction(1)
    unit = unit_of(price, asked, currency)
    amount = asked.amount if asked.amount is not None else cost(unit, quantity)
    period = (asked.period.start, asked.period.end) if asked.period else (step.now, step.now)
    return Line(
        amount=amount,
        currency=currency,
        description=asked.description or _name(step, price),
        period=period,
        price=price,
        quantity=quantity,
        unit_amount_decimal=unit,
        discountable=amount >= 0 if asked.discountable is None else asked.discountable,
        tax_rates=tuple(tax_rates.named(step, asked.tax_rates)),
        metadata=asked.metadata or {},
    )


def quantity_of(asked: LineAsked) -> Fraction | None:
    if asked.quantity_decimal is not None:
        return Fraction(asked.quantity_decimal)
    return None if asked.quantity is None else Fraction(asked.quantity)


def unit_of(price: Body | None, asked: LineAsked, currency: str) -> str | None:
    if price is not None:
        refuse_unless(
            price["currency"] == currency,
            f"The price specified only supports `{price['currency']}`. This doesn't match the expected "
            f"currency: `{currency}`.",
            "price",
        )
        unit: str | None = price["unit_amount_decimal"]
        return unit
    return unit_asked(asked)


def unit_asked(asked: LineAsked) -> str | None:
    return asked.unit_amount_decimal if isinstance(asked, ItemAsked) else None


def cost(unit: str | None, quantity: Fraction) -> int:
    return 0 if unit is None else round_half_away(Fraction(unit) * quantity)


def _name(step: Step, price: Body | None) -> str | None:
    """What a line is called when nobody says: as its product."""
    if price is None:
        return None
    product = step.find(price["product"])
    return None if product is None else product.get("name")
