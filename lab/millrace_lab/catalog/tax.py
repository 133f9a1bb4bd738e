"""What tax a line bears: the operator's own rates, or automatic tax by a small table of ours.

Stripe Tax knows thousands of jurisdictions; TABLE has a dozen countries with their standard rate, and a US
state or two. A country that is not in it is one where the operator is not registered: nothing is collected.
Every tax is rounded once, on its line. Source: docs.stripe.com/tax/calculating, docs.stripe.com/billing/taxes.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from millrace_lab import ids
from millrace_lab.account import Step
from millrace_lab.catalog.amounts import exact, shown_percent
from millrace_lab.errors import Body
from millrace_lab.rounding import round_half_away

# (country, state) → the standard rate, what it is called, its type
TABLE: dict[tuple[str, str | None], tuple[Decimal, str, str]] = {
    ("AT", None): (Decimal(20), "VAT", "vat"),
    ("AU", None): (Decimal(10), "GST", "gst"),
    ("CH", None): (Decimal("8.1"), "VAT", "vat"),
    ("DE", None): (Decimal(19), "VAT", "vat"),
    ("DK", None): (Decimal(25), "VAT", "vat"),
    ("ES", None): (Decimal(21), "VAT", "vat"),
    ("FR", None): (Decimal(20), "VAT", "vat"),
    ("GB", None): (Decimal(20), "VAT", "vat"),
    ("IE", None): (Decimal(23), "VAT", "vat"),
    ("IT", None): (Decimal(22), "VAT", "vat"),
    ("JP", None): (Decimal(10), "JCT", "jct"),
    ("NL", None): (Decimal(21), "VAT", "vat"),
    ("NO", None): (Decimal(25), "VAT", "vat"),
    ("SE", None): (Decimal(25), "VAT", "vat"),
    ("US", "CA"): (Decimal("7.25"), "Sales tax", "sales_tax"),
    ("US", "NY"): (Decimal(4), "Sales tax", "sales_tax"),
    ("US", "TX"): (Decimal("6.25"), "Sales tax", "sales_tax"),
}
EXEMPT = {"exempt": "customer_exempt", "reverse": "reverse_charge"}  # customer.tax_exempt → taxability_reason


def rates_of(
    step: Step,
    *,
    customer: Body,
    automatic: bool,
    defaults: list[Body],
    own: list[Body],
    tax_behavior: str | None = None,
) -> list[Body]:
    """The tax rates that a line bears: automatic ones where that is on, else its own, else the defaults.

    `tax_behavior` is the price's, for automatic tax: unspecified counts as exclusive. For a customer who is
    exempt or pays the tax himself (`reverse`) the rates come with a reason, and `taxes` makes nothing of them.
    """
    rates = _automatic(step, customer, tax_behavior == "inclusive") if automatic else own or defaults
    if reason := EXEMPT.get(customer["tax_exempt"] or "none"):
        return [{**rate, "_reason": reason} for rate in rates]
    return rates


def taxes(amount: int, rates: list[Body], to: int = 1) -> list[Body]:
    """The entries of a line's `taxes`, for its amount after discounts, in minor units, in multiples of `to`.

    Inclusive taxes are within the amount, together; exclusive ones come on top of what is left without them.
    """
    inclusive = [rate for rate in rates if rate["inclusive"] and not rate.get("_reason")]
    net = amount / (1 + sum((_share(rate) for rate in inclusive), Fraction(0)))
    within = {rate["id"]: round_half_away(net * _share(rate), to) for rate in inclusive}
    taxable = amount - sum(within.values())
    return [_entry(rate, within.get(rate["id"]), taxable, to) for rate in rates]


def location_status(customer: Body) -> str:
    """`automatic_tax.status` for an invoice: complete, or requires_location_inputs."""
    return "complete" if location_of(customer) else "requires_location_inputs"


def location_of(customer: Body) -> Body | None:
    """Where a customer is for tax purposes: the shipping address, else the billing address."""
    shipping = (customer["shipping"] or {}).get("address")
    for source, address in (("shipping_destination", shipping), ("billing_address", customer["address"])):
        if address and address.get("country"):
            return {"country": address["country"], "source": source, "state": address.get("state")}
    return None


def _share(rate: Body) -> Fraction:
    return exact(rate["percentage"]) / 100


def _entry(rate: Body, within: int | None, taxable: int, to: int) -> Body:
    reason = rate.get("_reason")
    on_top = 0 if reason else round_half_away(taxable * _share(rate), to)
    return {
        "amount": on_top if within is None else within,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason or ("standard_rated" if rate.get("_automatic") else "not_available"),
        "taxable_amount": 0 if reason else taxable,
        "type": "tax_rate_details",
    }


def _automatic(step: Step, customer: Body, inclusive: bool) -> list[Body]:
    location = location_of(customer)
    if location is None:
        return []
    for place in ((location["country"], location["state"]), (location["country"], None)):
        if place in TABLE:
            return [_rate_at(step, place, inclusive)]
    return []


def _rate_at(step: Step, place: tuple[str, str | None], inclusive: bool) -> Body:
    """The rate object of a place, made when it is first needed. It lives on no test clock."""
    id_ = f"txr_{ids.letters(ids.digest(step.account.seed, 'txr', *place, inclusive), 24)}"
    if (found := step.find(id_)) is not None:
        return found
    (country, state), (percentage, name, type_) = place, TABLE[place]
    step.add(
        {
            "id": id_,
            "object": "tax_rate",
            "active": True,
            "country": country,
            "created": step.now,
            "description": None,
            "display_name": name,
            "effective_percentage": shown_percent(percentage),
            "flat_amount": None,
            "inclusive": inclusive,
            "jurisdiction": state or country,
            "jurisdiction_level": "state" if state else "country",
            "livemode": step.account.livemode,
            "metadata": {},
            "percentage": shown_percent(percentage),
            "rate_type": "percentage",
            "state": state,
            "tax_type": type_,
            "_automatic": True,
        }
    )
    return step.change(id_, _clock=None)
