"""Discounts: a coupon at work on a customer, a subscription, an invoice or one of their items.

Source: docs.stripe.com/api/discounts, docs.stripe.com/billing/subscriptions/coupons.
"""

from __future__ import annotations

from collections.abc import Iterable

from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import coupons, currencies, promotion_codes
from millrace_lab.catalog.amounts import exact
from millrace_lab.catalog.asking import DiscountGiven
from millrace_lab.errors import Body, StripeError, invalid
from millrace_lab.operations import DueAction, Operation
from millrace_lab.params import NoParams
from millrace_lab.periods import period_end
from millrace_lab.rounding import round_half_away


def attach(
    step: Step,
    given: Iterable[DiscountGiven] | None,
    *,
    customer: str | None,
    subscription: str | None = None,
    invoice: str | None = None,
    invoice_item: str | None = None,
    subscription_item: str | None = None,
) -> list[Body]:
    """Discounts from what a request names: a coupon, a promotion code, or a discount that exists; redeemed now.

    One that is named as `discount` stays itself. On a customer or a subscription, a new one is told as
    `customer.discount.created`. Raises StripeError for what cannot be redeemed, by Stripe's code for it.
    """
    owners = {
        "customer": customer,
        "subscription": subscription,
        "invoice": invoice,
        "invoice_item": invoice_item,
        "subscription_item": subscription_item,
    }
    return [_attached(step, each, owners) for each in given or ()]


def split(
    step: Step,
    amounts: list[int],
    discounts: list[Body],
    currency: str,
    products: list[str | None] | None = None,
) -> list[list[tuple[str, int]]]:
    """What each discount takes off each amount: (discount, amount off), in minor units.

    Discounts act one after the other, each on what the ones before left. An amount off is shared out in
    proportion, floored, the remainder on the last one: 500 over 1000 and 2000 is 166 and 334
    (docs/lab/behaviours.md). Amounts that are not positive bear nothing. `products` are the products of the
    amounts, for coupons that apply to some only; without them every amount counts.
    """
    left = list(amounts)
    found: list[list[tuple[str, int]]] = [[] for _ in amounts]
    for discount in discounts:
        coupon = coupon_of(step, discount)
        eligible = [n for n, amount in enumerate(left) if amount > 0 and _applies(coupon, products, n)]
        for number, off in zip(eligible, _off(coupon, [left[n] for n in eligible], currency), strict=True):
            if off:
                left[number] -= off
                found[number].append((discount["id"], off))
    return found


def coupon_of(step: Step, discount: Body) -> Body:
    """The coupon behind a discount, as it was redeemed: it outlives the coupon's deletion."""
    coupon: Body = discount["_coupon"]
    return coupon


def live(step: Step, ids: Iterable[str], at: int | None = None) -> list[Body]:
    """Those of some discounts that still act at a second (now): there, and not yet at their end."""
    moment = step.now if at is None else at
    found = [step.find(id_) for id_ in ids]
    return [d for d in found if d and not d.get("deleted") and (d["end"] is None or moment < d["end"])]


def lasting(step: Step, ids: Iterable[str]) -> list[str]:
    """The discounts that remain after an invoice has used them: a `once` discount does not."""
    return [d["id"] for d in live(step, ids) if d["_coupon"]["duration"] != "once"]


# Making one.


def _attached(step: Step, given: DiscountGiven, owners: dict[str, str | None]) -> Body:
    named = [each for each in (given.coupon, given.promotion_code, given.discount) if each]
    refuse_unless(
        len(named) == 1,
        "You must specify exactly one of `coupon`, `promotion_code` or `discount`.",
        "discounts",
    )
    if given.discount:
        return step.get("discount", given.discount, "discounts[0][discount]")
    code = None
    if given.promotion_code:
        code = promotion_codes.usable(step, given.promotion_code, owners["customer"])
    coupon = _usable_coupon(step, code["promotion"]["coupon"] if code else str(given.coupon))
    return _made(step, coupon, code, owners)


def _usable_coupon(step: Step, id_: str) -> Body:
    coupon = step.get("coupon", id_, "discounts[0][coupon]")
    if not coupon["valid"]:
        raise invalid(f"Coupon expired: {id_}", "coupon", "coupon_expired")
    return coupon


