"""Setup intents: a payment method is made ready for later payments, without taking any money.

Told: setup_intent.created, requires_action, succeeded, setup_failed, canceled; payment_method.attached.
A setup asks the test card, never `lab_bank`: that key speaks of charges.
Source: docs.stripe.com/payments/setupintents/lifecycle, docs.stripe.com/api/setup_intents.
"""

from __future__ import annotations

from typing import Literal

from millrace_lab import lists
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog.asking import MethodType
from millrace_lab.errors import Body, StripeError, dashed
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Metadata, Params, Text, Times
from millrace_lab.payments import intents, making, methods
from millrace_lab.payments.declines import DECLINES
from millrace_lab.payments.payment_intents import Automatic
from millrace_lab.rendering import shown

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
Usage = Literal["off_session", "on_session"]


class CreateSetup(Params):
    automatic_payment_methods: Automatic | None = None
    confirm: bool = False
    customer: str | None = None
    description: Text = None
    metadata: Metadata = None
    payment_method: str | None = None
    payment_method_types: list[MethodType] | None = None
    allowed_payment_method_types: list[MethodType] | None = None
    return_url: str | None = None
    usage: Usage = "off_session"


class UpdateSetup(Params):
    customer: str | None = None
    description: Text = None
    metadata: Metadata = None
    payment_method: str | None = None


class ConfirmSetup(Params):
    client_secret: str | None = None
    payment_method: str | None = None
    return_url: str | None = None


class CancelSetup(Params):
    cancellation_reason: Literal["abandoned", "requested_by_customer", "duplicate"] | None = None


class RetrieveSetup(Params):
    client_secret: str | None = None


class ListSetups(ListParams):
    created: Times | None = None
    customer: str | None = None
    payment_method: str | None = None


def create(step: Step, params: CreateSetup) -> Body:
    if params.customer is not None:
        step.get("customer", params.customer, "customer")
    setup = step.add(_body(step, params), params.customer)
    if params.payment_method is not None:
        setup = _with_method(step, setup, params.payment_method)
    step.tell("setup_intent.created", setup)
    return _confirmed(step, setup) if params.confirm else setup


