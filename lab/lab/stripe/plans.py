"""What the lab's company sells: four plans, three currencies, monthly, and one annual price.

The ids and lookup keys are fixed, so that catalogs and policies can name them.
"""

from __future__ import annotations

from lab.stripe.model import Price, Product, TaxRate

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

VAT_EXCLUSIVE, VAT_INCLUSIVE, CONSUMPTION_TAX = (
    "txr_vat_exclusive",
    "txr_vat_inclusive",
    "txr_consumption_tax",
)
COUNTRY = {"usd": "US", "eur": "DE", "jpy": "JP"}


def product_id(plan: str) -> str:
    return f"prod_{plan}"


def lookup_key(plan: str, currency: str, interval: str = "monthly") -> str:
    return f"{plan}_{interval}_{currency}"


def price_id(plan: str, currency: str, interval: str = "monthly") -> str:
    return f"price_{lookup_key(plan, currency, interval)}"


def plan_of(price: str) -> str:
    return price.split("_")[1]


def products(at: int) -> list[Product]:
    return [Product(product_id(plan), at, plan.title(), "seat" if plan == "team" else None) for plan in PLANS]


def prices(at: int) -> list[Price]:
    monthly = [
        Price(
            price_id(plan, currency),
            at,
            product_id(plan),
            currency,
            amount,
            "month",
            lookup_key(plan, currency),
        )
        for plan in PLANS
        for currency, amount in zip(CURRENCIES, MONTHLY[plan], strict=True)
    ]
    key = lookup_key("business", "usd", "annual")
    annual = Price(f"price_{key}", at, product_id("business"), "usd", BUSINESS_ANNUAL_USD, "year", key)
    return [*monthly, annual]


def tax_rates(at: int) -> list[TaxRate]:
    return [
        TaxRate(VAT_EXCLUSIVE, at, "VAT", "DE", 19, inclusive=False),
        TaxRate(VAT_INCLUSIVE, at, "VAT", "DE", 19, inclusive=True),
        TaxRate(CONSUMPTION_TAX, at, "Consumption tax", "JP", 10, inclusive=False),
    ]
