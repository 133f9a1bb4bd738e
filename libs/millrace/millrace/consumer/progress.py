"""How far a consumer has come in a partition, and whether the numbers of its records are whole.

A relay numbers what it publishes: in each partition 1, 2, 3 … under its name. Consumers compare, so that a record
that is missing, comes twice or comes late is seen by those whom it would hurt. A compacted topic has gaps by nature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from millrace.consumer.record import EPOCH, Partition, Record, by_partition

SKIPPED_MAX = 10_000  # numbers of one gap that are remembered while a batch is looked at


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a consumer stands in one partition. `sequences`: relay → the highest of its numbers so far."""

    next_offset: int = 0
    records: int = 0
    sequences: Mapping[str, int] = field(default_factory=dict)
    record_at: datetime = EPOCH


class Anomaly(NamedTuple):
    """A number that is not the next one. Its record is applied all the same: what it means is for people."""

    kind: str  # gap: numbers are missing before it · duplicate: it came before · inversion: it came late
    place: str
    relay: str
    last: int
    number: int


NOTHING = Progress()


def advanced(
    known: Mapping[Partition, Progress], records: Sequence[Record]
) -> tuple[dict[Partition, Progress], list[Anomaly]]:
    """Where each partition of these records stands when they are decided; `records` counts these alone."""
    ends: dict[Partition, Progress] = {}
    anomalies: list[Anomaly] = []
    for partition, found in by_partition(records).items():
        before = known.get(partition, NOTHING)
        news = [record for record in found if record.offset >= before.next_offset]
        sequences = _compared(dict(before.sequences), news, anomalies)
        last = news[-1] if news else None
        ends[partition] = Progress(
            last.offset + 1 if last else before.next_offset,
            len(found),
            sequences,
            last.at if last else before.record_at,
        )
    return ends, anomalies


def _compared(last: dict[str, int], records: Sequence[Record], anomalies: list[Anomaly]) -> dict[str, int]:
    """The highest number of each relay after these records; what is out of order is added to `anomalies`."""
    skipped: set[tuple[str, int]] = set()
    for record in records:
        if (sequence := record.sequence) is None:
            continue
        relay, number = sequence
        before = last.get(relay, number - 1)
        if number == before + 1:
            last[relay] = number
            continue
        if number > before:
            kind = "gap"
            skipped.update((relay, n) for n in range(before + 1, min(number, before + SKIPPED_MAX)))
            last[relay] = number
        else:
            kind = "inversion" if sequence in skipped else "duplicate"
            skipped.discard(sequence)
        anomalies.append(Anomaly(kind, record.place, relay, before, number))
    return last


def counted(anomalies: Sequence[Anomaly]) -> Counter[str]:
    return Counter(anomaly.kind for anomaly in anomalies)
