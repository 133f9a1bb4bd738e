"""What is sold, and for how much less: prices, products, coupons, discounts, promotion codes."""

from __future__ import annotations

from millrace.events.view.field import (
    BASIL,
    CLOVER,
    Field,
    View,
    every,
    flag,
    identity,
    inherited,
    inner,
    instant,
    many,
    money,
    number,
    one,
    required,
    rule,
    since,
    text,
    until,
    whole,
)


class Price(View):
    """A price, or the plan that it was before. Of a bare id only the id is told."""

    id = required("the price's id")
    product = identity("what it is the price of")
    lookup_key = text("the name by which a company finds it; it may be given to another price")
    active = flag("whether it can still be sold")
    currency = text("the currency of its amounts")
    unit_amount = money("what one unit costs, in whole minor units", "unit_amount", until(BASIL, "amount"))
    unit_amount_decimal = number(
        "what one unit costs, in minor units and exact",
        "unit_amount_decimal",
        "unit_amount",
        until(BASIL, "amount_decimal"),
        until(BASIL, "amount"),
    )
    billing_scheme = text("per_unit or tiered")
    interval = text("day, week, month or year", "recurring.interval", until(BASIL, "interval"))
    interval_count = whole(
        "intervals between two bills", "recurring.interval_count", until(BASIL, "interval_count")
    )
    usage_type = text("licensed or metered", "recurring.usage_type", until(BASIL, "usage_type"))
    meter = identity("the meter that counts its usage", "recurring.meter")


class Product(View):
    """A product."""

    id = required("the product's id")
    active = flag("whether it can still be sold")
    default_price = identity("the price that is sold where none is named")
    tax_code = identity("what it is for the tax office")


class Coupon(View):
    """A coupon. Of a bare id only the id is told."""

    id = required("the coupon's id")
    currency = text("the currency of `amount_off`")
    percent_off = number("what it takes off, in per cent")
    amount_off = money("what it takes off, as an amount")
    duration = text("once, repeating or forever")
    duration_in_months = whole("how long a repeating one lasts")


class Discount(View):
    """A coupon as it was given to a customer, a subscription, an item or an invoice. Of a bare id, the id."""

    id = identity("the discount's id")
    coupon = one("what is given", Coupon, since(CLOVER, "source.coupon"), until(CLOVER, "coupon"))
    promotion_code = identity("the code that somebody typed")
    start = instant("since when it applies")
    end = instant("until when; None for ever")


class PromotionCode(View):
    """A code that customers type."""

    id = required("the promotion code's id")
    active = flag("whether it can still be used")
    coupon = one("what it gives", Coupon, since(CLOVER, "promotion.coupon"), until(CLOVER, "coupon"))
    customer = identity("the only customer who may use it")
    customer_account = identity("the only customer who may use it, as an account")
    expires_at = instant("until when it can be used")


class Reduction(View):
    """What one discount takes off, as Stripe split it. Never recomputed."""

    currency = inherited()
    amount = money("what it takes off")
    discount = identity("the discount")


class PretaxCredit(View):
    """What is taken off before tax: prepaid credits, and discounts again."""

    currency = inherited()
    amount = money("what it takes off")
    type = text("credit_balance_transaction or discount")
    credit_balance_transaction = identity("the use of prepaid credits")
    discount = identity("the discount, told here a second time")


class Tax(View):
    """A tax on an amount."""

    currency = inherited()
    amount = money("the tax")
    inclusive = flag(
        "whether it is part of the amount it stands beside",
        rule("`tax_behavior` is inclusive", lambda tax: _inclusive(tax), since=BASIL),
        until(BASIL, "inclusive"),
    )
    rate = identity("the tax rate", since(BASIL, "tax_rate_details.tax_rate"), until(BASIL, "tax_rate"))
    taxable = money("what is taxed", "taxable_amount")
    reason = text("why it is taxed, or is not", "taxability_reason")


def _inclusive(tax: View) -> bool | None:
    behaviour = tax.body.get("tax_behavior")
    return behaviour == "inclusive" if isinstance(behaviour, str) else None


def discounts() -> Field[tuple[Discount, ...]]:
    """The discounts of an object. Where only their ids are listed, `discount` may tell the one in full."""
    return many(
        "what is given for less, in the order in which it is applied",
        Discount,
        rule("`discounts`, ids unless expanded", _listed),
        rule("`discount`", lambda view: _single(view), until=BASIL),
    )


def _listed(view: View) -> tuple[Discount, ...] | None:
    found = view.body.get("discounts")
    if found is None or found == []:
        return None
    alone = _single(view) or ()
    known = {discount.id: discount for discount in alone}
    return tuple(known.get(listed.id, listed) for listed in every(Discount)(view, found, "discounts"))


def _single(view: View) -> tuple[Discount, ...] | None:
    found = view.body.get("discount")
    return (inner(Discount, view, found, "discount"),) if found else None
