"""Meters: what is counted, for whom, and how the counts of a period become one quantity.

A meter never changes but for its name and whether it is active. What it is told is kept by `recording`; here
it is only read. Source: docs.stripe.com/billing/subscriptions/usage-based/meters/configure.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import DAY, HOUR, Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, NoParams, Params

USED = "lab.used"  # the kind of what `recording` keeps: one accepted meter event
WINDOWS = {"hour": HOUR, "day": DAY}
EventName = Annotated[str, Field(min_length=1, max_length=100)]
Key = Annotated[str, Field(min_length=1, max_length=100)]


class CustomerMapping(Params):
    event_payload_key: Key
    type: Literal["by_id"]


class ValueSettings(Params):
    event_payload_key: Key


class Aggregation(Params):
    formula: Literal["count", "last", "sum"]


class CreateMeter(Params):
    display_name: Annotated[str, Field(min_length=1, max_length=250)]
    event_name: EventName
    default_aggregation: Aggregation
    customer_mapping: CustomerMapping = CustomerMapping(event_payload_key="stripe_customer_id", type="by_id")
    event_time_window: Literal["day", "hour"] | None = None
    value_settings: ValueSettings = ValueSettings(event_payload_key="value")


class UpdateMeter(Params):
    display_name: Annotated[str, Field(min_length=1, max_length=250)] | None = None


class ListMeters(ListParams):
    status: Literal["active", "inactive"] | None = None


def create(step: Step, params: CreateMeter) -> Body:
    refuse_unless(
        of_event(step, params.event_name) is None,
        f"There is already a meter for event name: {params.event_name}.",
        "event_name",
    )
    meter = step.add(
        {
            "id": step.new_id("mtr_test", 22),
            "object": "billing.meter",
            "created": step.now,
            "customer_mapping": params.customer_mapping.model_dump(),
            "default_aggregation": params.default_aggregation.model_dump(),
            "display_name": params.display_name,
            "event_name": params.event_name,
            "event_time_window": params.event_time_window,
            "livemode": step.account.livemode,
            "status": "active",
            "status_transitions": {"deactivated_at": None},
            "updated": step.now,
            "value_settings": params.value_settings.model_dump(),
            "_errors": [],
        },
        _named(params.event_name),
    )
    step.tell("billing.meter.created", meter)
    return meter


def of_event(step: Step, event_name: str) -> Body | None:
    """The meter that hears an event name: there is never more than one, and an inactive one keeps it."""
    return next(iter(step.of("billing.meter", _named(event_name))), None)


def _named(event_name: str) -> str:
    return f"meter of {event_name}"


def retrieve(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("billing.meter", id_)


def update(step: Step, params: UpdateMeter, id_: str) -> Body:
    before = step.get("billing.meter", id_)
    step.change(id_, **params.changes("display_name"), updated=step.now)
    return step.updated("billing.meter.updated", before)


def deactivate(step: Step, _: NoParams, id_: str) -> Body:
    meter = step.get("billing.meter", id_)
    refuse_unless(meter["status"] == "active", "This meter is already inactive.")
    return _switched(step, id_, "inactive", step.now, "billing.meter.deactivated")


def reactivate(step: Step, _: NoParams, id_: str) -> Body:
    meter = step.get("billing.meter", id_)
    refuse_unless(meter["status"] == "inactive", "This meter is already active.")
    return _switched(step, id_, "active", None, "billing.meter.reactivated")


def _switched(step: Step, id_: str, status: str, at: int | None, told: str) -> Body:
    meter = step.change(id_, status=status, status_transitions={"deactivated_at": at}, updated=step.now)
    step.tell(told, meter)
    return meter


def listing(step: Step, params: ListMeters) -> Page:
    return lists.page(step, "billing.meter", params, "/v1/billing/meters", by=("status",))


# What was used.


def used(step: Step, meter_id: str, customer_id: str, start: int, end: int) -> Fraction:
    """What a customer is billed for from `start` up to, not including, `end`. Never negative.

    Values may be negative, but a period whose sum is bills nothing.
    Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage.
    """
    return max(Fraction(0), aggregated(step, meter_id, customer_id, start, end))


def aggregated(step: Step, meter_id: str, customer_id: str, start: int, end: int) -> Fraction:
    """The sum, the count or the last of the values of a stretch of time, as the meter says."""
    meter = step.get("billing.meter", meter_id)
    counted = _counted(meter, heard(step, meter_id, customer_id, start, end))
    match meter["default_aggregation"]["formula"]:
        case "count":
            return Fraction(len(counted))
        case "last":
            latest = max(reversed(counted), key=lambda event: event["at"], default=None)
            return Fraction(0) if latest is None else Fraction(latest["value"])
    return sum((Fraction(event["value"]) for event in counted), Fraction(0))


def heard(step: Step, meter_id: str, customer_id: str, start: int, end: int) -> Iterator[Body]:
    """The events of a stretch of time that were not cancelled; those of a day in the order of receipt."""
    for day in range(start // DAY, -(-end // DAY)):
        for event in step.of(USED, day_of(meter_id, customer_id, day * DAY)):
            if start <= event["at"] < end and not event["cancelled"]:
                yield event


def day_of(meter_id: str, customer_id: str, at: int) -> str:
    """Under what a day's events are kept, so that a period is read without the years before it."""
    return f"{meter_id} {customer_id} {at // DAY}"


def _counted(meter: Body, events: Iterator[Body]) -> list[Body]:
    """All of them, or the newest of each hour or day where events arrive already aggregated.

    Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage, "Event ingestion".
    """
    window = WINDOWS.get(meter["event_time_window"])
    if window is None:
        return list(events)
    return list({event["at"] // window: event for event in events}.values())


OPERATIONS = (
    Operation("POST /v1/billing/meters", create, CreateMeter),
    Operation("GET /v1/billing/meters/{id}", retrieve),
    Operation("POST /v1/billing/meters/{id}", update, UpdateMeter),
    Operation("POST /v1/billing/meters/{id}/deactivate", deactivate),
    Operation("POST /v1/billing/meters/{id}/reactivate", reactivate),
    Operation("GET /v1/billing/meters", listing, ListMeters),
)
