"""What a Checkout session sells: its line items, and what they come to today.

Whole in minor units. Nothing is due today for usage, nor for what recurs while a trial runs.
Source: docs.stripe.com/api/checkout/sessions/line_items.
"""

from __future__ import annotations

from collections.abc import Iterable

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import discounts, goods, prices, promotion_codes, tax
from millrace_lab.catalog.asking import CodeGiven
from millrace_lab.catalog.currencies import grain
from millrace_lab.errors import Body, invalid
from millrace_lab.hosted.asking import Create, LineItem, SessionPrice

NOWHERE: Body = {"address": None, "shipping": None, "tax_exempt": "none"}  # a buyer of whom nothing is known


def items(step: Step, params: Create) -> list[Body]:
    """The line items of a new session, not yet counted. Raises StripeError 400 for prices of the wrong kind."""
    found = [_item(step, given, number) for number, given in enumerate(params.line_items)]
    recurring = [item["price"]["type"] == "recurring" for item in found]
    if params.mode == "subscription":
        refuse_unless(
            any(recurring),
            "You must provide at least one recurring price in `subscription` mode when using prices.",
            "line_items",
        )
    elif params.mode == "payment":
        refuse_unless(bool(found), "You must specify `line_items` in `payment` mode.", "line_items")
        refuse_unless(
            not any(recurring),
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or "
            "use only one-time prices.",
            "line_items",
        )
    currencies = {item["currency"] for item in found}
    refuse_unless(len(currencies) <= 1, "All line items must have the same currency.", "line_items")
    return found


def _item(step: Step, given: LineItem, number: int) -> Body:
    param = f"line_items[{number}]"
    price = _price(step, given, param)
    metered = _is_metered(price)
    refuse_unless(
        metered == (given.quantity is None),
        "Quantity cannot be set for metered plans."
        if metered
        else f"Missing required param: {param}[quantity].",
        f"{param}[quantity]",
    )
    return {
        "id": step.new_id("li", 24),
        "object": "item",
        "adjustable_quantity": given.adjustable_quantity.model_dump() if given.adjustable_quantity else None,
        "currency": price["currency"],
        "description": step.get("product", price["product"])["name"],
        "metadata": given.metadata or {},
        "price": price,
        "quantity": given.quantity,
        "_rates": [step.get("tax_rate", rate, f"{param}[tax_rates]")["id"] for rate in given.tax_rates],
    }


def _price(step: Step, given: LineItem, param: str) -> Body:
    if given.price_data is not None:
        return _made(step, given.price_data)
    refuse_unless(given.price is not None, f"Missing required param: {param}[price].", f"{param}[price]")
    price = step.get("price", given.price or "", f"{param}[price]")
    refuse_unless(price["active"], f"The price specified is inactive: {price['id']}.", f"{param}[price]")
    return price


def _made(step: Step, given: SessionPrice) -> Body:
    """A price that is for sale in this session only, perhaps of a product that is made along with it."""
    asked = given.model_dump(exclude_unset=True, exclude={"product_data"})
    if given.product_data is not None:
        refuse_unless(given.product is None, "Pass in either product or product_data.", "line_items")
        asked["product"] = goods.make(step, **given.product_data.model_dump())["id"]
    return prices.create(step, prices.CreatePrice.model_validate({**asked, "active": False}))


def _is_metered(price: Body) -> bool:
    return (price["recurring"] or {}).get("usage_type") == "metered"


# Discounts, before anybody redeems them.


def offered(step: Step, given: Iterable[CodeGiven], customer: str | None) -> list[Body]:
    """Discounts as `discounts.split` wants them, of coupons that can be redeemed but are not yet."""
    return [_offered(step, each, customer) for each in given]


def given_of(session: Body) -> list[CodeGiven]:
    """The discounts that a session was made with, or that its customer typed in."""
    return [CodeGiven.model_validate(each) for each in session["_given"].get("discounts") or ()]


def _offered(step: Step, given: CodeGiven, customer: str | None) -> Body:
    if given.promotion_code is not None:
        code = promotion_codes.usable(step, given.promotion_code, customer)
        return _of_coupon(step, code["promotion"]["coupon"])
    refuse_unless(given.coupon is not None, "You must specify a coupon or a promotion_code.", "discounts")
    return _of_coupon(step, given.coupon or "")


def _of_coupon(step: Step, id_: str) -> Body:
    coupon = step.get("coupon", id_, "discounts[0][coupon]")
    if not coupon["valid"]:
        raise invalid(f"Coupon expired: {id_}", "discounts[0][coupon]", "coupon_expired")
    return {"id": id_, "_coupon": coupon}


# Counting.


def counted(
    step: Step, of: list[Body], off: list[Body], *, trial: bool, automatic: bool, buyer: Body = NOWHERE
) -> list[Body]:
    """The items with their amounts: before discounts, after them, and with the tax of the place they go to."""
    amounts = [_due_today(item, trial) for item in of]
    currency = of[0]["currency"] if of else "usd"
    products = [item["price"]["product"] for item in of]
    shares = discounts.split(step, amounts, off, currency, products)
    return [
        _counted(step, item, amount, sum(part for _, part in share), automatic, buyer)
        for item, amount, share in zip(of, amounts, shares, strict=True)
    ]


def _due_today(item: Body, trial: bool) -> int:
    price = item["price"]
    if price["type"] == "recurring" and (trial or _is_metered(price)):
        return 0
    return sum(charge.amount for charge in prices.charges(price, item["quantity"] or 0))


def _counted(step: Step, item: Body, amount: int, off: int, automatic: bool, buyer: Body) -> Body:
    rates = tax.rates_of(
        step,
        customer=buyer,
        automatic=automatic,
        defaults=[],
        own=[step.get("tax_rate", rate) for rate in item["_rates"]],
        tax_behavior=item["price"]["tax_behavior"],
    )
    taxes = tax.taxes(amount - off, rates, grain(item["currency"]))
    on_top = sum(each["amount"] for each in taxes if each["tax_behavior"] == "exclusive")
    return item | {
        "amount_discount": off,
        "amount_subtotal": amount,
        "amount_tax": sum(each["amount"] for each in taxes),
        "amount_total": amount - off + on_top,
    }


def totals(of: list[Body]) -> Body:
    """The session's own amounts: the sums of its items'."""
    return {
        "amount_subtotal": sum(item["amount_subtotal"] for item in of),
        "amount_total": sum(item["amount_total"] for item in of),
        "total_details": {
            "amount_discount": sum(item["amount_discount"] for item in of),
            "amount_shipping": 0,
            "amount_tax": sum(item["amount_tax"] for item in of),
        },
    }
