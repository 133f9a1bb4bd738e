"""Promotion codes: the word a customer types for a coupon. Source: docs.stripe.com/api/promotion_codes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import DueAction, Operation, Page
from millrace_lab.params import Currency, ListParams, Metadata, NoParams, Params, Second, Times


class Promotion(Params):
    type: Literal["coupon"]
    coupon: str


class MinimumInCurrency(Params):
    minimum_amount: int | None = None


class Restrictions(Params):
    currency_options: dict[Currency, MinimumInCurrency] | None = None
    first_time_transaction: bool = False
    minimum_amount: Annotated[int, Field(ge=1)] | None = None
    minimum_amount_currency: Currency | None = None


class CreatePromotionCode(Params):
    promotion: Promotion
    active: bool = True
    code: Annotated[str, Field(min_length=1, max_length=500, pattern="^[A-Za-z0-9-]+$")] | None = None
    customer: str | None = None
    expires_at: Second | None = None
    max_redemptions: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata = None
    restrictions: Restrictions = Restrictions()


class MoreRestrictions(Params):
    currency_options: dict[Currency, MinimumInCurrency] | None = None


class UpdatePromotionCode(Params):
    active: bool | None = None
    metadata: Metadata = None
    restrictions: MoreRestrictions | None = None


class ListPromotionCodes(ListParams):
    active: bool | None = None
    code: str | None = None
    coupon: str | None = None
    created: Times | None = None
    customer: str | None = None


def create(step: Step, params: CreatePromotionCode) -> Body:
    coupon = step.get("coupon", params.promotion.coupon, "promotion[coupon]")
    refuse_unless(coupon["valid"], "The coupon is no longer valid.", "promotion[coupon]")
    if params.customer is not None:
        step.get("customer", params.customer, "customer")
    code = params.code or step.new_id("x", 8)[2:].upper()
    if params.active:
        _check_free(step, code, params.customer)
    promotion_code = step.add(
        {
            "id": step.new_id("promo"),
            "object": "promotion_code",
            "active": params.active,
            "code": code,
            "created": step.now,
            "customer": params.customer,
            "customer_account": None,
            "expires_at": params.expires_at,
            "livemode": step.account.livemode,
            "max_redemptions": params.max_redemptions,
            "metadata": params.metadata or {},
            "promotion": {"coupon": coupon["id"], "type": "coupon"},
            "restrictions": _restrictions(params.restrictions),
            "times_redeemed": 0,
        },
        coupon["id"],
    )
    step.tell("promotion_code.created", promotion_code)
    step.due(promotion_code["id"], "promotion_code.expire", params.expires_at)
    return promotion_code


def _restrictions(given: Restrictions) -> Body:
    options = {currency: option.model_dump() for currency, option in (given.currency_options or {}).items()}
    return {
        "first_time_transaction": given.first_time_transaction,
        "minimum_amount": given.minimum_amount,
        "minimum_amount_currency": given.minimum_amount_currency,
        "_currency_options": options,
    }


def _check_free(step: Step, code: str, customer: str | None) -> None:
    """Among active codes a word is there once, upper or lower case, for any one customer."""
    taken = any(
        each["active"] and each["code"].lower() == code.lower() and each["customer"] in (None, customer)
        for each in step.all("promotion_code")
    )
    refuse_unless(
        not taken,
        f"An active promotion code with `code: {code}` already exists.",
        "code",
        "resource_already_exists",
    )


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("promotion_code", id_)


def update(step: Step, params: UpdatePromotionCode, id_: str) -> Body:
    before = step.get("promotion_code", id_)
    changes = params.changes_to(before, "active")
    if params.active and not before["active"]:
        _check_redeemable(step, before)
        _check_free(step, before["code"], before["customer"])
    if params.restrictions is not None:
        more = {c: o.model_dump() for c, o in (params.restrictions.currency_options or {}).items()}
        kept = before["restrictions"]
        changes["restrictions"] = {**kept, "_currency_options": kept["_currency_options"] | more}
    step.change(id_, **changes)
    return step.updated("promotion_code.updated", before)


def listing(step: Step, params: ListPromotionCodes) -> Page:
    def holds(code: Body) -> bool:
        return params.code is None or code["code"].lower() == params.code.lower()

    by = ("active", "created", "customer")
    return lists.page(step, "promotion_code", params, "/v1/promotion_codes", holds, params.coupon, by=by)


def usable(step: Step, id_: str, customer: str | None) -> Body:
    """A promotion code that this customer may redeem now. Raises StripeError 400.

    A code for first purchases is refused to a customer who has paid an invoice or a charge before. The
    minimum amount is checked by who knows the amount: `minimum_of`.
    """
    code = step.get("promotion_code", id_, "discounts[0][promotion_code]")
    if not code["active"]:
        raise invalid(
            f"This promotion code has expired or is inactive: {code['code']}",
            "promotion_code",
            "coupon_expired",
        )
    refuse_unless(
        code["customer"] in (None, customer),
        "This promotion code cannot be redeemed because it is restricted to another customer.",
        "promotion_code",
    )
    first_only = code["restrictions"]["first_time_transaction"]
    refuse_unless(
        not (first_only and customer and _has_paid(step, customer)),
        "This promotion code cannot be redeemed because the associated customer has prior transactions.",
        "promotion_code",
    )
    return code


def _has_paid(step: Step, customer: str) -> bool:
    return any(invoice["status"] == "paid" for invoice in step.of("invoice", customer)) or any(
        charge["status"] == "succeeded" for charge in step.of("charge", customer)
    )


def minimum_of(code: Body, currency: str) -> int:
    """The least that an invoice must come to for a code to be redeemed, in minor units; 0 without one."""
    restrictions = code["restrictions"]
    if restrictions["minimum_amount_currency"] == currency:
        return int(restrictions["minimum_amount"] or 0)
    return int(restrictions["_currency_options"].get(currency, {}).get("minimum_amount") or 0)


def redeemed(step: Step, code: Body) -> None:
    """One more redemption; the last one makes the code inactive. Nothing is told: our reading."""
    times = code["times_redeemed"] + 1
    most = code["max_redemptions"]
    step.change(code["id"], times_redeemed=times, active=code["active"] and (most is None or times < most))


def expire(step: Step, code: Body) -> None:
    step.change(code["id"], active=False)


def _check_redeemable(step: Step, code: Body) -> None:
    coupon = step.find(code["promotion"]["coupon"])
    spent = code["max_redemptions"] is not None and code["times_redeemed"] >= code["max_redemptions"]
    over = code["expires_at"] is not None and code["expires_at"] <= step.now
    refuse_unless(
        bool(coupon and coupon.get("valid")) and not spent and not over,
        "This promotion code cannot be activated: its coupon is invalid, or it has expired or been used up.",
        "active",
    )


DUE: dict[str, DueAction] = {"promotion_code.expire": expire}
OPERATIONS = (
    Operation("POST /v1/promotion_codes", create, CreatePromotionCode, frozenset({"customer_account"})),
    Operation("GET /v1/promotion_codes/{promotion_code}", retrieve),
    Operation("POST /v1/promotion_codes/{promotion_code}", update, UpdatePromotionCode),
    Operation("GET /v1/promotion_codes", listing, ListPromotionCodes, frozenset({"customer_account"})),
)
