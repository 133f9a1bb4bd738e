"""What can be asked of payment intents. Source: docs.stripe.com/api/payment_intents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from millrace_lab import lists, searching
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog.asking import MethodType
from millrace_lab.catalog.currencies import check_amount, check_currency
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import Currency, ListParams, Metadata, Params, Text, Times, Unset
from millrace_lab.payments import charging, intents, making

Positive = Annotated[int, Field(ge=1, le=99_999_999)]
Capture = Literal["automatic", "automatic_async", "manual"]
Usage = Annotated[Literal["off_session", "on_session"] | None, Unset]
CURRENCIES = {"sepa_debit": "eur", "us_bank_account": "usd"}  # payment methods of one currency only
OffSession = bool | Literal["one_off", "recurring"]


class Automatic(Params):
    enabled: bool
    allow_redirects: Literal["always", "never"] = "always"


class Details(Params):
    customer_reference: Text = None
    order_reference: Text = None


class CreateIntent(Params):
    amount: Positive
    currency: Currency
    allowed_payment_method_types: list[MethodType] | None = None
    automatic_payment_methods: Automatic | None = None
    capture_method: Capture = "automatic_async"
    confirm: bool = False
    confirmation_method: Literal["automatic", "manual"] = "automatic"
    customer: str | None = None
    description: Text = None
    metadata: Metadata = None
    off_session: OffSession = False
    payment_details: Details | None = None
    payment_method: str | None = None
    payment_method_types: list[MethodType] | None = None
    receipt_email: Text = None
    return_url: str | None = None
    setup_future_usage: Usage = None
    statement_descriptor: Text = None
    statement_descriptor_suffix: Text = None


class UpdateIntent(Params):
    amount: Positive | None = None
    capture_method: Capture | None = None
    currency: Currency | None = None
    customer: str | None = None
    description: Text = None
    metadata: Metadata = None
    payment_details: Details | None = None
    payment_method: Annotated[str | None, Unset] = None
    receipt_email: Text = None
    setup_future_usage: Usage = None
    statement_descriptor: Text = None
    statement_descriptor_suffix: Text = None


class ConfirmIntent(Params):
    capture_method: Capture | None = None
    client_secret: str | None = None
    off_session: OffSession = False
    payment_method: str | None = None
    receipt_email: Text = None
    return_url: str | None = None
    setup_future_usage: Usage = None


class CaptureIntent(Params):
    amount_to_capture: Positive | None = None
    metadata: Metadata = None
    statement_descriptor: Text = None
    statement_descriptor_suffix: Text = None


class CancelIntent(Params):
    cancellation_reason: Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"] | None = (
        None
    )


class RetrieveIntent(Params):
    client_secret: str | None = None


class ListIntents(ListParams):
    created: Times | None = None
    customer: str | None = None


def create(step: Step, params: CreateIntent) -> Body:
    check_currency(params.currency)
    check_amount(params.amount, params.currency, "amount")
    refuse_unless(
        params.confirm or not params.off_session,
        "You can only set `off_session` when `confirm` is true.",
        "off_session",
    )
    if params.customer is not None:
        step.get("customer", params.customer, "customer")
    intent = intents.make(
        step,
        customer=params.customer,
        amount=params.amount,
        currency=params.currency,
        **_given(params),
    )
    if params.payment_method is not None:
        intent = _with_method(step, intent, params.payment_method)
    return _confirmed(step, intent, bool(params.off_session)) if params.confirm else intent


_SAME = (  # parameters that become the field of their name
    "capture_method",
    "confirmation_method",
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
)


def _given(params: CreateIntent) -> dict[str, Any]:
    fields = params.changes(*_SAME)
    types = params.allowed_payment_method_types or params.payment_method_types
    if types is None:
        automatic = params.automatic_payment_methods or Automatic(enabled=True)
        fields["automatic_payment_methods"] = automatic.model_dump() if automatic.enabled else None
    fields["payment_method_types"] = types or ["card"]
    fields["metadata"] = params.metadata or {}
    if params.payment_details is not None:
        fields["payment_details"] = params.payment_details.model_dump()
    return {**fields, "_return_url": params.return_url}


def _with_method(step: Step, intent: Body, given: str) -> Body:
    method = making.resolve(step, given)
    status = "requires_confirmation" if intent["status"] == "requires_payment_method" else intent["status"]
    return step.change(intent["id"], payment_method=method["id"], status=status)


def check_usable(intent: Body, method: Body) -> None:
    """Raises StripeError 400 for a payment method that is another's, is spent, or is of another currency."""
    refuse_unless(
        method["customer"] in (None, intent["customer"]),
        "The provided PaymentMethod belongs to another Customer than the PaymentIntent's. Attach it to the "
        "PaymentIntent's Customer, or use one of its own.",
        "payment_method",
    )
    refuse_unless(
        method["customer"] is not None or not method["_used"],
        "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared "
        "with a connected account without Customer attachment, or was detached from a Customer. It may not be "
        "used again. To use a PaymentMethod multiple times, you must attach it to a Customer first.",
        "payment_method",
    )
    refuse_unless(
        CURRENCIES.get(method["type"], intent["currency"]) == intent["currency"],
        f"The payment method type `{method['type']}` cannot be used with the currency {intent['currency']}.",
        "payment_method",
    )


