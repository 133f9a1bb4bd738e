"""What a meter counted for a customer: one figure for a stretch of time, or one for each hour or day of it.

Source: docs.stripe.com/api/billing/meter-event-summary.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from millrace_lab import ids, lists
from millrace_lab.account import DAY, HOUR, MINUTE, Step, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import Operation, Page
from millrace_lab.params import ListParams, Second
from millrace_lab.usage import meters

ALIGNED_TO = {None: (MINUTE, "minute"), "hour": (HOUR, "hour"), "day": (DAY, "UTC day")}


class ListSummaries(ListParams):
    customer: str
    start_time: Second
    end_time: Second
    value_grouping_window: Literal["day", "hour"] | None = None


def listing(step: Step, params: ListSummaries, meter_id: str) -> Page:
    """Newest first; hours and days without an event are left out."""
    meter = step.get("billing.meter", meter_id)
    step.get("customer", params.customer, "customer")
    _check_bounds(params)
    found = [
        summary for start, end in _stretches(params) if (summary := _summary(step, meter, params, start, end))
    ]
    url = f"/v1/billing/meters/{meter_id}/event_summaries"
    return lists.cut(found[::-1], params, url, "billing.meter_event_summary")


def _check_bounds(params: ListSummaries) -> None:
    unit, name = ALIGNED_TO[params.value_grouping_window]
    for param in ("start_time", "end_time"):
        aligned = getattr(params, param) % unit == 0
        refuse_unless(aligned, f"{param} must be aligned with {name} boundaries.", param)
    refuse_unless(params.start_time < params.end_time, "start_time must be before end_time.", "start_time")


def _stretches(params: ListSummaries) -> list[tuple[int, int]]:
    if params.value_grouping_window is None:
        return [(params.start_time, params.end_time)]
    unit, _ = ALIGNED_TO[params.value_grouping_window]
    return [(start, start + unit) for start in range(params.start_time, params.end_time, unit)]


def _summary(step: Step, meter: Body, params: ListSummaries, start: int, end: int) -> Body | None:
    if not any(meters.heard(step, meter["id"], params.customer, start, end)):
        return None
    value = meters.aggregated(step, meter["id"], params.customer, start, end)
    return {
        "id": f"mtrusg_{ids.letters(ids.digest(meter['id'], params.customer, start, end), 24)}",
        "object": "billing.meter_event_summary",
        "aggregated_value": _number(value),
        "end_time": end,
        "livemode": step.account.livemode,
        "meter": meter["id"],
        "start_time": start,
    }


def _number(value: Fraction) -> int | float:
    """Stripe shows usage as a JSON number: whole where it is whole. Nothing is billed from it."""
    return value.numerator if value.denominator == 1 else float(value)


OPERATIONS = (Operation("GET /v1/billing/meters/{id}/event_summaries", listing, ListSummaries),)