def _made(step: Step, coupon: Body, code: Body | None, owners: dict[str, str | None]) -> Body:
    if code is not None:
        promotion_codes.redeemed(step, code)
    redeemed = coupons.redeemed(step, coupon)
    discount = step.add(
        {
            "id": step.new_id("di"),
            "object": "discount",
            "checkout_session": None,
            "customer_account": None,
            "end": _end(step.now, coupon),
            "promotion_code": code["id"] if code else None,
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": step.now,
            **owners,
            "_coupon": redeemed,
        }
    )
    if not (owners["invoice"] or owners["invoice_item"]):
        _take_effect(step, discount)
    return discount


def _take_effect(step: Step, discount: Body) -> None:
    """A discount that lasts: told, ended in time, and the customer's own one is in its body."""
    if discount["customer"] and not (discount["subscription"] or discount["subscription_item"]):
        step.change(discount["customer"], discount=discount)
    step.tell("customer.discount.created", discount)
    step.due(discount["id"], "discount.end", discount["end"])


def _end(start: int, coupon: Body) -> int | None:
    if coupon["duration"] != "repeating":
        return None
    return period_end(start, start, "month", coupon["duration_in_months"])


# What it takes off.


def _applies(coupon: Body, products: list[str | None] | None, number: int) -> bool:
    return coupon["_products"] is None or products is None or products[number] in coupon["_products"]


def _off(coupon: Body, amounts: list[int], currency: str) -> list[int]:
    if coupon["percent_off"] is not None:
        share = exact(coupon["percent_off"]) / 100
        return [round_half_away(amount * share, currencies.grain(currency)) for amount in amounts]
    return shared(min(amount_off(coupon, currency), sum(amounts)), amounts)


def amount_off(coupon: Body, currency: str) -> int:
    """What a coupon of a fixed amount is worth in a currency: nothing where it has no such option."""
    if coupon["currency"] == currency:
        return int(coupon["amount_off"])
    return int(coupon["_currency_options"].get(currency, {}).get("amount_off", 0))


def shared(total: int, amounts: list[int]) -> list[int]:
    """An amount shared out in proportion to others, none above its own: floored, the remainder on the last.

    Where the last has no room for all of the remainder, the one before it takes the rest: our reading.
    """
    parts = [total * amount // sum(amounts) for amount in amounts]
    left = total - sum(parts)
    for number in reversed(range(len(parts))):
        more = min(left, amounts[number] - parts[number])
        parts[number] += more
        left -= more
    return parts


# Its end.


def end(step: Step, discount: Body) -> None:
    """The months of a repeating discount are over: it goes from its owner, silently but for itself."""
    _leave(step, discount)
    step.tell("customer.discount.deleted", discount)


def _leave(step: Step, discount: Body) -> None:
    """Take a discount from whatever has it in its list."""
    owner = discount["subscription_item"] or discount["subscription"]
    if owner and (body := step.find(owner)):
        step.change(owner, discounts=[id_ for id_ in body["discounts"] if id_ != discount["id"]])
    elif discount["customer"] and step.get("customer", discount["customer"])["discount"]:
        step.change(discount["customer"], discount=None)


def delete_of_customer(step: Step, _: NoParams, customer: str) -> Body:
    discount = step.get("customer", customer)["discount"]
    if discount is None:
        raise StripeError(404, f"No active discount for customer: {customer}", code="resource_missing")
    return _deleted(step, discount)


def delete_of_subscription(step: Step, _: NoParams, subscription: str) -> Body:
    before = step.get("subscription", subscription)
    found = live(step, before["discounts"])
    if not found:
        raise StripeError(
            404, f"No active discount for subscription: {subscription}", code="resource_missing"
        )
    answer = _deleted(step, found[0])
    step.updated("customer.subscription.updated", before)
    return answer


def _deleted(step: Step, discount: Body) -> Body:
    _leave(step, discount)
    step.due(discount["id"], "discount.end", None)
    step.tell("customer.discount.deleted", discount)
    return {name: value for name, value in discount.items() if name != "end"} | {"deleted": True}


DUE: dict[str, DueAction] = {"discount.end": end}
OPERATIONS = (
    Operation("DELETE /v1/customers/{customer}/discount", delete_of_customer, permission="customer_write"),
    Operation("DELETE /v1/subscriptions/{subscription_exposed_id}/discount", delete_of_subscription),
)
