"""Meter events and their adjustments as they are asked for: one at a time, or streamed with a session's token.

Source: docs.stripe.com/api/billing/meter-event, docs.stripe.com/api/v2/billing-meter-stream.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from millrace_lab.account import MINUTE, Step
from millrace_lab.errors import Body, StripeError, invalid
from millrace_lab.operations import Operation
from millrace_lab.params import NoParams, Params, Second
from millrace_lab.periods import iso
from millrace_lab.usage import recording
from millrace_lab.usage.meters import EventName
from millrace_lab.usage.recording import Usage

SESSION = "v2.billing.meter_event_session"
SESSION_LASTS = 15 * MINUTE
Identifier = Annotated[str, Field(min_length=1, max_length=100)]


class CreateMeterEvent(Params):
    event_name: EventName
    payload: dict[str, str]
    identifier: Identifier | None = None
    timestamp: Second | None = None


class CreateMeterEventV2(Params):
    event_name: EventName
    payload: dict[str, str]
    identifier: Identifier | None = None
    timestamp: str | None = None

    def usage(self) -> Usage:
        at = None if self.timestamp is None else _seconds(self.timestamp)
        return Usage(self.event_name, self.payload, self.identifier, at)


class StreamMeterEvents(Params):
    events: Annotated[list[CreateMeterEventV2], Field(min_length=1, max_length=100)]


class Cancel(Params):
    identifier: Identifier


class Adjust(Params):
    event_name: EventName
    type: Literal["cancel"]
    cancel: Cancel


def create(step: Step, params: CreateMeterEvent) -> Body:
    usage = Usage(params.event_name, params.payload, params.identifier, params.timestamp)
    seen = recording.accept(step, usage)
    return _shown("billing.meter_event", step, params, seen)


def create_v2(step: Step, params: CreateMeterEventV2) -> Body:
    seen = recording.accept(step, params.usage())
    times = {"created": iso(seen["created"]), "timestamp": iso(seen["timestamp"])}
    return _shown("v2.billing.meter_event", step, params, seen | times)


def _shown(kind: str, step: Step, params: CreateMeterEvent | CreateMeterEventV2, seen: Body) -> Body:
    return {
        "object": kind,
        "created": seen["created"],
        "event_name": params.event_name,
        "identifier": seen["identifier"],
        "livemode": step.account.livemode,
        "payload": params.payload,
        "timestamp": seen["timestamp"],
    }


def _seconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Invalid timestamp: {text}", "timestamp") from None
    if moment.tzinfo is None:
        raise invalid(f"Invalid timestamp, without an offset: {text}", "timestamp")
    return int(moment.timestamp())


def open_session(step: Step, _: NoParams) -> Body:
    """A token that streams usage for 15 minutes."""
    token = step.new_id("mes", 40)
    session = step.add(
        {
            "id": step.new_id("bmes_test", 22),
            "object": SESSION,
            "authentication_token": token,
            "created": iso(step.now),
            "expires_at": iso(step.now + SESSION_LASTS),
            "livemode": step.account.livemode,
            "_expires": step.now + SESSION_LASTS,
        }
    )
    step.adopt(token, session)
    return session


def stream(step: Step, params: StreamMeterEvents) -> Body:
    """Take up to 100 events without checking them. The request's key is a session's token."""
    session = next(iter(step.of(SESSION, step.caller or "")), None)
    if session is None or session["_expires"] <= step.now:
        message = "The meter event session is invalid or has expired. Create another one."
        raise StripeError(401, message, code="temporary_session_expired")
    for event in params.events:
        step.clock = None  # each event's customer has a time of their own
        recording.stream(step, event.usage())
    return {}


def adjust(step: Step, params: Adjust) -> Body:
    recording.cancel(step, params.event_name, params.cancel.identifier)
    return _adjusted(step, params, "billing.meter_event_adjustment")


def adjust_v2(step: Step, params: Adjust) -> Body:
    recording.cancel(step, params.event_name, params.cancel.identifier)
    made = {"id": step.new_id("mtr_event_adj", 22), "created": iso(step.now)}
    return made | _adjusted(step, params, "v2.billing.meter_event_adjustment")


def _adjusted(step: Step, params: Adjust, kind: str) -> Body:
    return {
        "object": kind,
        "cancel": {"identifier": params.cancel.identifier},
        "event_name": params.event_name,
        "livemode": step.account.livemode,
        "status": "complete",
        "type": "cancel",
    }


OPERATIONS = (
    Operation("POST /v1/billing/meter_events", create, CreateMeterEvent),
    Operation("POST /v1/billing/meter_event_adjustments", adjust, Adjust),
    Operation("POST /v2/billing/meter_events", create_v2, CreateMeterEventV2),
    Operation("POST /v2/billing/meter_event_adjustments", adjust_v2, Adjust),
    Operation("POST /v2/billing/meter_event_session", open_session),
    Operation("POST /v2/billing/meter_event_stream", stream, StreamMeterEvents),
)
