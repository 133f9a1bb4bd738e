"""Parameters that the requests of several rooms have: what is bought is priced, discounted, taxed and placed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from millrace_lab.catalog.amounts import DecimalAmount
from millrace_lab.errors import absent
from millrace_lab.params import Count, Currency, NotHere, Params, Text, Unset

Behavior = Literal["exclusive", "inclusive", "unspecified"]
Interval = Literal["day", "week", "month", "year"]


class Rhythm(Params):
    """How often something comes again: every two weeks, every year."""

    interval: Interval
    interval_count: Annotated[int, Field(ge=1)] = 1


class PriceData(Params):
    """A price that is made where it is used, in minor units."""

    currency: Currency
    tax_behavior: Behavior = "unspecified"
    unit_amount: Count | None = None
    unit_amount_decimal: DecimalAmount | None = None


class CodeGiven(Params):
    """A discount that is yet to be redeemed."""

    coupon: str | None = None
    promotion_code: str | None = None


class DiscountGiven(CodeGiven):
    """A discount, one that exists already among others."""

    discount: str | None = None


Discounts = Annotated[list[DiscountGiven] | None, Unset]
Rates = Annotated[list[str] | None, Unset]


class Liability(Params):
    type: Literal["self"]
    account: NotHere = None


class AutomaticTax(Params):
    enabled: bool
    liability: Liability | None = None


Days = Annotated[int, Field(ge=0, le=36_500)]
"""A term in days: of a hundred years at most, our reading."""

METHOD_TYPES = ("card", "sepa_debit", "us_bank_account")


def _method_type(value: str) -> str:
    if value not in METHOD_TYPES:
        raise absent(f"payment method type {value}", METHOD_TYPES)
    return value


MethodType = Annotated[str, AfterValidator(_method_type)]
"""How one can pay here; the others that Stripe has answer 501."""


class Address(Params):
    city: Text = None
    country: Text = None
    line1: Text = None
    line2: Text = None
    postal_code: Text = None
    state: Text = None


class CustomField(Params):
    """A line that an operator puts on his invoices."""

    name: Annotated[str, Field(max_length=40)]
    value: Annotated[str, Field(max_length=140)]
