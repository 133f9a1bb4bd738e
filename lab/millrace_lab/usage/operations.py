"""What usage and credits can be asked, and what time does to them."""

from __future__ import annotations

from millrace_lab.operations import DueAction, Operation
from millrace_lab.usage import grants, meter_events, meters, reports, summaries

OPERATIONS: tuple[Operation, ...] = (
    *meters.OPERATIONS,
    *meter_events.OPERATIONS,
    *summaries.OPERATIONS,
    *grants.OPERATIONS,
)
DUE: dict[str, DueAction] = {"meter.report": reports.report, "credit_grant.expire": grants.expired}
