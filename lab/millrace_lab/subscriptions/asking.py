"""What a request about subscriptions may carry. Source: docs.stripe.com/api/subscriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from millrace_lab.catalog.asking import AutomaticTax, Days, Discounts, MethodType, Rates, Rhythm
from millrace_lab.params import (
    Count,
    Currency,
    ListParams,
    Metadata,
    NotHere,
    Params,
    Second,
    Text,
    Times,
    Unset,
)

PaymentBehavior = Literal[
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
]
ProrationBehavior = Literal["create_prorations", "always_invoice", "none"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]
Feedback = Literal["customer_service", "low_quality", "missing_features", "other", "switched_service",
                   "too_complex", "too_expensive", "unused"]  # fmt: skip


class Item(Params):
    """What is subscribed to, wherever it is said."""

    price: str | None = None
    quantity: Count | None = None
    metadata: Metadata = None
    tax_rates: Rates = None
    discounts: Discounts = None


class ItemGiven(Item):
    """An item of a new subscription."""

    plan: str | None = None
    price_data: NotHere = None
    billing_thresholds: NotHere = None
    current_trial: NotHere = None


class ItemChange(ItemGiven):
    """An item in an update: with an id it changes or goes, without one it is new."""

    id: str | None = None
    deleted: bool = False
    clear_usage: bool = False


class InvoiceItemGiven(Params):
    """Something sold once, on the first or on the next invoice."""

    price: str
    quantity: Count = 1
    tax_rates: Rates = None
    discounts: Discounts = None
    metadata: Metadata = None
    discountable: bool = True
    price_data: NotHere = None
    period: NotHere = None


class TrialEnd(Params):
    missing_payment_method: Literal["cancel", "create_invoice", "pause"]


class TrialEndAndCycle(TrialEnd):
    billing_cycle_anchor: NotHere = None


class TrialSettings(Params):
    end_behavior: TrialEndAndCycle


class Flexible(Params):
    proration_discounts: Literal["included", "itemized"] = "included"


class BillingMode(Params):
    type: Literal["classic", "flexible"]
    flexible: Flexible | None = None


class Anchor(Params):
    """The newest version's way to say when the cycle begins."""

    type: Literal["now", "unchanged"]


def _anchor(value: Any) -> Any:
    """Older versions send the bare word."""
    return {"type": value} if value in ("now", "unchanged") else value


AnchorGiven = Annotated[Anchor | None, BeforeValidator(_anchor)]


class AnchorConfig(Params):
    day_of_month: Annotated[int, Field(ge=1, le=31)]
    month: Annotated[int, Field(ge=1, le=12)] | None = None
    hour: Annotated[int, Field(ge=0, le=23)] | None = None
    minute: Annotated[int, Field(ge=0, le=59)] | None = None
    second: Annotated[int, Field(ge=0, le=59)] | None = None


class PaymentSettings(Params):
    save_default_payment_method: Literal["off", "on_subscription"] | None = None
    payment_method_types: Annotated[list[MethodType] | None, Unset] = None
    payment_method_options: NotHere = None


class PauseCollection(Params):
    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"]
    resumes_at: Second | None = None


class CancellationDetails(Params):
    comment: Text = None
    feedback: Annotated[Feedback | None, Unset] = None
    feedback_option: NotHere = None


class InvoiceSettings(Params):
    description: Text = None
    footer: Text = None
    account_tax_ids: NotHere = None
    custom_fields: NotHere = None
    issuer: NotHere = None


class Terms(Params):
    """What can be asked for when a subscription is made and later."""

    add_invoice_items: list[InvoiceItemGiven] = []
    automatic_tax: AutomaticTax | None = None
    days_until_due: Days | None = None
    default_tax_rates: Rates = None
    description: Text = None
    discounts: Discounts = None
    invoice_settings: InvoiceSettings | None = None
    metadata: Metadata = None
    off_session: bool = False
    payment_behavior: PaymentBehavior = "allow_incomplete"
    payment_settings: PaymentSettings | None = None
    pending_invoice_item_interval: Annotated[Rhythm | None, Unset] = None
    proration_behavior: ProrationBehavior = "create_prorations"
    trial_end: Second | Literal["now"] | None = None
    trial_from_plan: bool = False
    trial_settings: TrialSettings | None = None


class Create(Terms):
    customer: str
    items: Annotated[list[ItemGiven], Field(min_length=1, max_length=20)]
    backdate_start_date: Second | None = None
    billing_cycle_anchor: Second | None = None
    billing_cycle_anchor_config: AnchorConfig | None = None
    billing_mode: BillingMode = BillingMode(type="flexible")
    cancel_at: Second | Literal["min_period_end", "max_period_end"] | None = None
    cancel_at_period_end: bool = False
    collection_method: CollectionMethod = "charge_automatically"
    currency: Currency | None = None
    default_payment_method: str | None = None
    trial_period_days: Annotated[int, Field(ge=1, le=1825)] | None = None


class Update(Terms):
    billing_cycle_anchor: AnchorGiven = None
    cancel_at: Annotated[Second | Literal["min_period_end", "max_period_end"] | None, Unset] = None
    cancel_at_period_end: bool | None = None
    cancellation_details: CancellationDetails | None = None
    collection_method: CollectionMethod | None = None
    default_payment_method: Annotated[str | None, Unset] = None
    items: list[ItemChange] = []
    pause_collection: Annotated[PauseCollection | None, Unset] = None
    proration_date: Second | None = None


class Cancel(Params):
    cancellation_details: CancellationDetails | None = None
    invoice_now: bool = False
    prorate: bool = False


class TaxFilter(Params):
    enabled: bool


class Listed(ListParams):
    automatic_tax: TaxFilter | None = None
    collection_method: CollectionMethod | None = None
    created: Times | None = None
    current_period_end: Times | None = None
    current_period_start: Times | None = None
    customer: str | None = None
    price: str | None = None
    status: Literal["active", "all", "canceled", "ended", "incomplete", "incomplete_expired", "past_due",
                    "paused", "trialing", "unpaid"] | None = None  # fmt: skip
    test_clock: str | None = None


class When(Params):
    type: Literal["now", "none"] = "now"


class UnusedFrom(Params):
    type: Literal["now", "none", "item_current_period_start"] = "now"


class BillFor(Params):
    outstanding_usage_through: When = When()
    unused_time_from: UnusedFrom = UnusedFrom()


class Pause(Params):
    bill_for: BillFor = BillFor()
    invoicing_behavior: Literal["invoice", "pending_invoice_item"] = "pending_invoice_item"
    type: Literal["subscription"] = "subscription"


class Resume(Params):
    billing_cycle_anchor: AnchorGiven = None
    payment_behavior: Literal["resume_on_payment_attempt", "resume_on_payment_success"] = (
        "resume_on_payment_attempt"
    )
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Second | None = None


class Migrate(Params):
    billing_mode: BillingMode


class Prorated(Params):
    """How a change of one item is billed."""

    payment_behavior: PaymentBehavior = "allow_incomplete"
    proration_behavior: ProrationBehavior = "create_prorations"
    proration_date: Second | None = None


class CreateItem(Item, Prorated):
    subscription: str
    price: str


class UpdateItem(Item, Prorated):
    off_session: bool = False


class DeleteItem(Prorated):
    clear_usage: bool = False


class ListItems(ListParams):
    subscription: str
