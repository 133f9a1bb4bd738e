"""What was wrong with meter events, told later: nobody waits for the answer to a usage event.

Mistakes are gathered in windows of ten seconds; when one ends, a thin event says how many there were of which
kind, with a few samples. Source: docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api,
"Handle meter event errors".
"""

from __future__ import annotations

from collections.abc import Iterable

from millrace_lab.account import Step
from millrace_lab.errors import Body
from millrace_lab.periods import iso

WINDOW_SECONDS = 10
SAMPLES_MOST = 5
NOBODY = "lab_no_meter"  # under which mistakes are gathered that belong to no meter


def mistaken(step: Step, meter: Body | None, code: str, message: str, identifier: str) -> None:
    """Note a mistake of an event; the report is due when its window ends."""
    gathered = meter or step.find(NOBODY) or step.add({"id": NOBODY, "object": NOBODY, "_errors": []})
    mistake = {"at": step.now, "code": code, "message": message, "identifier": identifier}
    step.change(gathered["id"], _errors=[*gathered["_errors"], mistake])
    step.due(gathered["id"], "meter.report", _window_end(step.now))


def _window_end(at: int) -> int:
    return (at // WINDOW_SECONDS + 1) * WINDOW_SECONDS


def report(step: Step, gathered: Body) -> None:
    """Time's act: tell what was wrong in the window that just ended."""
    mistakes = gathered["_errors"]
    step.change(gathered["id"], _errors=[])
    if gathered["id"] == NOBODY:
        step.tell_thin("v1.billing.meter.no_meter_found", _data(mistakes))
    elif mistakes:
        url = f"/v1/billing/meters/{gathered['id']}"
        related = {"id": gathered["id"], "type": "billing.meter", "url": url}
        step.tell_thin("v1.billing.meter.error_report_triggered", _data(mistakes) | {"_related": related})


def _data(mistakes: list[Body]) -> Body:
    count = len(mistakes)
    codes = dict.fromkeys(mistake["code"] for mistake in mistakes)
    end = _window_end(mistakes[-1]["at"])
    return {
        "developer_message_summary": f"There {'is 1 invalid event' if count == 1 else f'are {count} invalid events'}",
        "reason": {
            "error_count": count,
            "error_types": [_type(code, [m for m in mistakes if m["code"] == code]) for code in codes],
        },
        "validation_end": iso(end),
        "validation_start": iso(_window_end(mistakes[0]["at"]) - WINDOW_SECONDS),
    }


def _type(code: str, mistakes: list[Body]) -> Body:
    return {
        "code": code,
        "error_count": len(mistakes),
        "sample_errors": [*_samples(mistakes[:SAMPLES_MOST])],
    }


def _samples(mistakes: Iterable[Body]) -> Iterable[Body]:
    for mistake in mistakes:
        yield {"error_message": mistake["message"], "request": {"identifier": mistake["identifier"]}}
