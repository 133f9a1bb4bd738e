"""Customers: who is billed. Source: docs.stripe.com/api/customers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from millrace_lab import lists, searching
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog import tax
from millrace_lab.catalog.asking import Address, CustomField
from millrace_lab.customers import balance, cash, tax_ids
from millrace_lab.errors import Body, missing
from millrace_lab.ids import digest
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, NoParams, Params, Text, Times, Unset

Part = Annotated[str | None, Unset]
Prefix = Annotated[str | None, Field(pattern="^[A-Z0-9]{3,12}$")]
Exempt = Annotated[Literal["none", "exempt", "reverse"], BeforeValidator(lambda v: v or "none")]


class Shipping(Params):
    address: Address
    name: str
    phone: Part = None


class Rendering(Params):
    amount_tax_display: Annotated[Literal["exclude_tax", "include_inclusive_tax"] | None, Unset] = None
    template: str | None = None


class InvoiceSettings(Params):
    custom_fields: Annotated[list[CustomField] | None, Field(max_length=4), Unset] = None
    default_payment_method: Part = None
    footer: Text = None
    rendering_options: Annotated[Rendering | None, Unset] = None


class Tax(Params):
    ip_address: Part = None
    validate_location: Literal["auto", "deferred", "immediately"] = "deferred"


class UpdateCustomer(Params):
    address: Annotated[Address | None, Unset] = None
    balance: int | None = None
    cash_balance: cash.UpdateCashBalance | None = None
    description: Text = None
    email: Annotated[str | None, Field(max_length=512), Unset] = None
    invoice_prefix: Prefix = None
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata = None
    name: Annotated[str | None, Field(max_length=256), Unset] = None
    next_invoice_sequence: Annotated[int, Field(ge=1)] | None = None
    phone: Part = None
    preferred_locales: Annotated[list[str] | None, Unset] = None
    shipping: Annotated[Shipping | None, Unset] = None
    tax: Tax | None = None
    tax_exempt: Exempt | None = None


class CreateCustomer(UpdateCustomer):
    payment_method: str | None = None
    tax_id_data: list[tax_ids.TaxIdData] | None = None
    test_clock: str | None = None


class ListCustomers(ListParams):
    created: Times | None = None
    email: str | None = None
    test_clock: str | None = None


SETTINGS = {"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None}
PLAIN = ("description", "email", "invoice_prefix", "name", "next_invoice_sequence", "phone", "tax_exempt")


def create(step: Step, params: CreateCustomer) -> Body:
    if params.test_clock is not None:
        step.clock = step.get("test_helpers.test_clock", params.test_clock, "test_clock")["id"]
    id_ = step.new_id("cus", 14)
    customer = step.add(_new(step, id_) | {"test_clock": params.test_clock})
    given = params.payment_method
    if given is not None:
        step.announce("customer.payment_method_given", customer, payment_method=given)
    customer = step.change(id_, **_changed(step, customer, params, given))
    step.tell("customer.created", customer)
    _follow(step, id_, params)
    for data in params.tax_id_data or []:
        tax_ids.add(step, id_, data)
    return step.get("customer", id_)


def _new(step: Step, id_: str) -> Body:
    return {
        "id": id_,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": step.now,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": f"{digest(step.account.seed, 'prefix', id_) >> 224:08X}",
        "invoice_settings": SETTINGS,
        "livemode": step.account.livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        "_balances": {},
        "_cash": {},
        "_reconciliation": "merchant_default",
        "_ip_address": None,
    }


def _changed(step: Step, before: Body, params: UpdateCustomer, brought: str | None = None) -> dict[str, Any]:
    """The fields that a request changes, apart from the balances.

    `brought` is the payment method that a new customer came with, by the name that the request has for it.
    """
    changes = params.changes_to(before, *PLAIN)
    if "preferred_locales" in params.given:
        changes["preferred_locales"] = params.preferred_locales or []
    if "address" in params.given:
        changes["address"] = _address(before["address"], params.address)
    if "shipping" in params.given:
        changes["shipping"] = _shipping(before["shipping"], params.shipping)
    if params.invoice_settings is not None:
        changes["invoice_settings"] = _settings(step, before, params.invoice_settings, brought)
    if params.tax is not None:
        changes["_ip_address"] = params.tax.ip_address
        _validate_location({**before, **changes}, params.tax)
    return changes


def _address(old: Body | None, given: Address | None) -> Body | None:
    """An address keeps the parts that were not given; an empty one goes."""
    if given is None:
        return None
    return {**(old or Address().model_dump()), **given.model_dump(exclude_unset=True)}


def _shipping(old: Body | None, given: Shipping | None) -> Body | None:
    if given is None:
        return None
    address = _address((old or {}).get("address"), given.address)
    return {"address": address, "name": given.name, "phone": given.phone}


def _settings(step: Step, customer: Body, given: InvoiceSettings, brought: str | None) -> Body:
    changes = given.changes()
    if method := changes.get("default_payment_method"):
        changes["default_payment_method"] = _default(step, customer["id"], method, brought)
    if changes.get("rendering_options"):
        changes["rendering_options"] = {"amount_tax_display": None, "template": None} | changes[
            "rendering_options"
        ]
    return {**customer["invoice_settings"], **changes}


def _default(step: Step, customer: str, method: str, brought: str | None) -> str:
    """A default payment method is attached. A test id such as `pm_card_visa` means the one it just made."""
    param = "invoice_settings[default_payment_method]"
    if method == brought:
        return str(step.of("payment_method", customer)[-1]["id"])
    refuse_unless(
        step.get("payment_method", method, param)["customer"] == customer,
        f"The customer does not have a payment method with the ID {method}. The payment method must be attached "
        "to the customer.",
        param,
        "resource_missing",
    )
    return method


def _validate_location(customer: Body, given: Tax) -> None:
    refuse_unless(
        given.validate_location != "immediately" or tax.location_of(customer) is not None,
        "Customer location isn't recognized. Set a valid customer address in order to automatically calculate tax.",
        "address",
        "customer_tax_location_invalid",
    )


def _follow(step: Step, id_: str, params: UpdateCustomer) -> None:
    """What a request for a customer does to things beside it."""
    if params.balance is not None:
        balance.adjust_to(step, id_, params.balance)
    if params.cash_balance is not None:
        cash.update(step, params.cash_balance, id_)


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    """The customer, or what is left of a deleted one."""
    found = step.find(id_)
    if found is None or found["object"] != "customer":
        raise missing("customer", id_)
    return found


def update(step: Step, params: UpdateCustomer, id_: str) -> Body:
    before = step.get("customer", id_)
    step.change(id_, **_changed(step, before, params))
    step.updated("customer.updated", before)
    _follow(step, id_, params)
    return step.get("customer", id_)


def delete(step: Step, _: NoParams, id_: str) -> Body:
    """Deleting a customer cancels its subscriptions at once and for good, and leaves a tombstone."""
    step.get("customer", id_)
    step.announce("customer.deleted", step.get("customer", id_))
    customer = step.get("customer", id_)
    step.remove(id_, tombstone=True)
    step.tell("customer.deleted", customer)
    return {"id": id_, "object": "customer", "deleted": True}


def listing(step: Step, params: ListCustomers) -> Page:
    """Customers on a test clock are listed for that clock only."""

    def on_clock(customer: Body) -> bool:
        return bool(customer["test_clock"] == params.test_clock)

    return lists.page(step, "customer", params, "/v1/customers", on_clock, by=("created", "email"))


def tax_of(step: Step, customer: Body) -> Body:
    """`tax`, where it is expanded: whether automatic tax knows where the customer is."""
    kept = step.get("customer", customer["id"])
    location = tax.location_of(kept)
    return {
        "automatic_tax": "supported" if location else "unrecognized_location",
        "ip_address": kept["_ip_address"],
        "location": location,
        "provider": "stripe",
    }


def subscriptions_of(step: Step, customer: Body) -> Body:
    """`subscriptions`, where they are expanded: those that have not ended."""
    kept = step.of("subscription", customer["id"])[::-1]
    going_on = [each for each in kept if each["status"] not in ("canceled", "incomplete_expired")]
    return lists.listed(going_on, f"/v1/customers/{customer['id']}/subscriptions", most=10)


OLD_SOURCES = frozenset(
    {
        "source",
        "bank_account",
        "card",
        "default_alipay_account",
        "default_bank_account",
        "default_card",
        "default_source",
    }
)
NAMES = frozenset({"business_name", "individual_name"})
OPERATIONS = (
    Operation("POST /v1/customers", create, CreateCustomer, NAMES | {"source"}),
    Operation("GET /v1/customers/{customer}", retrieve),
    Operation("POST /v1/customers/{customer}", update, UpdateCustomer, NAMES | OLD_SOURCES),
    Operation("DELETE /v1/customers/{customer}", delete),
    Operation("GET /v1/customers", listing, ListCustomers),
    searching.operation("customer", "/v1/customers", "created", "email", "metadata", "name", "phone"),
)
