"""What a request about a Checkout session may carry. Source: docs.stripe.com/api/checkout/sessions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from millrace_lab.catalog.asking import AutomaticTax, CodeGiven, PriceData, Rhythm
from millrace_lab.catalog.products import Images
from millrace_lab.errors import absent
from millrace_lab.params import Count, Currency, ListParams, Metadata, NotHere, Params, Second, Text, Times
from millrace_lab.subscriptions.asking import AnchorConfig, BillingMode, TrialEnd

Mode = Literal["payment", "setup", "subscription"]


Locale = Literal[
    "auto", "bg", "cs", "da", "de", "el", "en", "en-GB", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA", "hr", "hu",
    "id", "it", "ja", "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv",
    "th", "tr", "vi", "zh", "zh-HK", "zh-TW",
]  # fmt: skip


def _hosted(value: Any) -> Any:
    """The double shows a session on a page of its own; the forms inside other people's pages are not here."""
    if value != "hosted_page":
        raise absent(f"ui_mode {value}", ("hosted_page",))
    return "hosted_page"


class AdjustableQuantity(Params):
    enabled: bool
    maximum: Count | None = None
    minimum: Count | None = None


class SessionProduct(Params):
    name: Annotated[str, Field(min_length=1, max_length=5000)]
    description: Text = None
    images: Images = None
    metadata: Metadata = None
    tax_code: Text = None
    unit_label: Text = None


class SessionPrice(PriceData):
    """A price that is made for this session alone."""

    product: str | None = None
    product_data: SessionProduct | None = None
    recurring: Rhythm | None = None


class LineItem(Params):
    price: str | None = None
    price_data: SessionPrice | None = None
    quantity: Count | None = None
    adjustable_quantity: AdjustableQuantity | None = None
    tax_rates: list[str] = []
    metadata: Metadata = None


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


class SessionTrial(Params):
    end_behavior: TrialEnd


class SubscriptionData(Params):
    billing_cycle_anchor: Second | None = None
    billing_cycle_anchor_config: AnchorConfig | None = None
    billing_mode: BillingMode | None = None
    default_tax_rates: list[str] | None = None
    description: Text = None
    metadata: Metadata = None
    proration_behavior: Literal["create_prorations", "none"] | None = None
    trial_end: Second | None = None
    trial_period_days: Annotated[int, Field(ge=1, le=730)] | None = None
    trial_settings: SessionTrial | None = None
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
    discounts: Annotated[list[CodeGiven], Field(max_length=1)] = []
    expires_at: Second | None = None
    line_items: Annotated[list[LineItem], Field(max_length=100)] = []
    locale: Locale | None = None
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
