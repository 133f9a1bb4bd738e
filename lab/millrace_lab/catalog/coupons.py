"""Coupons: what is taken off, for how long, how often. Source: docs.stripe.com/api/coupons.

A coupon is valid until its time has come or it was redeemed as often as it may be; discounts that exist
stay. Deleting one does the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import currencies
from millrace_lab.catalog.amounts import Percent, shown_percent
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import DueAction, Operation, Page
from millrace_lab.params import Currency, ListParams, Metadata, NoParams, Params, Second, Times

Off = Annotated[int, Field(ge=1)]
Name = Annotated[str | None, Field(max_length=40)]


class AppliesTo(Params):
    products: list[str] | None = None


class OffInCurrency(Params):
    amount_off: Off


class CreateCoupon(Params):
    id: str | None = None
    amount_off: Off | None = None
    applies_to: AppliesTo | None = None
    currency: Currency | None = None
    currency_options: dict[Currency, OffInCurrency] | None = None
    duration: Literal["forever", "once", "repeating"] = "once"
    duration_in_months: Annotated[int, Field(ge=1)] | None = None
    max_redemptions: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata = None
    name: Name = None
    percent_off: Percent | None = None
    redeem_by: Second | None = None


class UpdateCoupon(Params):
    currency_options: dict[Currency, OffInCurrency] | None = None
    metadata: Metadata = None
    name: Name = None


class ListCoupons(ListParams):
    created: Times | None = None


def create(step: Step, params: CreateCoupon) -> Body:
    id_ = params.id or step.new_id("c", 8)[2:]
    refuse_unless(step.find(id_) is None, "Coupon already exists.", "id", "resource_already_exists")
    _check(step, params)
    coupon = step.add(
        {
            "id": id_,
            "object": "coupon",
            "amount_off": params.amount_off,
            "created": step.now,
            "currency": params.currency if params.amount_off is not None else None,
            "duration": params.duration,
            "duration_in_months": params.duration_in_months,
            "livemode": step.account.livemode,
            "max_redemptions": params.max_redemptions,
            "metadata": params.metadata or {},
            "name": params.name,
            "percent_off": None if params.percent_off is None else shown_percent(params.percent_off),
            "redeem_by": params.redeem_by,
            "times_redeemed": 0,
            "valid": True,
            "_currency_options": _options(params.currency_options),
            "_products": _products(step, params.applies_to),
        }
    )
    step.tell("coupon.created", coupon)
    step.due(id_, "coupon.expire", params.redeem_by)
    return coupon


def _check(step: Step, params: CreateCoupon) -> None:
    refuse_unless(
        (params.amount_off is None) != (params.percent_off is None),
        "Must provide exactly one of percent_off or amount_off.",
        "percent_off",
    )
    if params.percent_off is not None:
        refuse_unless(
            0 < params.percent_off <= 100, "Invalid decimal: must be above 0 and at most 100", "percent_off"
        )
    else:
        refuse_unless(
            params.currency is not None,
            "Must provide currency when passing amount_off.",
            "currency",
            "parameter_missing",
        )
        currencies.check_currency(str(params.currency))
    refuse_unless(
        (params.duration == "repeating") == (params.duration_in_months is not None),
        "You must pass duration_in_months if, and only if, duration is repeating.",
        "duration_in_months",
    )
    refuse_unless(
        params.redeem_by is None or params.redeem_by > step.now,
        "redeem_by must be in the future.",
        "redeem_by",
    )


def _options(given: dict[str, OffInCurrency] | None) -> Body:
    for currency in given or {}:
        currencies.check_currency(currency, "currency_options")
    return {currency: option.model_dump() for currency, option in (given or {}).items()}


def _products(step: Step, given: AppliesTo | None) -> list[str] | None:
    if given is None or not given.products:
        return None
    return [step.get("product", id_, "applies_to[products]")["id"] for id_ in given.products]


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("coupon", id_)


def update(step: Step, params: UpdateCoupon, id_: str) -> Body:
    before = step.get("coupon", id_)
    changes = params.changes_to(before, "name")
    if params.currency_options is not None:
        changes["_currency_options"] = before["_currency_options"] | _options(params.currency_options)
    step.change(id_, **changes)
    return step.updated("coupon.updated", before)


def delete(step: Step, _: NoParams, id_: str) -> Body:
    coupon = step.get("coupon", id_)
    _end_codes(step, id_)
    step.remove(id_)
    step.tell("coupon.deleted", {**coupon, "valid": False})
    return {"id": id_, "object": "coupon", "deleted": True}


def listing(step: Step, params: ListCoupons) -> Page:
    return lists.page(step, "coupon", params, "/v1/coupons", by=("created",))


def expire(step: Step, coupon: Body) -> None:
    """`redeem_by` has come: silent, as only the passing of time."""
    step.change(coupon["id"], valid=False)
    _end_codes(step, coupon["id"])


def redeemed(step: Step, coupon: Body) -> Body:
    """One more redemption; the last one makes the coupon invalid. Nothing is told: our reading."""
    times = coupon["times_redeemed"] + 1
    if times == coupon["max_redemptions"]:
        step.change(coupon["id"], valid=False)
        _end_codes(step, coupon["id"])
    return step.change(coupon["id"], times_redeemed=times)


def _end_codes(step: Step, coupon: str) -> None:
    """A promotion code is active only while its coupon is valid."""
    for code in step.of("promotion_code", coupon):
        step.change(code["id"], active=False)


def applies_to_of(step: Step, coupon: Body) -> Body:
    """`applies_to`, where it is expanded."""
    products = step.get("coupon", coupon["id"])["_products"]
    if products is None:
        raise invalid("This property cannot be expanded (applies_to).", "expand")
    return {"products": products}


def currency_options_of(step: Step, coupon: Body) -> Body:
    """`currency_options`, where they are expanded: the coupon's own currency is among them."""
    kept = step.get("coupon", coupon["id"])
    own = {kept["currency"]: {"amount_off": kept["amount_off"]}} if kept["currency"] else {}
    return {**own, **kept["_currency_options"]}


DUE: dict[str, DueAction] = {"coupon.expire": expire}
OPERATIONS = (
    Operation("POST /v1/coupons", create, CreateCoupon),
    Operation("GET /v1/coupons/{coupon}", retrieve),
    Operation("POST /v1/coupons/{coupon}", update, UpdateCoupon),
    Operation("DELETE /v1/coupons/{coupon}", delete),
    Operation("GET /v1/coupons", listing, ListCoupons),
)
