"""Recording usage: a meter event is checked at once for what can be seen at once, for the rest afterwards.

At once: the meter, the payload's keys, the time, an identifier that was seen within 24 hours. Afterwards, by a
report: whether there is such a customer, whether the value is a number. A stream checks nothing at once.
Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api; docs/lab/behaviours.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from millrace_lab.account import DAY, MINUTE, Step
from millrace_lab.errors import Body, StripeError, invalid
from millrace_lab.usage import meters, reports

PAST_MOST, FUTURE_MOST, UNIQUE_FOR = 35 * DAY, 5 * MINUTE, DAY
NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,12})?|\.\d{1,12})")


@dataclass(frozen=True, slots=True)
class Usage:
    """One meter event as it was sent: `at` in seconds, None for now."""

    event_name: str
    payload: dict[str, str]
    identifier: str | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an event: `code` is the one that reports use."""

    code: str
    message: str
    param: str | None = None

    def refusal(self) -> StripeError:
        return invalid(self.message, self.param, self.code)


def accept(step: Step, usage: Usage) -> Body:
    """Record an event, or refuse it at once. Raises StripeError 400."""
    fault = _seen_at_once(step, usage)
    if fault is not None:
        raise fault.refusal()
    return _record(step, usage)


def stream(step: Step, usage: Usage) -> None:
    """Record an event of a stream; whatever is wrong with it is reported afterwards."""
    fault = _seen_at_once(step, usage)
    if fault is None:
        _record(step, usage)
    elif fault.code != "duplicate_meter_event":
        meter = meters.of_event(step, usage.event_name)
        reports.mistaken(step, meter, fault.code, fault.message, usage.identifier or "")


# What can be seen at once.


def _seen_at_once(step: Step, usage: Usage) -> Fault | None:
    meter = meters.of_event(step, usage.event_name)
    if meter is None:
        message = f'No active meter found for event name "{usage.event_name}".'
        return Fault("no_meter", message, "event_name")
    if meter["status"] == "inactive":
        message = f'No active meter found for event name "{usage.event_name}": its meter is archived.'
        return Fault("archived_meter", message, "event_name")
    customer, value = _keys(meter)
    if not usage.payload.get(customer):
        message = f"Customer mapping key {customer} not found in payload."
        return Fault("meter_event_no_customer_defined", message, "payload")
    if meter["default_aggregation"]["formula"] != "count" and value not in usage.payload:
        return Fault("meter_event_value_not_found", f"Value key {value} not found in payload.", "payload")
    step.find(usage.payload[customer])  # a customer on a test clock has a time of their own
    return _out_of_time(step.now, usage.at) or _repeated(step, usage)


def _keys(meter: Body) -> tuple[str, str]:
    return meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]


def _out_of_time(now: int, at: int | None) -> Fault | None:
    if at is not None and at < now - PAST_MOST:
        message = "Timestamp must be within the past 35 calendar days."
        return Fault("timestamp_too_far_in_past", message, "timestamp")
    if at is not None and at > now + FUTURE_MOST:
        message = "Timestamp must be no more than 5 minutes in the future."
        return Fault("timestamp_in_future", message, "timestamp")
    return None


def _repeated(step: Step, usage: Usage) -> Fault | None:
    """An identifier is unique for 24 hours only: the same event sent later is billed again.

    The words are recorded from Stripe: langfuse/langfuse, pull request 16292.
    """
    if usage.identifier and any(
        event["received"] > step.now - UNIQUE_FOR for event in of_identifier(step, usage.identifier)
    ):
        message = f"An event already exists with identifier {usage.identifier}."
        return Fault("duplicate_meter_event", message, "identifier")
    return None


def of_identifier(step: Step, identifier: str) -> list[Body]:
    """What was recorded under an identifier, oldest first."""
    return step.of(meters.USED, _identified(identifier))


def _identified(identifier: str) -> str:
    return f"identifier {identifier}"


# What is seen afterwards.


def _record(step: Step, usage: Usage) -> Body:
    """The event as it is answered. It counts, unless something is wrong that only shows afterwards."""
    meter = meters.of_event(step, usage.event_name)
    assert meter is not None
    customer, value = _keys(meter)
    given, counted = usage.payload[customer], usage.payload.get(value, "1")
    identifier = usage.identifier or step.new_id("mevt", 32)
    at = step.now if usage.at is None else usage.at
    fault = _seen_afterwards(step, meter, given, counted)
    if fault is not None:
        reports.mistaken(step, meter, fault.code, fault.message, identifier)
    kept = step.add(
        {
            "id": step.new_id("lab_used"),
            "object": meters.USED,
            "at": at,
            "received": step.now,
            "value": counted,
            "identifier": identifier,
            "event_name": usage.event_name,
            "cancelled": fault is not None,
        },
        _identified(identifier),
        meters.day_of(meter["id"], given, at),
    )
    if fault is None:
        step.announce("usage.recorded", kept, meter=meter["id"], customer=given)
    return {"created": step.now, "identifier": identifier, "timestamp": at}


def _seen_afterwards(step: Step, meter: Body, customer: str, value: str) -> Fault | None:
    found = step.find(customer)
    if found is None or found["object"] != "customer" or found.get("deleted"):
        message = f"No customer was found with the ID {customer}."
        return Fault("meter_event_customer_not_found", message)
    if meter["default_aggregation"]["formula"] != "count" and not NUMBER.fullmatch(value):
        return Fault("meter_event_invalid_value", f"Value {value[:40]} is not a valid number.")
    return None


# Taking back.


def cancel(step: Step, event_name: str, identifier: str) -> None:
    """Take an event back that was received within the last 24 hours. Raises StripeError 400."""
    found = [e for e in of_identifier(step, identifier) if e["event_name"] == event_name]
    if not found:
        raise invalid(f"No meter event found with identifier {identifier}.", "cancel[identifier]")
    event = found[-1]
    if event["received"] <= step.now - UNIQUE_FOR:
        message = "Only meter events received within the past 24 hours can be canceled."
        raise invalid(message, "cancel[identifier]")
    if event["cancelled"]:
        raise invalid(f"The meter event {identifier} was already canceled.", "cancel[identifier]")
    step.change(event["id"], cancelled=True)
