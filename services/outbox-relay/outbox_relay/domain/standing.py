"""Where a lane stands, and in words whether it needs a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

LATE = timedelta(seconds=30)  # a row that waits so long is not on its way
AUDIT_LATE = timedelta(hours=3)  # it runs every hour
DAYS_SOON = 2


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds a lane's lease."""

    pid: int  # of its session in PostgreSQL
    host: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Audited:
    """A lane's last audit."""

    at: datetime
    differences: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is to be seen of a lane from outside. Units: `bytes` of payload, unpacked."""

    lane: str
    leader: Leader | None
    standbys: int
    mode: str  # transactional | idempotent
    generation: int | None  # None: nothing was ever published
    position: str
    redriven: int
    retired: str  # the lanes that took over
    moved: str  # why the cursor does not belong to this database; '' when it does
    rows: int  # committed and not published
    bytes: int
    oldest: datetime | None
    parked: int  # waiting in quarantine for a decision
    audit: Audited | None
    audit_due: datetime | None  # since when there has been something to audit
    days_ahead: int

    def problems(self, now: datetime) -> list[str]:
        """What needs a person, the most pressing first, each with what to type. Of a retired lane, nothing does."""
        return [] if self.retired else list(self._problems(now))

    def _problems(self, now: datetime) -> Iterator[str]:
        if self.moved:
            yield f"halted, the cursor belongs to {self.moved}: millrace relay rebase --help"
        if not self.leader:
            yield "nobody leads: start a relay"
        if self.oldest and now - self.oldest > LATE:
            yield f"{self.rows:,} rows wait, the oldest since {age(self.oldest, now)}: runbook/outbox-age.md"
        if self.parked:
            yield f"{self.parked:,} rows in quarantine: millrace relay quarantine list"
        if self.audit and not self.audit.ok:
            yield f"the last audit found {self.audit.differences:,} differences: millrace relay audit"
        elif self.audit_due and now - self.audit_due > AUDIT_LATE:
            yield f"not audited for {age(self.audit_due, now)}: millrace relay audit"
        if self.days_ahead < DAYS_SOON:
            yield f"days for {self.days_ahead} more days only: millrace relay partitions make"

    def verdict(self, now: datetime) -> str:
        """In words."""
        if self.retired:
            return f"retired: {self.retired} took over"
        if problems := self.problems(now):
            return "; ".join(problems)
        done = "publishing" if self.rows else "everything is published"
        return done if self.standbys else f"{done}; no standby"


def age(since: datetime, now: datetime) -> str:
    """How long ago, as people say it."""
    seconds = max(0, int((now - since).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
