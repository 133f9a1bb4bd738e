"""Every operation is one of Stripe's, and takes what Stripe's takes: the rest is named as absent.

The first API is held against Stripe's description; the second, and what endive adds, against the typed
parameters of stripe-python 16.1.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from stripe import RequestOptions

from millrace_lab.composition import OPERATIONS
from millrace_lab.errors import StripeError
from millrace_lab.operations import Operation
from millrace_lab.platform.event_types import EVENT_TYPES
from millrace_lab.versions import KNOWN
from tests.support.double import Double
from tests.support.stripe_spec import operation, operations, parameters, route_shape

FIRST = [each for each in OPERATIONS if each.path.startswith("/v1/")]
SECOND = [each for each in OPERATIONS if each.path.startswith("/v2/")]

# Operations and parameters that are newer than the description: (route, parameter or None for the whole
# operation) → stripe-python's typed parameters, which have it.
NEWER = {
    ("POST /v1/subscriptions/{}/pause", None): "_subscription_pause_params.SubscriptionPauseParams",
    ("POST /v1/subscriptions/{}/resume", "payment_behavior"): "_subscription_resume_params.SubscriptionResumeParams",
    ("POST /v1/subscription_schedules", "pause_schedules"):
        "_subscription_schedule_create_params.SubscriptionScheduleCreateParams",
    ("POST /v1/subscription_schedules/{}", "pause_schedules"):
        "_subscription_schedule_update_params.SubscriptionScheduleUpdateParams",
}  # fmt: skip

TYPED = {
    # route of the second API → stripe-python's typed parameters; None where it takes none
    "POST /v2/core/event_destinations": "core._event_destination_create_params.EventDestinationCreateParams",
    "GET /v2/core/event_destinations/{}": "core._event_destination_retrieve_params.EventDestinationRetrieveParams",
    "POST /v2/core/event_destinations/{}": "core._event_destination_update_params.EventDestinationUpdateParams",
    "POST /v2/core/event_destinations/{}/disable": None,
    "POST /v2/core/event_destinations/{}/enable": None,
    "POST /v2/core/event_destinations/{}/ping": None,
    "DELETE /v2/core/event_destinations/{}": None,
    "GET /v2/core/event_destinations": "core._event_destination_list_params.EventDestinationListParams",
    "GET /v2/core/events": "core._event_list_params.EventListParams",
    "GET /v2/core/events/{}": None,
    "POST /v2/billing/meter_events": "billing._meter_event_create_params.MeterEventCreateParams",
    "POST /v2/billing/meter_event_adjustments":
        "billing._meter_event_adjustment_create_params.MeterEventAdjustmentCreateParams",
    "POST /v2/billing/meter_event_session": None,
    "POST /v2/billing/meter_event_stream": "billing._meter_event_stream_create_params.MeterEventStreamCreateParams",
}  # fmt: skip
PAGING = {"page"}  # is in the URL of a page, not among the parameters


def _shape(each: Operation) -> str:
    return route_shape(each.route)


def _typed(name: str) -> set[str]:
    module, _, cls = name.rpartition(".")
    named = set(getattr(importlib.import_module(f"stripe.params.{module}"), cls).__annotations__)
    return named - RequestOptions.__annotations__.keys()


def _ours(params: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in params.model_fields.items()}


def _newer(each: Operation) -> set[str]:
    return {name for (route, name), _ in NEWER.items() if route == _shape(each) and name}


@pytest.mark.parametrize("each", FIRST, ids=lambda each: each.route)
def test_an_operation_takes_stripes_parameters_or_says_that_it_does_not(each: Operation) -> None:
    if (_shape(each), None) in NEWER:
        theirs = _typed(NEWER[_shape(each), None])
    else:
        operation(each.method, each.path)
        theirs = parameters(each.method, each.path)
    theirs = theirs - {"expand"} | _newer(each)
    ours = _ours(each.params)
    assert not theirs - ours - each.absent, "Stripe takes them, we neither take nor name them"
    assert not (ours | each.absent) - theirs, "we take or name them, Stripe does not"
    assert not ours & each.absent, "both taken and absent"


def test_parts_of_parameters_are_stripes_and_are_taken_or_named_as_absent_too() -> None:
    found = [part for each in FIRST if _shape(each) in DESCRIBED for part in _parts_of(each)]
    assert [name for name, theirs, ours in found if theirs and not ours] == []
    unknown = {name for name, theirs, ours in found if ours and not theirs}
    assert unknown == {name for parts in NEWER_PARTS.values() for name in parts}


# Parts that are newer than the description, by stripe-python's typed parameters that have them.
NEWER_PARTS = {
    "_subscription_create_params.SubscriptionCreateParamsItem": {
        f"{route} items[{name}]"
        for route in ("POST /v1/subscriptions", "POST /v1/subscriptions/{subscription}")
        for name in ("plan", "current_trial")
    },
    "_invoice_create_preview_params.InvoiceCreatePreviewParamsSubscriptionDetailsItem": {
        f"POST /v1/invoices/create_preview subscription_details items[{name}]"
        for name in ("plan", "current_trial")
    },
    "_subscription_create_params.SubscriptionCreateParamsTrialSettingsEndBehavior": {
        f"{route} trial_settings end_behavior[billing_cycle_anchor]"
        for route in ("POST /v1/subscriptions", "POST /v1/subscriptions/{subscription}")
    },
    "_subscription_update_params.SubscriptionUpdateParamsBillingCycleAnchor": {
        "POST /v1/subscriptions/{subscription} billing_cycle_anchor[type]",
        "POST /v1/subscriptions/{subscription}/resume billing_cycle_anchor[type]",
        "POST /v1/invoices/create_preview subscription_details billing_cycle_anchor[type]",
    },
    "billing_portal._configuration_create_params.ConfigurationCreateParamsFeatures": {
        "POST /v1/billing_portal/configurations features[subscription_pause]",
        "POST /v1/billing_portal/configurations/{configuration} features[subscription_pause]",
    },
    "billing_portal._session_create_params.SessionCreateParamsFlowData": {
        "POST /v1/billing_portal/sessions flow_data[subscription_pause]",
    },
}


def test_parts_that_are_newer_have_their_source() -> None:
    for source, parts in NEWER_PARTS.items():
        assert {re.findall(r"\[(\w+)\]$", part)[0] for part in parts} <= _typed(source)


Part = tuple[str, bool, bool]
DESCRIBED = {f"{method} {path}" for method, path in operations()}


def _parts_of(each: Operation) -> Iterator[Part]:
    found = operation(each.method, each.path)
    described = {p["name"]: p["schema"] for p in found.get("parameters", ()) if p["in"] == "query"}
    content = found.get("requestBody", {}).get("content", {})
    described |= content.get("application/x-www-form-urlencoded", {}).get("schema", {}).get("properties", {})
    yield from _parts(each.params, described, each.route)


def _parts(params: type[BaseModel], described: dict[str, Any], at: str) -> Iterator[Part]:
    """The parts at any depth of the parameters that we take: (name, whether Stripe has it, whether we do)."""
    known = {name: field for name, field in params.model_fields.items() if (field.alias or name) in described}
    for name, field in known.items():
        for model in _models(field.annotation):
            here, ours = f"{at} {name}", _ours(model)
            theirs = dict(_objects(described[field.alias or name]))
            for part in sorted(theirs.keys() | ours):
                yield f"{here}[{part}]", part in theirs, part in ours
            if theirs:
                yield from _parts(model, theirs, here)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _objects(by: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and descriptions of what may be inside a parameter: an object, a list of them, one by currency."""
    for choice in by.get("anyOf", [by]):
        for inner in ("items", "additionalProperties"):
            if isinstance(choice.get(inner), dict):
                yield from _objects(choice[inner])
        yield from choice.get("properties", {}).items()


