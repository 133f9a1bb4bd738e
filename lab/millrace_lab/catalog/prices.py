"""Prices: what a product costs, how often, in which currencies. Source: docs.stripe.com/api/prices.

Most of a price never changes; `lookup_key` names a price by a word that may move to its successor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from millrace_lab import lists, searching
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import currencies, goods, naming
from millrace_lab.catalog.amounts import DecimalAmount, whole_or_none
from millrace_lab.catalog.asking import Behavior, Interval, Rhythm
from millrace_lab.catalog.costs import Charge, charges, total
from millrace_lab.errors import Body, invalid
from millrace_lab.operations import Operation, Page
from millrace_lab.params import (
    Amount,
    Count,
    Currency,
    ListParams,
    Metadata,
    NoParams,
    NotHere,
    Params,
    Text,
    Times,
)

__all__ = ["Charge", "charges", "total"]  # what a price costs is part of this module's interface

PERIODS_MOST = {"day": 1095, "week": 156, "month": 36, "year": 3}  # three years


class Tier(Params):
    up_to: int | Literal["inf"]
    unit_amount: Count | None = None
    unit_amount_decimal: DecimalAmount | None = None
    flat_amount: Count | None = None
    flat_amount_decimal: DecimalAmount | None = None


class Recurring(Rhythm):
    meter: str | None = None
    usage_type: Literal["licensed", "metered"] = "licensed"


class Transform(Params):
    divide_by: Annotated[int, Field(ge=1)]
    round: Literal["up", "down"]


class InCurrency(Params):
    """A price's amounts in one more currency."""

    unit_amount: Amount | None = None
    unit_amount_decimal: DecimalAmount | None = None
    tiers: list[Tier] | None = None
    tax_behavior: Behavior | None = None
    custom_unit_amount: NotHere = None


class ProductData(Params):
    name: Annotated[str, Field(min_length=1, max_length=5000)]
    id: str | None = None
    active: bool = True
    metadata: Metadata = None
    statement_descriptor: Text = None
    tax_code: Text = None
    unit_label: Text = None


class CreatePrice(Params):
    currency: Currency
    product: str | None = None
    product_data: ProductData | None = None
    active: bool = True
    billing_scheme: Literal["per_unit", "tiered"] = "per_unit"
    currency_options: dict[Currency, InCurrency] | None = None
    lookup_key: Annotated[str | None, Field(max_length=200)] = None
    metadata: Metadata = None
    nickname: Text = None
    recurring: Recurring | None = None
    tax_behavior: Behavior = "unspecified"
    tiers: list[Tier] | None = None
    tiers_mode: Literal["graduated", "volume"] | None = None
    transfer_lookup_key: bool = False
    transform_quantity: Transform | None = None
    unit_amount: Count | None = None
    unit_amount_decimal: DecimalAmount | None = None


class UpdatePrice(Params):
    active: bool | None = None
    currency_options: dict[Currency, InCurrency] | None = None
    lookup_key: Annotated[str | None, Field(max_length=200)] = None
    metadata: Metadata = None
    nickname: Text = None
    tax_behavior: Behavior | None = None
    transfer_lookup_key: bool = False


class RecurringFilter(Params):
    interval: Interval | None = None
    meter: str | None = None
    usage_type: Literal["licensed", "metered"] | None = None


class ListPrices(ListParams):
    active: bool | None = None
    created: Times | None = None
    currency: Currency | None = None
    lookup_keys: Annotated[list[str], Field(max_length=10)] | None = None
    product: str | None = None
    recurring: RecurringFilter | None = None
    type: Literal["one_time", "recurring"] | None = None


# What other rooms ask of a price.


def in_currency(price: Body, currency: str) -> Body:
    """The price as it is sold in a currency: of its own, or of its `currency_options`. Raises StripeError 400."""
    if currency == price["currency"]:
        return price
    option = price["_currency_options"].get(currency)
    refuse_unless(
        option is not None,
        f"The price specified only supports `{price['currency']}`. This doesn't match the expected currency: "
        f"`{currency}`.",
        "currency",
    )
    return {
        **price,
        "currency": currency,
        "unit_amount": option["unit_amount"],
        "unit_amount_decimal": option["unit_amount_decimal"],
        "tax_behavior": option["tax_behavior"],
        "_tiers": option.get("tiers"),
    }