def _confirmed(step: Step, intent: Body, off_session: bool) -> Body:
    refuse_unless(
        intent["payment_method"] is not None,
        "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
        "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
        "payment method or ConfirmationToken.",
        None,
        "payment_intent_unexpected_state",
    )
    check_usable(intent, step.get("payment_method", intent["payment_method"]))
    tried = charging.confirm(step, intent["id"], intent["payment_method"], off_session=off_session)
    if tried["status"] == "requires_payment_method":
        raise charging.refusal(tried)
    return tried


def confirm(step: Step, params: ConfirmIntent, id_: str) -> Body:
    intent = step.get("payment_intent", id_)
    intents.check_secret(intent, params.client_secret)
    intents.require(intent, intents.OPEN, "confirm")
    fields = params.changes("capture_method", "receipt_email", "setup_future_usage")
    if params.return_url is not None:
        fields["_return_url"] = params.return_url
    intent = step.change(id_, **fields)
    if params.payment_method is not None:
        intent = _with_method(step, intent, params.payment_method)
    return _confirmed(step, intent, bool(params.off_session))


def update(step: Step, params: UpdateIntent, id_: str) -> Body:
    """Change an intent. Stripe tells nothing of it."""
    intent = step.get("payment_intent", id_)
    money = params.given & {"amount", "currency", "payment_method", "customer", "capture_method"}
    if money:
        intents.require(intent, intents.OPEN, "update")
    named = (name for name in _SAME if name in type(params).model_fields)
    fields = params.changes_to(intent, "amount", "currency", *named)
    if params.customer is not None:
        fields["customer"] = step.get("customer", params.customer, "customer")["id"]
        step.adopt(params.customer, intent)
    if params.payment_details is not None:
        fields["payment_details"] = {**intent["payment_details"], **params.payment_details.changes()}
    intent = step.change(id_, **fields)
    return _with_method(step, intent, params.payment_method) if params.payment_method else intent


def capture(step: Step, params: CaptureIntent, id_: str) -> Body:
    intent = step.get("payment_intent", id_)
    fields = params.changes_to(intent, "statement_descriptor", "statement_descriptor_suffix")
    step.change(id_, **fields)
    return charging.capture(step, id_, params.amount_to_capture)


def cancel(step: Step, params: CancelIntent, id_: str) -> Body:
    intent = step.get("payment_intent", id_)
    refuse_unless(
        intent["_invoice"] is None,
        "You cannot cancel the PaymentIntent of an invoice. Void the invoice instead.",
        None,
        "payment_intent_unexpected_state",
    )
    return intents.cancel(step, id_, params.cancellation_reason)


def retrieve(step: Step, params: RetrieveIntent, id_: str) -> Body:
    intent = step.get("payment_intent", id_)
    intents.check_secret(intent, params.client_secret)
    return intent


def listing(step: Step, params: ListIntents) -> Page:
    by = ("created", "customer")
    return lists.page(step, "payment_intent", params, "/v1/payment_intents", parent=params.customer, by=by)


_EVERYWHERE = {
    "amount_details",
    "application_fee_amount",
    "customer_account",
    "excluded_payment_method_types",
    "hooks",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
    "shipping",
    "transfer_data",
    "transfer_group",
}
_AT_CONFIRMATION = {
    "confirmation_token",
    "error_on_requires_action",
    "mandate",
    "mandate_data",
    "on_behalf_of",
    "radar_options",
    "use_stripe_sdk",
}
SEARCHED = ("amount", "created", "currency", "customer", "metadata", "status")
OPERATIONS = (
    searching.operation("payment_intent", "/v1/payment_intents", *SEARCHED),
    Operation(
        "POST /v1/payment_intents",
        create,
        CreateIntent,
        frozenset(_EVERYWHERE | _AT_CONFIRMATION),
    ),
    Operation("GET /v1/payment_intents/{intent}", retrieve, RetrieveIntent),
    Operation(
        "POST /v1/payment_intents/{intent}",
        update,
        UpdateIntent,
        frozenset(_EVERYWHERE | {"allowed_payment_method_types", "payment_method_types"}),
    ),
    Operation("GET /v1/payment_intents", listing, ListIntents, frozenset({"customer_account"})),
    Operation(
        "POST /v1/payment_intents/{intent}/confirm",
        confirm,
        ConfirmIntent,
        frozenset(
            (_EVERYWHERE | _AT_CONFIRMATION)
            - {"application_fee_amount", "customer_account", "on_behalf_of", "payment_method_configuration"}
            - {"transfer_data", "transfer_group"}
            | {"allowed_payment_method_types", "amount_to_confirm", "payment_details", "payment_method_types"}
        ),
    ),
    Operation(
        "POST /v1/payment_intents/{intent}/capture",
        capture,
        CaptureIntent,
        frozenset({"amount_details", "application_fee_amount", "final_capture", "hooks", "payment_details"})
        | {"transfer_data"},
    ),
    Operation("POST /v1/payment_intents/{intent}/cancel", cancel, CancelIntent),
)
