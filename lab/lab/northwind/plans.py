"""What the company sells: four plans, three currencies, monthly, and one annual price.

The ids of products and the lookup keys of prices are fixed, so that catalogs and policies can name them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from millrace_lab.api import Api

CURRENCIES = ("usd", "eur", "jpy")
PLANS = ("starter", "team", "business", "scale")  # cheapest first; team is sold by the seat

# plan -> monthly price in minor units of usd, eur, jpy
MONTHLY = {
    "starter": (1900, 1700, 2900),
    "team": (1200, 1100, 1800),
    "business": (14900, 13900, 22000),
    "scale": (49900, 45900, 74000),
}
BUSINESS_ANNUAL_USD = 149000
PERCENTS_OFF = (10, 20, 33)  # of the coupons 10OFF, 20OFF and 33OFF

VAT_EXCLUSIVE, VAT_INCLUSIVE, CONSUMPTION_TAX = "VAT on top", "VAT within", "Consumption tax"
TAX_RATES = {  # our name → what invoices call it, country, percent, inclusive
    VAT_EXCLUSIVE: ("VAT", "DE", 19, False),
    VAT_INCLUSIVE: ("VAT", "DE", 19, True),
    CONSUMPTION_TAX: ("Consumption tax", "JP", 10, False),
}
COUNTRY = {"usd": "US", "eur": "DE", "jpy": "JP"}


def product_id(plan: str) -> str:
    return f"prod_{plan}"


def lookup_key(plan: str, currency: str, interval: str = "monthly") -> str:
    return f"{plan}_{interval}_{currency}"


def plan_of(key: str) -> str:
    """The plan of a lookup key."""
    return key.split("_")[0]


def coupon(percent_off: int) -> str:
    return f"{percent_off}OFF"


def amounts() -> Iterator[tuple[str, str, str, int]]:
    """Every price: plan, currency, monthly or annual, and its amount in minor units."""
    for plan in PLANS:
        for currency, amount in zip(CURRENCIES, MONTHLY[plan], strict=True):
            yield plan, currency, "monthly", amount
    yield "business", "usd", "annual", BUSINESS_ANNUAL_USD


@dataclass(frozen=True, slots=True)
class Catalog:
    """What an account sells: ids of prices by lookup key, and of tax rates by name."""

    prices: dict[str, str]
    tax_rates: dict[str, str]


def sell(api: Api) -> Catalog:
    """Put all of it into an account: tax rates, products, prices and coupons."""
    rates = {name: _tax_rate(api, name) for name in TAX_RATES}
    for plan in PLANS:
        unit = {"unit_label": "seat"} if plan == "team" else {}
        api.post("/v1/products", id=product_id(plan), name=plan.title(), **unit)
    prices = {lookup_key(*price[:3]): _price(api, *price) for price in amounts()}
    for percent in PERCENTS_OFF:
        api.post("/v1/coupons", id=coupon(percent), percent_off=percent, duration="forever")
    return Catalog(prices, rates)


def _tax_rate(api: Api, name: str) -> str:
    shown, country, percent, inclusive = TAX_RATES[name]
    made = api.post(
        "/v1/tax_rates", display_name=shown, country=country, percentage=percent, inclusive=inclusive
    )
    return str(made["id"])


def _price(api: Api, plan: str, currency: str, interval: str, amount: int) -> str:
    made = api.post(
        "/v1/prices",
        product=product_id(plan),
        currency=currency,
        unit_amount=amount,
        recurring={"interval": "year" if interval == "annual" else "month"},
        lookup_key=lookup_key(plan, currency, interval),
    )
    return str(made["id"])
