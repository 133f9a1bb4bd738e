"""What a request about a Checkout session may carry. Source: docs.stripe.com/api/checkout/sessions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from millrace_lab.catalog.amounts import DecimalAmount
from millrace_lab.catalog.prices import Behavior, Interval, ProductData
from millrace_lab.errors import absent
from millrace_lab.params import Count, Currency, ListParams, Metadata, Params, Text, Times
from millrace_lab.subscriptions.asking import AnchorConfig, BillingMode, TrialSettings

Mode = Literal["payment", "setup", "subscription"]


def _not_here(value: Any) -> Any:
    raise absent("such nested parameter of a Checkout session", HAS_NESTED)


HAS_NESTED = ("line_items[price]", "line_items[price_data]", "line_items[quantity]", "line_items[tax_rates]",
              "payment_intent_data[metadata]", "subscription_data[metadata]")  # fmt: skip
NotHere = Annotated[Any, BeforeValidator(_not_here)]
"""A nested parameter that Stripe has and the double does not: sending one answers 501."""


def _hosted(value: Any) -> Any:
    """The double shows a session on a page of its own; the forms inside other people's pages are not here."""
    if value != "hosted_page":
        raise absent(f"ui_mode {value}", ("hosted_page",))
    return "hosted_page"


class AdjustableQuantity(Params):
    enabled: bool
    maximum: Count | None = None
    minimum: Count | None = None


class Rhythm(Params):
    interval: Interval
    interval_count: Annotated[int, Field(ge=1)] = 1


class PriceData(Params):
    """A price that is made for this session alone."""

    currency: Currency
    product: str | None = None
    product_data: ProductData | None = None
    recurring: Rhythm | None = None
    tax_behavior: Behavior = "unspecified"
    unit_amount: Count | None = None
    unit_amount_decimal: DecimalAmount | None = None


class LineItem(Params):
    price: str | None = None
    price_data: PriceData | None = None
    quantity: Count | None = None
    adjustable_quantity: AdjustableQuantity | None = None
    tax_rates: list[str] = []
    metadata: Metadata = None
    dynamic_tax_rates: NotHere = None


class DiscountGiven(Params):
    coupon: str | None = None
    promotion_code: str | None = None


class AutomaticTax(Params):
    enabled: bool
    liability: NotHere = None


class CustomerUpdate(Params):
    address: Literal["auto", "never"] = "never"
    name: Literal["auto", "never"] = "never"
    shipping: NotHere = None


class IntentData(Params):
    capture_method: Literal["automatic", "automatic_async", "manual"] | None = None
    description: Text = None
    metadata: Metadata = None
    receipt_email: str | None = None
    setup_future_usage: Literal["off_session", "on_session"] | None = None
    statement_descriptor: Text = None
    statement_descriptor_suffix: Text = None
    application_fee_amount: NotHere = None
    on_behalf_of: NotHere = None
    shipping: NotHere = None
    transfer_data: NotHere = None
    transfer_group: NotHere = None


class SetupData(Params):
    description: Text = None
    metadata: Metadata = None
    on_behalf_of: NotHere = None


class SubscriptionData(Params):
    billing_cycle_anchor: int | None = None
    billing_cycle_anchor_config: AnchorConfig | None = None
    billing_mode: BillingMode | None = None
    default_tax_rates: list[str] | None = None
    description: Text = None
    metadata: Metadata = None
    proration_behavior: Literal["create_prorations", "none"] | None = None
    trial_end: int | None = None
    trial_period_days: Annotated[int, Field(ge=1, le=730)] | None = None
    trial_settings: TrialSettings | None = None
    application_fee_percent: NotHere = None
    invoice_settings: NotHere = None
    on_behalf_of: NotHere = None
    pending_invoice_item_interval: NotHere = None
    transfer_data: NotHere = None


class Create(Params):
    mode: Mode
    success_url: str | None = None
    allow_promotion_codes: bool | None = None
    automatic_tax: AutomaticTax = AutomaticTax(enabled=False)
    billing_address_collection: Literal["auto", "required"] | None = None
    cancel_url: str | None = None
    client_reference_id: Annotated[str, Field(max_length=200)] | None = None
    currency: Currency | None = None
    customer: str | None = None
    customer_creation: Literal["always", "if_required"] | None = None
    customer_email: str | None = None
    customer_update: CustomerUpdate | None = None
    discounts: Annotated[list[DiscountGiven], Field(max_length=1)] = []
    expires_at: int | None = None
    line_items: Annotated[list[LineItem], Field(max_length=100)] = []
    locale: str | None = None
    metadata: Metadata = None
    payment_intent_data: IntentData | None = None
    payment_method_collection: Literal["always", "if_required"] | None = None
    setup_intent_data: SetupData | None = None
    submit_type: Literal["auto", "book", "donate", "pay", "subscribe"] | None = None
    subscription_data: SubscriptionData | None = None
    ui_mode: Annotated[Literal["hosted_page"], BeforeValidator(_hosted)] = "hosted_page"


class Update(Params):
    metadata: Metadata = None


class BuyerFilter(Params):
    email: str


class Listed(ListParams):
    created: Times | None = None
    customer: str | None = None
    customer_details: BuyerFilter | None = None
    payment_intent: str | None = None
    status: Literal["complete", "expired", "open"] | None = None
    subscription: str | None = None


NOT_IN_CREATE = frozenset(
    {
        "adaptive_pricing",
        "after_expiration",
        "branding_settings",
        "consent_collection",
        "custom_fields",
        "custom_text",
        "customer_account",
        "excluded_payment_method_types",
        "integration_identifier",
        "invoice_creation",
        "managed_payments",
        "name_collection",
        "optional_items",
        "origin_context",
        "payment_method_configuration",
        "payment_method_data",
        "payment_method_options",
        "payment_method_types",
        "permissions",
        "phone_number_collection",
        "redirect_on_completion",
        "return_url",
        "saved_payment_method_options",
        "shipping_address_collection",
        "shipping_options",
        "tax_id_collection",
        "wallet_options",
    }
)
NOT_IN_UPDATE = frozenset({"collected_information", "line_items", "shipping_options"})
NOT_IN_LIST = frozenset({"customer_account", "payment_link"})
