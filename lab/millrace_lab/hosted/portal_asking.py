"""What a request about the customer portal may carry. Source: docs.stripe.com/api/customer_portal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from millrace_lab.catalog.asking import Interval
from millrace_lab.hosted.asking import Locale
from millrace_lab.params import Count, ListParams, Metadata, NotHere, Params, Text, Unset
from millrace_lab.subscriptions.asking import Feedback, ProrationBehavior

Updatable = Literal["price", "promotion_code", "quantity"]


class Profile(Params):
    headline: Text = None
    privacy_policy_url: str | None = None
    terms_of_service_url: str | None = None


class CustomerFeature(Params):
    enabled: bool
    allowed_updates: list[Literal["address", "email", "name", "phone", "shipping", "tax_id"]] = []


class Feature(Params):
    enabled: bool


class MethodFeature(Feature):
    payment_method_configuration: NotHere = None


class Reasons(Params):
    enabled: bool
    options: list[Feedback] = []
    feedback_options: NotHere = None


class CancelFeature(Params):
    enabled: bool
    cancellation_reason: Reasons | None = None
    mode: Literal["at_period_end", "immediately"] = "at_period_end"
    proration_behavior: ProrationBehavior = "none"


class PauseInterval(Params):
    interval: Interval
    interval_count: Count = 1


class PauseDuration(Params):
    type: Literal["indefinite", "interval_options"]
    interval_options: list[PauseInterval] = []


class PauseFeature(Params):
    enabled: bool = False
    duration: PauseDuration = PauseDuration(type="indefinite")


class AdjustableQuantity(Params):
    enabled: bool
    maximum: Count | None = None
    minimum: Count = 1


class SwitchTo(Params):
    product: str
    prices: list[str]
    adjustable_quantity: AdjustableQuantity = AdjustableQuantity(enabled=False)


class UpdateFeature(Params):
    enabled: bool
    billing_cycle_anchor: Literal["now", "unchanged"] = "unchanged"
    default_allowed_updates: list[Updatable] = []
    products: Annotated[list[SwitchTo], BeforeValidator(lambda given: given or [])] = []
    proration_behavior: ProrationBehavior = "none"
    schedule_at_period_end: NotHere = None
    trial_update_behavior: Literal["continue_trial", "end_trial"] = "end_trial"


class Features(Params):
    customer_update: CustomerFeature | None = None
    invoice_history: Feature | None = None
    payment_method_update: MethodFeature | None = None
    subscription_cancel: CancelFeature | None = None
    subscription_pause: PauseFeature | None = None
    subscription_update: UpdateFeature | None = None


class CreateConfiguration(Params):
    features: Features
    business_profile: Profile = Profile()
    default_return_url: Text = None
    metadata: Metadata = None
    name: Text = None


class UpdateConfiguration(Params):
    active: bool | None = None
    business_profile: Profile | None = None
    default_return_url: Text = None
    features: Features | None = None
    metadata: Metadata = None
    name: Text = None


class ListConfigurations(ListParams):
    active: bool | None = None
    is_default: bool | None = None


class FlowOfSubscription(Params):
    subscription: str


class CancelFlow(FlowOfSubscription):
    retention: NotHere = None


class ConfirmItem(Params):
    id: str
    price: str | None = None
    quantity: Count | None = None


class ConfirmFlow(Params):
    subscription: str
    items: list[ConfirmItem]
    discounts: NotHere = None


class Redirect(Params):
    return_url: str


class Confirmation(Params):
    custom_message: Annotated[str | None, Unset] = None


class AfterCompletion(Params):
    type: Literal["hosted_confirmation", "portal_homepage", "redirect"]
    hosted_confirmation: Confirmation | None = None
    redirect: Redirect | None = None


FlowType = Literal["customer_update", "payment_method_update", "subscription_cancel", "subscription_pause",
                   "subscription_update", "subscription_update_confirm"]  # fmt: skip


class FlowData(Params):
    type: FlowType
    after_completion: AfterCompletion = AfterCompletion(type="portal_homepage")
    subscription_cancel: CancelFlow | None = None
    subscription_pause: FlowOfSubscription | None = None
    subscription_update: FlowOfSubscription | None = None
    subscription_update_confirm: ConfirmFlow | None = None


PortalLocale = Literal[Locale, "en-AU", "en-CA", "en-IE", "en-IN", "en-NZ", "en-SG"]


class CreateSession(Params):
    customer: str
    configuration: str | None = None
    flow_data: FlowData | None = None
    locale: PortalLocale | None = None
    return_url: str | None = None
