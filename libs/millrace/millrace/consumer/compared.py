"""How a consumer's tables are compared with those of its rebuild: everything, but for what is declared here and why.

A table that nobody declares is compared whole, row by row along its primary key, so that no new table and no new
column can hide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Compared:
    """What is particular about one table. In SQL, {schema} stands for the consumer's, t for the row."""

    apart: Mapping[str, str] = field(default_factory=dict)  # column → why a rebuild cannot repeat it
    known_by: tuple[str, ...] = ()  # what names a row, where its primary key is a number of no meaning
    named: Mapping[str, str] = field(default_factory=dict)  # such a number → SQL for what it stands for
    summed: tuple[str, ...] = ()  # columns added up over the rows that agree in all others
    counted: bool = False  # nothing names a row: each kind of row must be there as many times
    traces: tuple[str, ...] = ()  # columns of traces, which the event log does not keep
    only: str = "true"  # the rows that are consequences of events
    passed_over: str = ""  # why the table is not compared at all


WRITTEN = "when it was written"
NUMBERED = "a number in the order of writing; gaps are left by what was rolled back"

RUNTIME: Mapping[str, Compared] = {
    "migration": Compared(passed_over="how the schema was built: both are up to date, or nothing begins"),
    "consumer": Compared(passed_over="what the process is and what operators ask of it"),
    "progress": Compared(passed_over="how far it has read, not what it has done"),
    "processed_events": Compared(
        apart={"processed_at": WRITTEN, "seq": NUMBERED},
        only="t.outcome <> 'discarded'",  # an operator's word: a rebuild passes such events over
    ),
    "parked_event": Compared(
        apart={
            "id": NUMBERED,
            "parked_at": WRITTEN,
            "asked_at": "an operator's wish",
            "asked_by": "an operator's wish",
        },
        known_by=("source", "event_id"),
    ),
    "audit": Compared(
        apart={
            "chain": "one a process, and which process met an event is chance",
            "seq": "a place in that chain",
            "hash": "over that chain; `millrace verify` proves it",
            "recorded_at": WRITTEN,
        },
        counted=True,
        # what was parked and is no longer: how long it had to wait depends on where batches were cut, and on people
        only="t.actor = '{schema}' and (t.action like 'applied %'"
        " or exists (select from {schema}.parked_event p where p.event_id = t.event))",
    ),
}