@pytest.mark.parametrize("each", SECOND, ids=lambda each: each.route)
def test_an_operation_of_the_second_api_takes_what_the_typed_client_sends(each: Operation) -> None:
    typed = TYPED[_shape(each)]
    theirs = _typed(f"v2.{typed}") if typed else set()
    assert _ours(each.params) - PAGING | each.absent == theirs


def test_no_route_of_stripes_is_taken_for_an_id() -> None:
    api = Double().api
    for method, path in operations():
        if "{}" in path:
            continue
        try:
            found = api.find(method, path)[0]
        except StripeError as refusal:
            assert refusal.status == 501
        else:
            assert _shape(found) == f"{method} {path}"


def test_every_newer_entry_is_still_newer_and_has_its_source() -> None:
    described = {f"{method} {path}" for method, path in operations()}
    ours = {_shape(each) for each in OPERATIONS}
    for (route, name), source in NEWER.items():
        if route not in ours:
            continue
        known = route in described and (name is None or name in parameters(*route.split()))
        assert not known, f"{route} {name or ''} is described by now"
        assert name is None or name in _typed(source), f"{source} has no {name}"


def test_event_types_are_stripes() -> None:
    body = operation("POST", "/v1/webhook_endpoints")["requestBody"]["content"]
    form: dict[str, Any] = body["application/x-www-form-urlencoded"]["schema"]["properties"]
    described = set(form["enabled_events"]["items"]["enum"]) - {"*"}
    assert described <= EVENT_TYPES
    typed = importlib.import_module("stripe.params._webhook_endpoint_create_params")
    assert typed.__file__ is not None
    text = Path(typed.__file__).read_text()
    assert all(f'"{type_}"' in text for type_ in EVENT_TYPES)


def test_versions_are_stripes() -> None:
    body = operation("POST", "/v1/webhook_endpoints")["requestBody"]["content"]
    form: dict[str, Any] = body["application/x-www-form-urlencoded"]["schema"]["properties"]
    described = [v for v in form["api_version"]["enum"] if v >= KNOWN[0] and not v.endswith(".dashboard")]
    newer = ["2026-09-30.endive", "2026-10-28.endive"]  # stripe-python 16.0 and 16.1
    assert [*described, *newer] == list(KNOWN)