def _body(step: Step, params: CreateSetup) -> Body:
    id_ = step.new_id("seti")
    types = params.allowed_payment_method_types or params.payment_method_types
    automatic = params.automatic_payment_methods or Automatic(enabled=True)
    return {
        "id": id_,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": automatic.model_dump() if automatic.enabled and not types else None,
        "cancellation_reason": None,
        "client_secret": f"{id_}_secret_{step.new_id('s', 24)[2:]}",
        "created": step.now,
        "customer": params.customer,
        "customer_account": None,
        "description": params.description,
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": step.account.livemode,
        "mandate": None,
        "metadata": params.metadata or {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": types or ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": params.usage,
        "_return_url": params.return_url,
    }


def _with_method(step: Step, setup: Body, given: str) -> Body:
    method = making.resolve(step, given)
    refuse_unless(
        method["customer"] in (None, setup["customer"]),
        "The payment method you provided has already been attached to a customer.",
        "payment_method",
    )
    return step.change(setup["id"], payment_method=method["id"], status="requires_confirmation")


def confirm(step: Step, params: ConfirmSetup, id_: str) -> Body:
    setup = step.get("setup_intent", id_)
    intents.check_secret(setup, params.client_secret)
    _require_open(setup, "confirm")
    if params.return_url is not None:
        setup = step.change(id_, _return_url=params.return_url)
    if params.payment_method is not None:
        setup = _with_method(step, setup, params.payment_method)
    return _confirmed(step, setup)


def _confirmed(step: Step, setup: Body) -> Body:
    refuse_unless(
        setup["payment_method"] is not None,
        "You cannot confirm this SetupIntent because it's missing a payment method. You can either update the "
        "SetupIntent with a payment method and then confirm it again, or confirm it again directly with a payment "
        "method.",
        None,
        "setup_intent_unexpected_state",
    )
    method = step.get("payment_method", setup["payment_method"])
    if not method["_saves"]:
        raise _refusal(_fail(step, setup, _declined(method)))
    if method["_authentication"] and not method["_set_up"]:
        return _ask_customer(step, setup)
    return _succeed(step, setup)


def _succeed(step: Step, setup: Body) -> Body:
    done = step.change(setup["id"], last_setup_error=None, next_action=None, status="succeeded")
    method = step.change(setup["payment_method"], _set_up=True)
    if setup["customer"] is not None and method["customer"] is None:
        methods.save_for(step, method["id"], setup["customer"])
    step.tell("setup_intent.succeeded", done)
    return done


def _ask_customer(step: Step, setup: Body) -> Body:
    url = f"https://hooks.stripe.com/3d_secure_2/hosted?setup_intent={setup['id']}"
    action: Body = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
    if setup["_return_url"] is not None:
        redirect = {"return_url": setup["_return_url"], "url": url}
        action = {"redirect_to_url": redirect, "type": "redirect_to_url"}
    asked = step.change(setup["id"], next_action=action, status="requires_action")
    step.tell("setup_intent.requires_action", asked)
    return asked


def authenticate(step: Step, id_: str, succeeds: bool = True) -> Body:
    """The customer answers the bank's challenge."""
    setup = step.get("setup_intent", id_)
    refuse_unless(setup["status"] == "requires_action", "This SetupIntent asks the customer nothing.")
    method = step.get("payment_method", setup["payment_method"])
    return _succeed(step, setup) if succeeds else _fail(step, setup, _not_authenticated(method))


def _fail(step: Step, setup: Body, error: Body) -> Body:
    failed = step.change(
        setup["id"],
        last_setup_error=error,
        next_action=None,
        payment_method=None,
        status="requires_payment_method",
    )
    step.tell("setup_intent.setup_failed", failed)
    return failed


def _declined(method: Body) -> Body:
    words = DECLINES[method["_bank"]]
    advice = {} if words.advice_code is None else {"advice_code": words.advice_code}
    return (
        _error(words.code, words.message, "card_error", method) | advice | {"decline_code": method["_bank"]}
    )


def _not_authenticated(method: Body) -> Body:
    message = "The provided PaymentMethod has failed authentication."
    return _error("setup_intent_authentication_failure", message, "invalid_request_error", method)


def _error(code: str, message: str, type_: str, method: Body) -> Body:
    doc_url = f"https://stripe.com/docs/error-codes/{dashed(code)}"
    return {"code": code, "doc_url": doc_url, "message": message, "payment_method": method, "type": type_}


def _refusal(setup: Body) -> StripeError:
    error = setup["last_setup_error"]
    details = shown({"decline_code": error["decline_code"], "setup_intent": setup})
    return StripeError(402, error["message"], type="card_error", code=error["code"], keep=True, **details)


def update(step: Step, params: UpdateSetup, id_: str) -> Body:
    setup = step.get("setup_intent", id_)
    _require_open(setup, "update")
    changes = params.changes_to(setup, "description")
    if params.customer is not None:
        changes["customer"] = step.get("customer", params.customer, "customer")["id"]
        step.adopt(params.customer, setup)
    setup = step.change(id_, **changes)
    return _with_method(step, setup, params.payment_method) if params.payment_method else setup


def cancel(step: Step, params: CancelSetup, id_: str) -> Body:
    setup = step.get("setup_intent", id_)
    _require_open(setup, "cancel")
    canceled = step.change(
        id_, cancellation_reason=params.cancellation_reason, next_action=None, status="canceled"
    )
    step.tell("setup_intent.canceled", canceled)
    return canceled


def _require_open(setup: Body, act: str) -> None:
    refuse_unless(
        setup["status"] in OPEN,
        f"You cannot {act} this SetupIntent because it has a status of {setup['status']}.",
        None,
        "setup_intent_unexpected_state",
    )


def retrieve(step: Step, params: RetrieveSetup, id_: str) -> Body:
    setup = step.get("setup_intent", id_)
    intents.check_secret(setup, params.client_secret)
    return setup


def listing(step: Step, params: ListSetups) -> Page:
    by = ("created", "customer", "payment_method")
    return lists.page(step, "setup_intent", params, "/v1/setup_intents", parent=params.customer, by=by)


_EVERYWHERE = {
    "attach_to_self",
    "customer_account",
    "excluded_payment_method_types",
    "flow_directions",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
}
_AT_CONFIRMATION = {"confirmation_token", "mandate_data", "use_stripe_sdk"}
OPERATIONS = (
    Operation(
        "POST /v1/setup_intents",
        create,
        CreateSetup,
        frozenset(_EVERYWHERE | _AT_CONFIRMATION | {"on_behalf_of", "single_use"}),
    ),
    Operation("GET /v1/setup_intents/{intent}", retrieve, RetrieveSetup),
    Operation(
        "POST /v1/setup_intents/{intent}",
        update,
        UpdateSetup,
        frozenset(_EVERYWHERE | {"allowed_payment_method_types", "payment_method_types"}),
    ),
    Operation(
        "POST /v1/setup_intents/{intent}/confirm",
        confirm,
        ConfirmSetup,
        frozenset(_AT_CONFIRMATION)
        | {"allowed_payment_method_types", "payment_method_data", "payment_method_options"},
    ),
    Operation("POST /v1/setup_intents/{intent}/cancel", cancel, CancelSetup),
    Operation(
        "GET /v1/setup_intents", listing, ListSetups, frozenset({"attach_to_self", "customer_account"})
    ),
)