def plan_of(price: Body) -> Body:
    """The legacy twin of a price, which Stripe still sends on subscriptions and their items.

    Source: docs/lab/behaviours.md. A price that does not recur has none.
    """
    recurring = price["recurring"]
    transform = price["transform_quantity"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": transform,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


# Making one.


def create(step: Step, params: CreatePrice) -> Body:
    refuse_unless(
        params.product is None or params.product_data is None,
        "Received both product and product_data parameters. Please pass in only one.",
        "product_data",
        "parameters_exclusive",
    )
    if params.product_data is not None:
        product = goods.make(step, **params.product_data.model_dump())["id"]
    else:
        refuse_unless(
            params.product is not None, "Missing required param: product.", "product", "parameter_missing"
        )
        product = step.get("product", str(params.product), "product")["id"]
    return make(step, params, product)


def make(step: Step, params: CreatePrice, product: str) -> Body:
    """A new price of a product, told as `price.created`."""
    currencies.check_currency(params.currency)
    _check_recurring(step, params.recurring)
    _take_lookup_key(step, params.lookup_key, params.transfer_lookup_key)
    sold = _amounts(params, params.billing_scheme, params.tiers_mode, params.currency)
    price = step.add(
        {
            "id": naming.id_for(step, "price", params.metadata),
            "object": "price",
            "active": params.active,
            "billing_scheme": params.billing_scheme,
            "created": step.now,
            "currency": params.currency,
            "custom_unit_amount": None,
            "livemode": step.account.livemode,
            "lookup_key": params.lookup_key,
            "metadata": params.metadata or {},
            "nickname": params.nickname,
            "product": product,
            "recurring": params.recurring.model_dump() if params.recurring else None,
            "tax_behavior": params.tax_behavior,
            "tiers_mode": params.tiers_mode,
            "transform_quantity": params.transform_quantity.model_dump()
            if params.transform_quantity
            else None,
            "type": "recurring" if params.recurring else "one_time",
            "unit_amount": sold["unit_amount"],
            "unit_amount_decimal": sold["unit_amount_decimal"],
            "_tiers": sold.get("tiers"),
            "_currency_options": _options(params.currency_options, params.billing_scheme, params.tiers_mode),
        },
        product,
    )
    step.tell("price.created", price)
    return price


def _check_recurring(step: Step, recurring: Recurring | None) -> None:
    if recurring is None:
        return
    refuse_unless(
        recurring.interval_count <= PERIODS_MOST[recurring.interval],
        "The maximum number of billing periods is three years.",
        "recurring[interval_count]",
    )
    metered = recurring.usage_type == "metered"
    refuse_unless(
        metered == (recurring.meter is not None),
        "Metered prices must be backed by a meter." if metered else "Only metered prices may have a meter.",
        "recurring[meter]",
    )
    if recurring.meter is not None:
        step.get("billing.meter", recurring.meter, "recurring[meter]")


def _options(given: dict[str, InCurrency] | None, scheme: str, mode: str | None) -> Body:
    return {currency: _option(currency, option, scheme, mode) for currency, option in (given or {}).items()}


def _option(currency: str, option: InCurrency, scheme: str, mode: str | None) -> Body:
    currencies.check_currency(currency, "currency_options")
    return {
        "custom_unit_amount": None,
        "tax_behavior": option.tax_behavior or "unspecified",
        **_amounts(option, scheme, mode, currency),
    }


def _amounts(given: CreatePrice | InCurrency, scheme: str, mode: str | None, currency: str) -> Body:
    """What is asked for in one currency: an amount per unit, or tiers."""
    if scheme == "tiered":
        refuse_unless(
            mode is not None, "Missing required param: tiers_mode.", "tiers_mode", "parameter_missing"
        )
        return {
            "unit_amount": None,
            "unit_amount_decimal": None,
            "tiers": _tiers(given.tiers or [], currency),
        }
    refuse_unless(given.tiers is None, "`tiers` may only be set when `billing_scheme` is `tiered`.", "tiers")
    unit = _decimal(given.unit_amount, given.unit_amount_decimal, "unit_amount", currency)
    refuse_unless(
        unit is not None,
        "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
        "unit_amount",
        "parameter_missing",
    )
    return {"unit_amount": whole_or_none(str(unit)), "unit_amount_decimal": unit}


def _decimal(whole: int | None, decimal: str | None, name: str, currency: str) -> str | None:
    refuse_unless(
        whole is None or decimal is None,
        f"Received both {name} and {name}_decimal parameters. Please pass in only one.",
        f"{name}_decimal",
        "parameters_exclusive",
    )
    if whole is not None:
        currencies.check_amount(whole, currency, name)
        return str(whole)
    return decimal


def _tiers(given: list[Tier], currency: str) -> list[Body]:
    refuse_unless(bool(given), "Missing required param: tiers.", "tiers", "parameter_missing")
    refuse_unless(
        given[-1].up_to == "inf", "The last tier must have `up_to` set to `inf`: a catch-all tier.", "tiers"
    )
    finite = [tier.up_to for tier in given[:-1] if tier.up_to != "inf"]
    refuse_unless(
        len(finite) == len(given) - 1
        and finite == sorted(set(finite))
        and all(bound > 0 for bound in finite),
        "The `up_to` of tiers must ascend.",
        "tiers",
    )
    return [_tier(tier, currency) for tier in given]


def _tier(tier: Tier, currency: str) -> Body:
    unit = _decimal(tier.unit_amount, tier.unit_amount_decimal, "unit_amount", currency)
    flat = _decimal(tier.flat_amount, tier.flat_amount_decimal, "flat_amount", currency)
    refuse_unless(
        unit is not None or flat is not None, "A tier needs a `unit_amount` or a `flat_amount`.", "tiers"
    )
    return {
        "flat_amount": None if flat is None else whole_or_none(flat),
        "flat_amount_decimal": flat,
        "unit_amount": None if unit is None else whole_or_none(unit),
        "unit_amount_decimal": unit,
        "up_to": None if tier.up_to == "inf" else tier.up_to,
    }


def _take_lookup_key(step: Step, key: str | None, transfer: bool, mine: str | None = None) -> None:
    """A lookup key names one price: taken over where that is asked for, else refused."""
    if key is None:
        return
    for other in step.all("price"):
        if other["lookup_key"] != key or other["id"] == mine:
            continue
        refuse_unless(
            transfer,
            f"A price (`{other['id']}`) already uses that lookup key.",
            "lookup_key",
            "resource_already_exists",
        )
        step.change(other["id"], lookup_key=None)
        step.updated("price.updated", other)
        return


# The rest of the API.


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("price", id_)


def update(step: Step, params: UpdatePrice, id_: str) -> Body:
    before = step.get("price", id_)
    _take_lookup_key(step, params.lookup_key, params.transfer_lookup_key, id_)
    changes = params.changes_to(before, "active", "lookup_key", "nickname", "tax_behavior")
    if "tax_behavior" in changes:
        refuse_unless(
            before["tax_behavior"] in ("unspecified", changes["tax_behavior"]),
            "You cannot change the tax behavior of a price once it has been set.",
            "tax_behavior",
        )
    if params.currency_options is not None:
        more = _options(params.currency_options, before["billing_scheme"], before["tiers_mode"])
        changes["_currency_options"] = before["_currency_options"] | more
    step.change(id_, **changes)
    return step.updated("price.updated", before)


def listing(step: Step, params: ListPrices) -> Page:
    recurring = params.recurring.model_dump(exclude_none=True) if params.recurring else {}

    def holds(price: Body) -> bool:
        named = params.lookup_keys is None or price["lookup_key"] in params.lookup_keys
        return named and _within(recurring, price["recurring"])

    by = ("active", "created", "currency", "product", "type")
    return lists.page(step, "price", params, "/v1/prices", holds, params.product, by=by)


def _within(wanted: dict[str, Any], recurring: Body | None) -> bool:
    return all(recurring is not None and recurring[name] == value for name, value in wanted.items())


def tiers_of(step: Step, price: Body) -> list[Body]:
    """`tiers`, where they are expanded."""
    tiers: list[Body] | None = step.get("price", price["id"])["_tiers"]
    if tiers is None:
        raise invalid("This property cannot be expanded (tiers).", "expand")
    return tiers


def currency_options_of(step: Step, price: Body) -> Body:
    """`currency_options`, where they are expanded: the price's own currency is among them."""
    kept = step.get("price", price["id"])
    own = {
        name: kept[name]
        for name in ("custom_unit_amount", "tax_behavior", "unit_amount", "unit_amount_decimal")
    }
    tiers = {"tiers": kept["_tiers"]} if kept["_tiers"] is not None else {}
    return {kept["currency"]: own | tiers, **kept["_currency_options"]}


CUSTOM = frozenset({"custom_unit_amount"})
OPERATIONS = (
    Operation("POST /v1/prices", create, CreatePrice, CUSTOM),
    Operation("GET /v1/prices/{price}", retrieve),
    Operation("POST /v1/prices/{price}", update, UpdatePrice),
    Operation("GET /v1/prices", listing, ListPrices),
    searching.operation(
        "price", "/v1/prices", "active", "currency", "lookup_key", "metadata", "product", "type"
    ),
)
