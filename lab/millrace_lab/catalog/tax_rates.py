"""Tax rates that an operator keeps. Source: docs.stripe.com/api/tax_rates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import naming
from millrace_lab.catalog.amounts import Percent, shown_percent
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text, Times

TaxType = Literal[
    "amusement_tax", "communications_tax", "gst", "hst", "igst", "jct", "lease_tax", "mass_transit_parking_tax",
    "parking_tax", "pst", "qst", "retail_delivery_fee", "rst", "sales_tax", "service_tax", "vat",
]  # fmt: skip
Country = Annotated[str | None, Field(min_length=2, max_length=2)]


class Described(Params):
    """What can be said of a rate when it is made and later."""

    country: Country = None
    description: Text = None
    jurisdiction: Annotated[str | None, Field(max_length=50)] = None
    metadata: Metadata = None
    state: Annotated[str | None, Field(max_length=3)] = None
    tax_type: TaxType | None = None


class CreateTaxRate(Described):
    display_name: Annotated[str, Field(min_length=1, max_length=50)]
    inclusive: bool
    percentage: Percent
    active: bool = True


class UpdateTaxRate(Described):
    display_name: Annotated[str, Field(min_length=1, max_length=50)] | None = None
    active: bool | None = None


class ListTaxRates(ListParams):
    active: bool | None = None
    created: Times | None = None
    inclusive: bool | None = None


def _body(step: Step, params: CreateTaxRate) -> Body:
    return {
        "id": naming.id_for(step, "txr", params.metadata),
        "object": "tax_rate",
        "active": params.active,
        "country": params.country,
        "created": step.now,
        "description": params.description,
        "display_name": params.display_name,
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": params.inclusive,
        "jurisdiction": params.jurisdiction,
        "jurisdiction_level": None,
        "livemode": step.account.livemode,
        "metadata": params.metadata or {},
        "percentage": shown_percent(params.percentage),
        "rate_type": "percentage",
        "state": params.state,
        "tax_type": params.tax_type,
    }


def create(step: Step, params: CreateTaxRate) -> Body:
    refuse_unless(params.percentage <= 100, "Invalid decimal: must be between 0 and 100", "percentage")
    rate = step.add(_body(step, params))
    step.tell("tax_rate.created", rate)
    return rate


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("tax_rate", id_)


def update(step: Step, params: UpdateTaxRate, id_: str) -> Body:
    before = step.get("tax_rate", id_)
    changes = params.changes_to(before)
    step.change(id_, **changes)
    return step.updated("tax_rate.updated", before)


def named(step: Step, ids: list[str] | None) -> list[Body]:
    """The rates that a parameter names by their ids. Raises StripeError 400."""
    return [step.get("tax_rate", id_, "tax_rates") for id_ in ids or ()]


def listing(step: Step, params: ListTaxRates) -> Page:
    def operators(rate: Body) -> bool:
        return not rate.get("_automatic")

    by = ("active", "created", "inclusive")
    return lists.page(step, "tax_rate", params, "/v1/tax_rates", operators, by=by)


OPERATIONS = (
    Operation("POST /v1/tax_rates", create, CreateTaxRate),
    Operation("GET /v1/tax_rates/{tax_rate}", retrieve),
    Operation("POST /v1/tax_rates/{tax_rate}", update, UpdateTaxRate),
    Operation("GET /v1/tax_rates", listing, ListTaxRates),
)
